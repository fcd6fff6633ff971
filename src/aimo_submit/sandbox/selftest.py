"""The self-test of the sandbox: blocks that try to break what it promises."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aimo_submit import competition
from aimo_submit.records import Outcome
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.sandbox.linux.processes import descendants

TIMEOUT_S = 20.0  # enough on a machine that is busy with other things

# A promise holds when its block ends with an exception. PORT, PID and SECRET name what the kit has
# open, itself, and a file that only its user may read. A name that does not exist would make a
# promise seem to hold: the module is one that the kit itself has imported.
ATTEMPTS = {
    "no network": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 5)",
    "no file of this user can be read": "open(SECRET).read()",
    "no file of this user can be changed": "open(SECRET, 'a')",
    "the libraries cannot be changed": "import os\nopen(os.__file__, 'a')",
    "the kit's answers cannot be imported": f"import {competition.__name__}",
    "the kit's files cannot be read": f"open({competition.__file__!r}).read()",
    "the kit's memory cannot be read": "open(f'/proc/{PID}/mem', 'rb')",
    "the kit's environment cannot be read": "open(f'/proc/{PID}/environ').read()",
    "no other process can be signalled": "import os\nos.kill(PID, 0)",
    "the number of processes is limited": """
import threading, time
for _ in range(PROCESSES): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()""",
    "memory is limited": "import mmap\nmmap.mmap(-1, MEMORY)",
    "no privileges can be gained": """
import ctypes
assert ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) != 1  # PR_GET_NO_NEW_PRIVS""",
}
LEAVES_A_DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    time.sleep(60)
os.wait()"""


@dataclass(frozen=True, slots=True)
class Promise:
    """Something that no block can do, and whether that held when one tried."""

    text: str
    holds: bool


async def promises(server: ForkServer) -> list[Promise]:
    """Tries to break each promise; takes a fraction of a second."""
    with _bait(server) as names:
        found = []
        for text, attempt in ATTEMPTS.items():
            execution = await server.run(names + attempt, TIMEOUT_S)
            found.append(Promise(text, execution.outcome is Outcome.ERROR))
    await server.run(LEAVES_A_DAEMON, TIMEOUT_S)
    nothing_left = descendants(server.pid) <= server.wardens
    return [*found, Promise("no process outlives its block", nothing_left)]


@contextmanager
def _bait(server: ForkServer) -> Iterator[str]:
    """Yields code that assigns the names which the attempts use."""
    limits = server.limits
    with tempfile.NamedTemporaryFile() as secret, socket.create_server(("127.0.0.1", 0)) as door:
        yield (
            f"PORT, PID, SECRET = {door.getsockname()[1]}, {os.getpid()}, {secret.name!r}\n"
            f"PROCESSES, MEMORY = {limits.processes + 1}, {limits.memory_bytes + 2**30}\n"
        )
