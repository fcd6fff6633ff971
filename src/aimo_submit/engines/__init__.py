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


class Flight:
    """Requests in tasks of their own, so that closing can end them without their callers."""

    def __init__(self) -> None:
        self._work: set[asyncio.Task[Completion]] = set()
        self._grounded = False

    def __len__(self) -> int:
        return len(self._work)

    async def fly(self, work: Coroutine[Any, Any, Completion]) -> Completion:
        """What the work returns; `EngineDied` once the flight was grounded."""
        if self._grounded:
            work.close()
            raise EngineDied("it was closed")
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._grounded and not (caller and caller.cancelling()):
                raise EngineDied("it was closed") from None
            raise

    async def ground(self) -> bool:
        """Ends what is under way and lets nothing follow; False where that was done before."""
        if self._grounded:
            return False
        self._grounded = True
        for task in self._work:
            task.cancel()
        if self._work:
            await asyncio.wait(self._work, timeout=_ABORT_S)
        return True
