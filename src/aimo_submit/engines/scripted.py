"""An engine that replays completions, and the virtual clock that lets hours pass in seconds.

It is product code: tests, benchmarks and the budget's simulator run the real loop on it. A step
of the engine that decodes b sequences takes s0 + s1*b seconds, as regressed on real GPUs; the
seconds are those of the event loop, so on a `VirtualLoop` they cost nothing.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from aimo_submit.engines import Sampling, room
from aimo_submit.errors import EngineDied
from aimo_submit.records import Completion, Execution, Finish, Scope
from aimo_submit.timeout import timeout

T = TypeVar("T")

# What the model would write after a prompt; it ends the turn there. "" ends it at once.
Script = Callable[[str, Sampling], str]


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one decoding step with b sequences running: s0 + s1*b."""

    s0: float = 0.0
    s1: float = 0.0

    def __call__(self, running: int) -> float:
        return self.s0 + self.s1 * running


class ScriptedEngine:
    """Completes prompts from a script; a token is a byte of UTF-8."""

    def __init__(
        self, script: Script, step_time: StepTime | None = None, *, context: int = 1 << 20
    ) -> None:
        self._script = script
        self._step_time = step_time or StepTime()
        self._context = context
        self._requests: set[_Request] = set()
        self._changed = asyncio.Event()
        self._clock: asyncio.Task[None] | None = None
        self._made = self._begun = self._pace = 0.0  # steps; and since when at which pace
        self._closed = False

    @property
    def context(self) -> int:
        return self._context

    @property
    def running(self) -> int:
        return len(self._requests)

    @property
    def drawn(self) -> int:
        since_s = asyncio.get_running_loop().time() - self._begun if self._requests else 0.0
        return int(self._made + (since_s / self._pace if self._pace else 0))

    def encode(self, text: str, *, prompt: bool = False) -> list[int]:
        return list(text.encode())

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        if self._closed:
            raise EngineDied("it was closed")
        limit = room(prompt, sampling, self._context)
        written = self._script(bytes(prompt).decode(errors="replace"), sampling)
        text, finish = _cut(written, sampling.stop, limit)
        tokens = tuple(text.encode())
        await self._decode(len(tokens) + 1)  # the end of the turn is a token, too
        if self._closed:
            raise EngineDied("it was closed")
        return Completion(text, tokens, finish, 0.0)

    async def aclose(self) -> None:
        self._closed = True
        for request in self._requests:
            request.done.set()
        if self._clock:
            self._changed.set()
            await asyncio.wait([self._clock])  # the loop may stop right after this

    async def _decode(self, steps: int) -> None:
        """Returns once that many steps have been made for this request."""
        if self._clock is None or self._clock.done():
            self._clock = asyncio.create_task(self._tick())
        request = _Request(steps)
        self._requests.add(request)
        self._changed.set()
        try:
            await request.done.wait()
        finally:  # also when the caller is cancelled: the request leaves the batch at once
            self._requests.discard(request)
            self._changed.set()

    async def _tick(self) -> None:
        """Makes steps for all requests together, from one change of the batch to the next."""
        now = asyncio.get_running_loop().time
        while not self._closed:
            self._changed.clear()
            pace, start = self._step_time(len(self._requests)), now()
            self._pace, self._begun = pace, start
            batch = list(self._requests)  # those who join meanwhile have not been decoded yet
            least = min((request.left for request in batch), default=math.inf)
            with suppress(TimeoutError):
                async with timeout(least * pace if batch else None):
                    await self._changed.wait()
            made = (now() - start) / pace if pace else math.inf
            self._made += made if pace else 1
            for request in batch:
                request.left -= made
                if request.left < 1e-6:
                    request.done.set()


class _Request:
    def __init__(self, steps: int) -> None:
        self.left = float(steps)
        self.done = asyncio.Event()


def _cut(written: str, stops: Sequence[str], room: int) -> tuple[str, Finish]:
    """What an engine would return of a text: up to the first stop string, within the room."""
    ends = [written.find(stop) + len(stop) for stop in stops if stop in written]
    text = written[: min(ends)] if ends else written
    if len(text.encode()) > room:
        return text.encode()[:room].decode(errors="ignore"), Finish.LENGTH
    return text, Finish.STOP if ends else Finish.EOS


class ScriptedSandbox:
    """Returns the execution that a function gives for the code, after its seconds have passed."""

    def __init__(self, execute: Callable[[str], Execution]) -> None:
        self._execute = execute

    def session(self, scope: Scope) -> ScriptedSandbox:
        return self

    async def run(self, code: str, timeout_s: float) -> Execution:
        execution = self._execute(code)
        await asyncio.sleep(execution.seconds)
        return execution

    async def aclose(self) -> None:
        return


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it.

    Only for work that waits on nothing but timers: a real process or thread gets no time at all.
    """

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        self._virtual += seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._loop.jump(timeout)
        return ready


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, run on a virtual clock that starts at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
