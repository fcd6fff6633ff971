"""A sample's blocks, one after another, in the three scopes that model formats know."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aimo_submit.records import Execution, Outcome, Scope
from aimo_submit.sandbox.seat import Seat

Block = Callable[[Seat], Coroutine[Any, Any, Execution]]


@dataclass(slots=True)
class Hold:
    """Somebody's hold on a seat; None before the first block, and once the seat is lost."""

    seat: Seat | None = None


class Executor(Protocol):
    """What sessions need of the sandbox."""

    async def run(self, code: str, timeout_s: float, earlier: Sequence[str] = ()) -> Execution:
        """What the code did after the earlier blocks."""
        ...

    async def run_in(self, hold: Hold, block: Block) -> Execution:
        """What the block did on the seat that is held from now on."""
        ...

    def release(self, hold: Hold) -> None:
        """Gives the seat back, as new."""
        ...


class StatelessSession:
    """Each block in a process of its own; with `REPLAY` after what earlier blocks define."""

    def __init__(self, executor: Executor, scope: Scope) -> None:
        self._executor, self._keeps = executor, scope is Scope.REPLAY
        self._earlier: list[str] = []

    async def run(self, code: str, timeout_s: float) -> Execution:
        execution = await self._executor.run(code, timeout_s, self._earlier)
        if self._keeps and execution.outcome in (Outcome.OK, Outcome.ERROR):
            self._earlier.append(code)  # a block that was killed would be killed again
        return execution

    async def aclose(self) -> None:
        self._earlier.clear()


class LiveSession:
    """All blocks in one interpreter. It outlives a block that is killed, without what that did."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._hold = Hold()

    async def run(self, code: str, timeout_s: float) -> Execution:
        return await self._executor.run_in(
            self._hold, lambda seat: seat.run(code, timeout_s, live=True)
        )

    async def aclose(self) -> None:
        self._executor.release(self._hold)
