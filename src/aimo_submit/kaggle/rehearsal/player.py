"""The process in which a notebook is rehearsed: a real Jupyter kernel, and an end to all of it.

`python -m aimo_submit.kaggle.rehearsal.player FILE` reads its job from the file and writes events
to standard output, a JSON object a line. Where it may (root), it has no network but a loopback of
its own, and the inputs are read-only. Whatever the notebook starts is below this process and ends
with it.
"""

from __future__ import annotations

import fcntl
import json
import os
import pkgutil
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from aimo_submit.kaggle.rehearsal.tree import Question, Tree
from aimo_submit.kaggle.runtime.recorder import read_progress
from aimo_submit.kaggle.runtime.setup import OVERLAY
from aimo_submit.sandbox import linux
from aimo_submit.sandbox.linux import privileges, processes
from aimo_submit.toml import to_toml

MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
AFTER_GATEWAY_S = 5.0  # the notebook may use after the gateway has all answers
LOOK_S = 0.1
LOG = "gateway.log"

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a notebook. It goes to the player as JSON."""

    notebook: str
    working: str
    inputs: str
    environment: Mapping[str, str]  # of the notebook, and of the gateway
    settings: Mapping[str, Any]  # laid over the notebook's own
    limit_s: float
    gateway: Sequence[str] = ()  # a command, where the gateway is a process of its own
    gateway_folder: str = ""  # its working directory
    # Functions, as `module:name`, that are called with the player before the notebook starts.
    injections: Sequence[str] = ()


class Faults:
    """A base for what goes wrong on purpose in a rehearsal: nothing, as it stands."""

    name = ""
    stops = False  # the interactive run may rightly refuse to go on

    def change_questions(self, questions: Sequence[Question]) -> Sequence[Question]:
        """The problems, changed."""
        return questions

    def change_tree(self, tree: Tree) -> None:
        """Changes the inputs, once they are made."""

    def change_job(self, job: Job) -> Job:
        """The run, with other settings or variables, or with something done to it from outside."""
        return job


class Player:
    """Plays one notebook. `closing` is unwound when all that it started has ended."""

    def __init__(self, job: Job, tell: Any) -> None:
        self.job, self.tell = job, tell
        self.working = Path(job.working)
        self.environment = {**job.environment, OVERLAY: to_toml(job.settings)}
        self.answered = 0
        self.kernel = 0  # its process id
        self.ended = threading.Event()
        self.closing = ExitStack()
        self._log: list[dict[str, Any]] = []
        self._line = ""  # of standard output, as far as it has come
        self._start = time.monotonic()
        self._error = ""
        self._injected: set[str] = set()

    def run(self) -> None:
        """Plays the notebook to its end, or to the limit."""
        for name in self.job.injections:
            pkgutil.resolve_name(name)(self)
        gateway = self._start_gateway()
        threading.Thread(target=self._execute, daemon=True).start()
        while not self.ended.wait(LOOK_S) and self.age_s < self.job.limit_s:
            if gateway and gateway.poll() is not None:
                self.ended.wait(AFTER_GATEWAY_S)
                break
        late = not self.ended.is_set() and (gateway is None or gateway.poll() is None)
        code = None if gateway is None else self._outlast(gateway)
        self.tell(ended=self.age_s, error=self._error, late=late, gateway=code)

    @property
    def age_s(self) -> float:
        """Seconds since the notebook was started."""
        return time.monotonic() - self._start

    def injected(self, what: str) -> None:
        """Takes down what has been done to the notebook."""
        if what not in self._injected:
            self._injected.add(what)
            self.tell(injected=what)

    def write_log(self) -> None:
        """Leaves the log as Kaggle has it."""
        (self.working / "kernel.log").write_text(json.dumps(self._log), encoding="utf-8")

    def hear(self, message: Mapping[str, Any]) -> None:
        """Takes down a message of the kernel, and with it how many problems are answered."""
        content = message["content"]
        if message["msg_type"] == "stream":
            self._note(content["name"], content["text"])
            if content["name"] == "stdout":
                self._follow(content["text"])
        elif message["msg_type"] == "error":
            self._note("stderr", _COLOURS.sub("", "\n".join(content["traceback"])))

    def _note(self, stream: str, text: str) -> None:
        self._log.append({"stream_name": stream, "time": round(self.age_s, 3), "data": text})

    def _follow(self, text: str) -> None:
        *lines, self._line = (self._line + text).split("\n")
        for count in filter(None, map(read_progress, lines)):
            self.answered = count
            self.tell(answered=count)

    def _execute(self) -> None:
        try:
            _execute(self)
        except BaseException as error:  # whatever the notebook ended in: it is for the verdict
            self._error = self._error or _last_line(error)
        self.ended.set()

    def _start_gateway(self) -> subprocess.Popen[bytes] | None:
        if not self.job.gateway:
            return None
        folder = Path(self.job.gateway_folder)
        with (folder / LOG).open("wb") as log:
            return subprocess.Popen(
                self.job.gateway, cwd=folder, env=self.environment, stdout=log, stderr=log
            )

    def _outlast(self, gateway: subprocess.Popen[bytes]) -> int | None:
        """The gateway's exit code, where the notebook has ended before it."""
        with suppress(subprocess.TimeoutExpired):
            return gateway.wait(AFTER_GATEWAY_S)
        return None


def _execute(player: Player) -> None:
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class Client(NotebookClient):  # type: ignore[misc, unused-ignore]
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            player.kernel = player.kernel or manager.provisioner.pid
            player.hear(msg)
            return super().process_message(msg, cell, cell_index)

    notebook = import_module("nbformat").read(player.job.notebook, as_version=4)
    with tempfile.TemporaryDirectory() as sockets:  # ports could be the gateway's
        manager: Any = AsyncKernelManager(transport="ipc", ip=f"{sockets}/kernel")
        client = Client(notebook, km=manager, timeout=None)
        client.on_cell_start = lambda cell, cell_index: player.tell(cell=cell_index)
        client.execute(env=player.environment, cwd=player.job.working)


def _last_line(error: BaseException) -> str:
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    text = f"{name}: {value}" if name else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]


def apart(inputs: str) -> None:
    """Leaves network and mounts for others where that is allowed; the inputs become read-only."""
    try:
        linux.unshare(privileges.CLONE_NEWNET | privileges.CLONE_NEWNS)
        linux.mount("none", "/", None, privileges.MS_REC | privileges.MS_PRIVATE)
    except OSError:
        return
    with suppress(OSError):
        _loopback()
    linux.mount(inputs, inputs, None, MS_BIND)
    linux.mount(inputs, inputs, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def _loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING)
        fcntl.ioctl(probe, SIOCSIFFLAGS, request)


def _leave(*_: object) -> None:
    # The signal of a parent's death comes once for each of its threads: one must not cut short
    # the clearing up that another began.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def main() -> None:
    """Plays the job in the file named on the command line."""
    signal.signal(signal.SIGTERM, _leave)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
    processes.subreaper()
    file = Path(sys.argv[1])
    job = Job(**json.loads(file.read_text(encoding="utf-8")))
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    raw = os.open(file.with_suffix(".out"), os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(raw, 1)  # the kernel's own output is not for the pipe
    os.dup2(raw, 2)
    lock = threading.Lock()

    def tell(**what: Any) -> None:
        with lock:
            print(json.dumps(what), file=events, flush=True)

    apart(job.inputs)
    player = Player(job, tell)
    try:
        player.run()
    finally:
        processes.end_descendants()
        player.closing.close()
        player.write_log()
        events.close()
        os._exit(0)  # threads of the client may wait for ever


if __name__ == "__main__":
    main()
