"""One worker as the kit sees it: the connection to its warden. And the sessions that hold one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from aimo_submit.records import Execution, Outcome, Scope
from aimo_submit.sandbox import protocol
from aimo_submit.sandbox.client.launch import Launched
from aimo_submit.timeout import timeout

START_S = 60.0  # the libraries import in about one; on a busy machine in many
GRACE_S = 5.0  # past a block's deadline, for its warden to kill, clean up and reply
LOST = (ConnectionError, asyncio.IncompleteReadError, TimeoutError)


class Worker:
    """Runs one block at a time. Every method that talks raises one of `LOST` if that fails."""

    def __init__(
        self,
        server: Launched,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.server, self.number = server, number
        self.warden = 0  # its process id
        self.layers: list[list[str]] = []  # name, "on" or "off", detail
        self._reader, self._writer = reader, writer
        self._talking = asyncio.Lock()
        self._size: int | None = None  # of the reply begun: a cancelled wait for it can be resumed

    @classmethod
    async def open(cls, server: Launched, number: int) -> Worker:
        """A worker whose warden is ready."""
        ours, theirs = socket.socketpair()
        with theirs:
            server.fork_warden(number, theirs)
        worker = cls(server, number, *await asyncio.open_unix_connection(sock=ours))
        with ExitStack() as undo:
            undo.callback(worker.close)  # the warden ends with its socket
            hello = await worker._receive(START_S)
            undo.pop_all()
        worker.warden, worker.layers = hello["pid"], hello["layers"]
        return worker

    async def run(
        self, code: str, timeout_s: float, *, earlier: Sequence[str] = (), live: bool = False
    ) -> Execution:
        """What the block did."""
        block = {"code": code, "timeout_s": timeout_s, "earlier": list(earlier), "live": live}
        async with self._talking:
            self._writer.write(protocol.pack(block))
            reply = await self._receive(timeout_s + GRACE_S)
        return Execution(Outcome(reply["outcome"]), reply["output"], reply["seconds"])

    async def reset(self) -> None:
        """Ends the live interpreter of the worker, if there is one."""
        async with self._talking:
            self._writer.write(protocol.pack({"reset": True}))
            await self._receive(GRACE_S)

    def cancel(self) -> None:
        """Has the running block killed; `settle` then waits for the worker to be free."""
        self._writer.write(protocol.CANCEL)

    async def settle(self) -> None:
        """Returns when the cancelled block is gone."""
        async with self._talking:
            await self._receive(GRACE_S)

    async def finish(self) -> None:
        """Ends the warden with its block; returns when it is gone."""
        with suppress(*LOST):
            self._writer.write_eof()
            async with timeout(GRACE_S), self._talking:
                await self._reader.read()
        self.close()

    def close(self) -> None:
        """Lets go of the warden, which ends by itself."""
        self._writer.close()

    async def _receive(self, timeout_s: float) -> dict[str, Any]:
        async with timeout(timeout_s):
            if self._size is None:
                head = await self._reader.readexactly(protocol.LENGTH.size)
                self._size = protocol.LENGTH.unpack(head)[0]
            body = await self._reader.readexactly(self._size)
            self._size = None
        return dict(json.loads(body))


Block = Callable[[Worker], Coroutine[Any, Any, Execution]]


@dataclass(slots=True)
class Hold:
    """Somebody's hold on a worker; None before the first block, and once the worker is lost."""

    worker: Worker | None = None


class Executor(Protocol):
    """What sessions need of the sandbox."""

    async def run(self, code: str, timeout_s: float, earlier: Sequence[str] = ()) -> Execution:
        """What the code did after the earlier blocks."""
        ...

    async def run_in(self, hold: Hold, block: Block) -> Execution:
        """What the block did on the worker that is held from now on."""
        ...

    def release(self, hold: Hold) -> None:
        """Gives the worker back, as new."""
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
            self._hold, lambda worker: worker.run(code, timeout_s, live=True)
        )

    async def aclose(self) -> None:
        self._executor.release(self._hold)
