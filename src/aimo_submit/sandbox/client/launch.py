"""Starts the fork server as a program of its own and holds its control socket."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress

from aimo_submit.sandbox import leases, protocol
from aimo_submit.sandbox.linux.files import remove_tree
from aimo_submit.sandbox.linux.landlock import KIT
from aimo_submit.sandbox.protocol import Limits

GOODBYE_S = 5.0
LOG_TAIL = 2000  # characters of the fork server's last words

# Makes our modules importable by path, installed or not, and without the kit's own `__init__`.
# The current folder leaves the path by hand: Python 3.10 has no option for it.
BOOTSTRAP = f"""
import sys
sys.path.remove("")
import types
kit = sys.modules["aimo_submit"] = types.ModuleType("aimo_submit")
kit.__path__ = [{str(KIT)!r}]
from aimo_submit.sandbox.server.zygote import main
main()
"""
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",  # the order of a set is the same in every run
    "OMP_NUM_THREADS": "1",  # threads and fork do not go together
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class Launched:
    """A running fork server; its imports go on in the background."""

    def __init__(self, limits: Limits, without: Collection[str]) -> None:
        self.root, folder = leases.take_folder()
        self._log = self.root / "zygote.log"
        self._control, theirs = socket.socketpair()
        uids = leases.take_uids() if os.geteuid() == 0 else None
        options = {
            "limits": dataclasses.asdict(limits),
            "first_uid": uids and uids[0],
            "without": list(without),
        }
        held = [folder, *(uids[1] if uids else ())]
        with theirs, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-s", "-c", BOOTSTRAP),  # -I would drop the hash seed
                    *(str(theirs.fileno()), str(self.root), json.dumps(options)),
                ],
                pass_fds=[theirs.fileno(), *held],
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for lease in held:
            os.close(lease)

    @property
    def pid(self) -> int:
        """The process id of the fork server."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True while it can be asked for wardens."""
        return self._process.poll() is None

    def fork_warden(self, number: int, theirs: socket.socket) -> None:
        """Asks for a warden that serves the socket. Raises OSError when the server is gone."""
        socket.send_fds(self._control, [protocol.WORKER.pack(number)], [theirs.fileno()])

    def end_warden(self, number: int) -> None:
        """Asks to end a warden and what it left. Raises OSError when the server is gone."""
        self._control.sendall(protocol.WORKER.pack(number))

    def kill(self) -> None:
        """Ends the server alone: blocks that run go on."""
        self._process.kill()

    def last_words(self) -> str:
        """Returns the end of its log."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return text[-LOG_TAIL:].strip()

    async def stop(self) -> None:
        """Ends it with all its wardens; nothing of it is left, on disk neither."""
        self._control.close()
        await asyncio.to_thread(self._wait)
        if self.root.exists():  # the fork server died, or had too much to remove
            with suppress(OSError):
                await asyncio.to_thread(remove_tree, self.root)

    def _wait(self) -> None:
        try:
            self._process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
