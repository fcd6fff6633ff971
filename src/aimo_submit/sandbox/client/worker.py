"""One worker as the kit sees it: the connection to its warden."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from aimo_submit.records import Execution, Outcome
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
        """Asks the fork server for a warden and waits until it is ready."""
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
        self, code: str, timeout_s: float, earlier: Sequence[str], *, live: bool
    ) -> Execution:
        """Runs a block after the earlier ones, or in the interpreter that stays."""
        block = {"code": code, "timeout_s": timeout_s, "earlier": list(earlier), "live": live}
        async with self._talking:
            self._writer.write(protocol.pack(block))
            reply = await self._receive(timeout_s + GRACE_S)
        return Execution(Outcome(reply["outcome"]), reply["output"], reply["seconds"])

    async def reset(self) -> None:
        """Ends the live interpreter, if there is one."""
        async with self._talking:
            self._writer.write(protocol.pack({"reset": True}))
            await self._receive(GRACE_S)

    def cancel(self) -> None:
        """Has the running block killed; `settle` then waits for that."""
        self._writer.write(protocol.CANCEL)

    async def settle(self) -> None:
        """Waits until the cancelled block is gone."""
        async with self._talking:
            await self._receive(GRACE_S)

    async def finish(self) -> None:
        """Ends the warden with its block and waits until it is gone."""
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
