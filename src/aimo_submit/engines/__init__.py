"""The seam between the loop and whatever generates tokens.

An engine completes one prompt at a time and batches what is in flight. Cancelling a call aborts
its request in the engine. `tests/engines/test_engines.py` is the contract, run on every engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aimo_submit.errors import EngineDied, UserError
from aimo_submit.records import Completion

_ABORT_S = 5.0  # what an engine that is dead or hangs may take to abort a request


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one completion is sampled; equal prompt and sampling give an equal completion."""

    temperature: float  # 0 is greedy
    top_p: float
    max_new_tokens: int
    stop: tuple[str, ...]  # the completion ends with the first of these that appears
    seed: int
    stop_token_ids: tuple[int, ...] = ()  # end a turn as the tokenizer's EOS does
    sample: int = 0  # equal for the rounds of a sample, which one engine serves best; 0: none


class Engine(Protocol):
    """What the loop needs of an engine."""

    @property
    def context(self) -> int:
        """Tokens that prompt and completion may have together."""
        ...

    @property
    def running(self) -> int:
        """Requests in the engine now, by the engine's own count."""
        ...

    @property
    def drawn(self) -> int:
        """A count that changes with every step; one that stands still under work shows a hang."""
        ...

    def encode(self, text: str, *, prompt: bool = False) -> list[int]:
        """The tokens of a text; with `prompt`, as the start of a sequence, a BOS before it."""
        ...

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """The model's continuation of the prompt, a stop string included, an EOS token not.

        Raises `EngineDied` when the engine has to be started anew.
        """
        ...

    async def aclose(self) -> None:
        """Releases the model."""
        ...


Starter = Callable[[], Coroutine[Any, Any, Engine]]  # starts an engine, whenever it is called


def room(prompt: Sequence[int], sampling: Sampling, context: int) -> int:
    """How many tokens may be drawn; a `UserError` for a prompt that leaves none."""
    if not 0 < len(prompt) < context:
        raise UserError(f"a prompt of {len(prompt)} tokens: the model takes 1 to {context - 1}")
    return min(sampling.max_new_tokens, context - len(prompt))


class InFlight:
    """Requests in tasks of their own, so that closing can end them without their callers."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Completion]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    async def run(self, work: Coroutine[Any, Any, Completion]) -> Completion:
        """Runs the coroutine as a task; raises `EngineDied` after `close()`."""
        if self._closed:
            work.close()
            raise EngineDied("it was closed")
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait({task})
        finally:  # a caller who is cancelled leaves once the request has been aborted
            if task.cancel():
                await asyncio.wait({task})
        if self._closed and task.cancelled():
            raise EngineDied("it was closed")
        return task.result()

    async def close(self) -> bool:
        """Cancels all tasks and lets nothing follow; returns False if that was done before."""
        if self._closed:
            return False
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_ABORT_S)
        return True
