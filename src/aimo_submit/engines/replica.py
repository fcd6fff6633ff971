"""Where one engine lives: watched while it works, started anew when it dies or hangs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aimo_submit.engines import Engine, Sampling, Starter
from aimo_submit.errors import EngineDied
from aimo_submit.records import Completion

log = logging.getLogger(__name__)

TICK_S = 1.0
ABORT_S = 2.0  # what a cancelled request may hold its caller
CLOSE_S = 30.0  # what an engine that is given up may take to end
PAUSES_S = (1.0, 30.0)  # after a failed start: the first, and the longest


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an engine with requests may go without a token before it counts as hung."""

    first_s: float = 180.0  # until its first token: kernels may be compiled on demand
    least_s: float = 60.0
    times: float = 20.0  # the longest pause seen so far


class Replica:
    """An engine, its watch, and the next one after it."""

    def __init__(self, start: Starter, patience: Patience, changed: Callable[[], None]) -> None:
        self.engine: Engine | None = None  # the latest; dead, it still encodes
        self.ready = False
        self.failure: Exception | None = None  # of the last start
        self._start, self._patience, self._changed = start, patience, changed
        self._tasks: set[asyncio.Task[Completion]] = set()
        self._starting: asyncio.Task[Engine] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def size(self) -> int:
        """How many requests it has."""
        return len(self._tasks)

    def open(self) -> None:
        """Begins to start an engine, again and again until one is up."""
        self._opening = asyncio.create_task(self._open(self.engine))

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """The completion; `EngineDied` where the engine died or hung, which is being replaced."""
        if not self.ready or self.engine is None:
            raise EngineDied("it is not there")
        engine, gone = self.engine, self._gone
        task = asyncio.create_task(engine.complete(prompt, sampling))
        self._tasks.add(task)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(engine))
        try:
            either: set[asyncio.Future[Any]] = {task, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                return task.result()
            raise EngineDied(gone.result() if gone.done() else "it dropped a request")
        except EngineDied as error:
            self._give_up(engine, str(error))
            raise
        finally:
            self._tasks.discard(task)
            if task.cancel():
                await asyncio.wait({task}, timeout=0 if gone.done() else ABORT_S)

    async def aclose(self) -> None:
        """Ends the engine, also one that is just being started."""
        self.ready = False
        if not self._gone.done():
            self._gone.set_result("it was closed")
        for task in (self._opening, self._watching):
            if task:
                task.cancel()
        if self._starting:
            with suppress(Exception):  # then there is nothing to close
                self.engine = await self._starting
        if self.engine:
            await self.engine.aclose()

    async def _open(self, before: Engine | None) -> None:
        now, pause = asyncio.get_running_loop().time, PAUSES_S[0]
        begun, level = now(), logging.WARNING if before else logging.INFO
        if before:
            await _end(before)
        while not self.ready:
            try:
                self._starting = asyncio.create_task(self._start())
                self.engine = await asyncio.shield(self._starting)  # closing waits for it
            except Exception as error:  # whatever it is: another start may go well
                self.failure = error
                self._changed()
                log.log(level, "no engine (%s); next try in %.0f s", error, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSES_S[1])
            else:
                self._welcome(now() - begun)
                log.log(level, "an engine is up after %.0f s", now() - begun)

    def _welcome(self, load_s: float) -> None:
        if self._watching:
            self._watching.cancel()  # it may still wait out a tick for the engine before
        self._watching, self._gone = None, asyncio.get_running_loop().create_future()
        self._longest_s, self._load_s = 0.0, load_s
        self.ready, self.failure = True, None
        self._changed()

    def _give_up(self, engine: Engine, why: str) -> None:
        """Lets go of an engine, once, and of all its requests."""
        if self.ready and engine is self.engine:
            log.error("the engine died: %s; it is started anew, %d requests wait", why, self.size)
            self.ready = False
            self._gone.set_result(why)
            self.open()
            self._changed()

    async def _watch(self, engine: Engine) -> None:
        """Gives the engine up when it draws nothing for longer than patience lasts."""
        still_s, seen = 0.0, engine.drawn
        while self._tasks and self.ready and engine is self.engine:
            await asyncio.sleep(TICK_S)
            # Counted in ticks: while our own loop stands still, that is no fault of the engine.
            still_s += TICK_S
            if engine.drawn != seen:
                self._longest_s = max(self._longest_s, still_s)
                still_s, seen = 0.0, engine.drawn
            elif still_s >= self._patience_s():
                return self._give_up(engine, f"no token in {still_s:.0f} s")
        return None

    def _patience_s(self) -> float:
        if not self._longest_s:
            return max(self._patience.first_s, self._load_s)
        return max(self._patience.least_s, self._patience.times * self._longest_s)


async def _end(engine: Engine) -> None:
    try:
        await asyncio.wait_for(engine.aclose(), CLOSE_S)
    except Exception as error:  # a new one is tried all the same
        log.error("the old engine does not end: %s: %s", type(error).__name__, error)
