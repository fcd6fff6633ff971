"""The process in which a notebook is rehearsed: a real Jupyter kernel, and an end to all of it.

`python -m aimo_submit.kaggle.rehearsal.player FILE` reads what to play and writes what happens to
standard output, a JSON object a line. Where it may (root), it has no network but a loopback of its
own, and the inputs are read-only. Whatever the notebook starts is below this process and ends with
it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from aimo_submit.kaggle.rehearsal.injections import INJECTIONS
from aimo_submit.sandbox.linux import libc, namespaces, processes

MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
SMALL_DISK = 64 * 2**20
AFTER_GATEWAY_S = 5.0  # the notebook may use after the gateway has all answers
LOOK_S = 0.1

_ANSWERED = re.compile(r"^\d+\. ", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Play:
    """What to play."""

    notebook: str
    working: str
    inputs: str
    environment: Mapping[str, str]  # of the notebook, and of the gateway
    limit_s: float
    gateway: Sequence[str] = ()  # a command, where the gateway is a process of its own
    injections: Sequence[str] = ()
    small_disk: bool = False


class Stage:
    """One notebook being played."""

    def __init__(self, play: Play, tell: Any) -> None:
        self.play, self.tell = play, tell
        self.working = Path(play.working)
        self.answered = 0
        self.kernel = 0  # its process id
        self.ended = threading.Event()
        self._log: list[dict[str, Any]] = []
        self._start = time.monotonic()
        self._error = ""
        self._injected: set[str] = set()

    def run(self) -> None:
        """Plays the notebook to its end, or to the limit."""
        gateway = self._start_gateway()
        for name in self.play.injections:
            threading.Thread(target=INJECTIONS[name], args=(self,), daemon=True).start()
        threading.Thread(target=self._execute, daemon=True).start()
        while not self.ended.wait(LOOK_S) and self.age_s < self.play.limit_s:
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
        (self.working / "libc.log").write_text(json.dumps(self._log), encoding="utf-8")

    def hear(self, message: Mapping[str, Any]) -> None:
        """Takes down what the notebook writes."""
        content = message["content"]
        if message["msg_type"] == "stream":
            self._note(content["name"], content["text"])
        elif message["msg_type"] == "error":
            self._note("stderr", _COLOURS.sub("", "\n".join(content["traceback"])))

    def _note(self, stream: str, text: str) -> None:
        self._log.append({"stream_name": stream, "time": round(self.age_s, 3), "data": text})
        answered = len(_ANSWERED.findall(text)) if stream == "stdout" else 0
        if answered:
            self.answered += answered
            self.tell(answered=self.answered)

    def _execute(self) -> None:
        try:
            _execute(self)
        except BaseException as error:  # whatever the notebook ended in: it is for the verdict
            self._error = self._error or _last_line(error)
        self.ended.set()

    def _start_gateway(self) -> subprocess.Popen[bytes] | None:
        if not self.play.gateway:
            return None
        log = (self.working / "gateway.log").open("wb")
        environment = dict(self.play.environment)
        return subprocess.Popen(
            self.play.gateway, cwd=self.working, env=environment, stdout=log, stderr=log
        )

    def _outlast(self, gateway: subprocess.Popen[bytes]) -> int | None:
        """The gateway's exit code, where the notebook has ended before it."""
        with suppress(subprocess.TimeoutExpired):
            return gateway.wait(AFTER_GATEWAY_S)
        return None


def _execute(stage: Stage) -> None:
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class Client(NotebookClient):  # type: ignore[misc, unused-ignore]
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            stage.kernel = stage.kernel or manager.provisioner.pid
            stage.hear(msg)
            return super().process_message(msg, cell, cell_index)

    play = stage.play
    notebook = import_module("nbformat").read(play.notebook, as_version=4)
    with tempfile.TemporaryDirectory() as sockets:  # ports could be the gateway's
        manager: Any = AsyncKernelManager(transport="ipc", ip=f"{sockets}/kernel")
        client = Client(notebook, km=manager, timeout=None)
        client.on_cell_start = lambda cell, cell_index: stage.tell(cell=cell_index)
        client.execute(env=dict(play.environment), cwd=play.working)


def _last_line(error: BaseException) -> str:
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    text = f"{name}: {value}" if name else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]


def apart(play: Play) -> bool:
    """Leaves network and mounts for others, as far as is allowed; whether the disk is small now."""
    try:
        libc.unshare(namespaces.CLONE_NEWNET | namespaces.CLONE_NEWNS)
        libc.mount("none", "/", None, namespaces.MS_REC | namespaces.MS_PRIVATE)
    except OSError:
        return False
    with suppress(OSError):
        _loopback()
    libc.mount(play.inputs, play.inputs, None, MS_BIND)
    libc.mount(play.inputs, play.inputs, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
    if play.small_disk:
        libc.mount("tmpfs", play.working, "tmpfs", 0, f"size={SMALL_DISK}")
    return play.small_disk


def _loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING)
        fcntl.ioctl(probe, SIOCSIFFLAGS, request)


def _keep_small_disk(working: Path) -> None:
    """Copies what is on the small disk to the folder that it hid."""
    with tempfile.TemporaryDirectory() as kept:
        shutil.copytree(working, kept, dirs_exist_ok=True)
        libc.call("umount2", os.fsencode(working), 2)  # MNT_DETACH
        shutil.copytree(kept, working, dirs_exist_ok=True)


def _leave(*_: object) -> None:
    # The signal of a parent's death comes once for each of its threads: one must not cut short
    # the clearing up that another began.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def main() -> None:
    """Plays what the file named on the command line says."""
    signal.signal(signal.SIGTERM, _leave)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGTERM)
    processes.subreaper()
    play = Play(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    raw = os.open(Path(sys.argv[1]).with_suffix(".out"), os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(raw, 1)  # the kernel's own output is not for the pipe
    os.dup2(raw, 2)
    lock = threading.Lock()

    def tell(**what: Any) -> None:
        with lock:
            print(json.dumps(what), file=events, flush=True)

    small = apart(play)
    stage = Stage(play, tell)
    try:
        stage.run()
    finally:
        processes.end_descendants()
        if small:
            _keep_small_disk(stage.working)
        stage.write_log()
        events.close()
        os._exit(0)  # threads of the client may wait for ever


if __name__ == "__main__":
    main()
