"""The requests under way in an engine, which closing it must not leave hanging."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aimo_submit.errors import EngineDied
from aimo_submit.records import Completion

_ABORT_S = 5.0  # what an engine that is dead or hangs may take to abort a request


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
