"""The sandbox as the loop uses it: `ForkServer`, on one asyncio loop.

Holds everywhere: a block ends at its deadline with every process it started, in whatever session;
its memory, CPU time, files and output are limited; it starts in an empty folder without our
environment and descriptors, and nothing it does reaches the next block's interpreter.

Holds as far as the kernel lets us, which `layers()` and `aimo-submit doctor` say: no network, no
file but the libraries' and its own, no signal to, and no look into, any process but its own. On
Kaggle (root in a container that may make no namespaces) the users, Landlock and seccomp carry it.

Does NOT protect against: flaws of the kernel; the use of CPU, of memory up to the limits times
the workers, and of caches, as a channel or to slow others down; reading what the libraries'
folders hold; what a block learns of the machine (its kernel, its CPUs). Only x86-64 has a filter
of system calls.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from aimo_submit.errors import UserError
from aimo_submit.records import Execution, Outcome, Scope
from aimo_submit.sandbox import Session
from aimo_submit.sandbox.client.launch import Launched
from aimo_submit.sandbox.client.worker import (
    LOST,
    Block,
    Hold,
    LiveSession,
    StatelessSession,
    Worker,
)
from aimo_submit.sandbox.leases import MOST_WORKERS
from aimo_submit.sandbox.protocol import Limits
from aimo_submit.timeout import timeout

log = logging.getLogger(__name__)


class SandboxDied(Exception):
    """The fork server cannot be started or is closed; the message holds its last words."""


class ForkServer:
    """Runs each block in a fork of a process that has the libraries loaded.

    At most `workers` blocks run at once, as many as there are CPUs unless told; the others queue,
    and a block's time counts from its start. A fork server that died is started anew for the next
    block; blocks that run meanwhile are not affected. `without` names layers of isolation to leave
    out, for tests and benchmarks.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        limits: Limits | None = None,
        without: Collection[str] = (),
    ) -> None:
        if sys.platform != "linux":
            raise UserError("model-written code runs on Linux only: use a container or WSL")
        self.limits, self._without = limits or Limits(), without
        self._servers: list[Launched] = []  # the last is in use, the others have died
        self._closed = False
        self._slots = asyncio.Semaphore(workers or len(os.sched_getaffinity(0)))
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._numbers = set(range(MOST_WORKERS))

    async def __aenter__(self) -> ForkServer:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def pid(self) -> int:
        """The process id of the fork server, which is started if need be."""
        return self._launched().pid

    @property
    def wardens(self) -> set[int]:
        """The process ids of those that watch over the blocks."""
        return {worker.warden for worker in self._workers}

    def start(self) -> None:
        """Starts the imports in the background; without it the first block does."""
        self._launched()

    async def layers(self) -> list[list[str]]:
        """The layers of isolation: name, "on" or "off", what it does or why it is off.

        Raises `SandboxDied` if nothing runs.
        """
        worker = await self._take()
        self._idle.append(worker)
        return worker.layers

    def session(self, scope: Scope) -> Session:
        """A session for one sample; until its first block it costs nothing."""
        return LiveSession(self) if scope is Scope.LIVE else StatelessSession(self, scope)

    async def run(self, code: str, timeout_s: float, earlier: Sequence[str] = ()) -> Execution:
        """What the code did after the earlier blocks, whose output is not shown.

        Never raises for what the code does; cancelling kills the code.
        """
        hold = Hold()
        try:
            return await self.run_in(hold, lambda s: s.run(code, timeout_s, earlier=earlier))
        finally:
            if hold.worker:
                self._idle.append(hold.worker)

    async def run_in(self, hold: Hold, block: Block) -> Execution:
        """What the block did on the worker that is held from now on."""
        try:
            async with timeout(self.limits.queue_s):
                await self._slots.acquire()
        except TimeoutError:
            return _killed(f"no worker was free for {self.limits.queue_s:g} s")
        started = time.monotonic()
        try:
            hold.worker = hold.worker or await self._take()
            return await block(hold.worker)
        except SandboxDied as error:
            log.error("the sandbox does not run: %s", error)
            return _killed("the sandbox does not run")
        except LOST as error:
            log.warning("a warden was lost: %r", error)
            self._drop(hold)
            return _killed("the sandbox lost the process that ran this", started)
        except asyncio.CancelledError:
            if worker := hold.worker:
                hold.worker = None
                worker.cancel()
                self._later(self._recycle(worker, worker.settle, worker.reset))
            raise
        finally:
            self._slots.release()

    def release(self, hold: Hold) -> None:
        """Gives the worker back, as new."""
        if hold.worker:
            self._later(self._recycle(hold.worker, hold.worker.reset))
            hold.worker = None

    async def aclose(self) -> None:
        """Ends every process of the sandbox and removes its files."""
        self._closed = True
        await asyncio.gather(*(worker.finish() for worker in self._workers))
        await asyncio.gather(*self._settling)
        self._workers.clear()
        while self._servers:
            await self._servers.pop().stop()

    async def _take(self) -> Worker:
        server = self._launched()
        while self._idle:
            worker = self._idle.pop()
            if worker.server is server:
                return worker
            self._forget(worker)
            self._later(worker.finish())
        return await self._open(server)

    async def _open(self, server: Launched) -> Worker:
        if not self._numbers:
            raise SandboxDied(f"{MOST_WORKERS} interpreters are open already")
        number = self._numbers.pop()
        try:
            worker = await Worker.open(server, number)
        except (OSError, *LOST) as error:
            self._numbers.add(number)
            server.kill()
            raise SandboxDied(server.last_words() or repr(error)) from error
        except asyncio.CancelledError:
            self._numbers.add(number)
            with suppress(OSError):  # nobody will know the warden that is starting
                server.end_warden(number)
            raise
        if not self._workers:
            log.info("layers of the sandbox: %s", worker.layers)
        self._workers.add(worker)
        return worker

    def _launched(self) -> Launched:
        if self._closed:
            raise SandboxDied("it is closed")
        if not self._servers or not self._servers[-1].alive:
            self._servers.append(Launched(self.limits, self._without))
        return self._servers[-1]

    def _drop(self, hold: Hold) -> None:
        """Lets go of a worker that no longer answers."""
        if worker := hold.worker:
            hold.worker = None
            self._forget(worker)
            worker.close()
            with suppress(OSError):  # the server is gone as well; the next block starts another
                worker.server.end_warden(worker.number)

    def _forget(self, worker: Worker) -> None:
        self._workers.discard(worker)
        self._numbers.add(worker.number)

    async def _recycle(self, worker: Worker, *steps: Callable[[], Awaitable[None]]) -> None:
        """Makes the worker fit for anybody's block."""
        try:
            for step in steps:
                await step()
        except LOST:
            self._drop(Hold(worker))
        else:
            self._idle.append(worker)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)


def _killed(why: str, started: float | None = None) -> Execution:
    seconds = 0.0 if started is None else time.monotonic() - started
    return Execution(Outcome.KILLED, f"Killed: {why}\n", seconds)
