"""The sandbox as the loop uses it: `ForkServer`, on one asyncio loop.

Holds: a block ends at its deadline with every process it started, in whatever session; its memory,
CPU time, files and output are limited; it starts in an empty folder without our environment and
descriptors, and nothing it does reaches the next block's interpreter.

Does NOT hold in this version: a block runs as the kit's own user, so code that means harm can
read and delete this user's files, use the network and signal this user's processes; and Linux
limits no number of processes for root. `protections()` says what holds on this machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from aimo_submit.records import Execution, Outcome
from aimo_submit.sandbox.launch import Launched
from aimo_submit.sandbox.limits import Limits
from aimo_submit.sandbox.seat import LOST, Seat

log = logging.getLogger(__name__)


class SandboxDied(Exception):
    """The fork server cannot be started or is closed; the message holds its last words."""


class ForkServer:
    """Runs each block in a fork of a process that has the libraries loaded.

    At most `workers` blocks run at once, as many as there are CPUs unless told; the others queue,
    and a block's time counts from its start. A fork server that died is started anew for the next
    block; blocks that run meanwhile are not affected.
    """

    def __init__(self, workers: int | None = None, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._servers: list[Launched] = []  # the last is in use, the others have died
        self._closed = False
        self._free: asyncio.LifoQueue[Seat | None] = asyncio.LifoQueue()
        self._seats: set[Seat] = set()
        self._settling: set[asyncio.Task[None]] = set()
        for _ in range(workers or len(os.sched_getaffinity(0))):
            self._free.put_nowait(None)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def start(self) -> None:
        """Starts the imports in the background; without it the first block does."""
        self._launched()

    async def protections(self) -> dict[str, str]:
        """What holds on this machine: "on", or why not. Raises `SandboxDied` if nothing runs."""
        seat = await self._take()
        self._free.put_nowait(seat)
        return seat.protections

    async def run(self, code: str, timeout_s: float) -> Execution:
        """What the code did. Never raises for what the code does; cancelling kills the code."""
        try:
            seat = await self._take()
        except SandboxDied as error:
            log.error("the sandbox does not run: %s", error)
            return Execution(Outcome.KILLED, "Killed: the sandbox does not run\n", 0.0)
        started = time.monotonic()
        try:
            execution = await seat.run(code, timeout_s)
        except asyncio.CancelledError:
            seat.cancel()
            self._later(seat)
            raise
        except LOST as error:
            log.warning("a warden was lost: %r", error)
            self._drop(seat)
            note = "Killed: the sandbox lost the process that ran this\n"
            return Execution(Outcome.KILLED, note, time.monotonic() - started)
        self._free.put_nowait(seat)
        return execution

    async def aclose(self) -> None:
        """Ends every process of the sandbox and removes its files."""
        self._closed = True
        await asyncio.gather(*(seat.finish() for seat in self._seats))
        await asyncio.gather(*self._settling)
        self._seats.clear()
        while self._servers:
            await self._servers.pop().stop()

    async def _take(self) -> Seat:
        seat = await self._free.get()
        taken: Seat | None = None
        try:
            taken = await self._usable(seat)
        finally:
            if taken is None:
                self._free.put_nowait(None)
        return taken

    async def _usable(self, seat: Seat | None) -> Seat:
        server = self._launched()
        if seat is not None and seat.server is server:
            return seat
        if seat is not None:
            self._seats.discard(seat)
            await seat.finish()
        try:
            seat = await Seat.open(server)
        except (OSError, *LOST) as error:
            server.kill()
            raise SandboxDied(server.last_words() or repr(error)) from error
        if not self._seats:
            log.info("protections of the sandbox: %s", seat.protections)
        self._seats.add(seat)
        return seat

    def _launched(self) -> Launched:
        if self._closed:
            raise SandboxDied("it is closed")
        if not self._servers or not self._servers[-1].alive:
            self._servers.append(Launched(self._limits))
        return self._servers[-1]

    def _later(self, seat: Seat) -> None:
        task = asyncio.create_task(self._settle(seat))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, seat: Seat) -> None:
        try:
            await seat.settle()
        except LOST:
            self._drop(seat)
        else:
            self._free.put_nowait(seat)

    def _drop(self, seat: Seat) -> None:
        self._seats.discard(seat)
        self._free.put_nowait(None)
        seat.close()
        with suppress(OSError):  # the server is gone as well; the next block starts another
            seat.server.end_warden(seat.warden)
