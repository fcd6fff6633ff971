"""One warden per seat: runs one block at a time, watches it from outside, ends all it started.

As a subreaper it inherits whatever the block orphans, so it always knows what is the block's; as
the one process between the fork server and a block it is where a seat's own uid or namespaces
would be taken.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import tempfile
import time
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any

from aimo_submit.records import Outcome
from aimo_submit.sandbox import processes, runner, wire
from aimo_submit.sandbox.capture import Capture
from aimo_submit.sandbox.files import empty_folder
from aimo_submit.sandbox.limits import Limits

REASONS = {
    signal.SIGSEGV: "segmentation fault, most often too deep a recursion",
    signal.SIGKILL: "most often out of memory",
    signal.SIGABRT: "the process aborted",
    signal.SIGXCPU: "out of CPU time",
}
TIDY_S = 1.0  # for the folder of a block


class End(Enum):
    """What ended the watch over a block."""

    EXITED = auto()
    TIMEOUT = auto()
    FLOOD = auto()
    CANCELLED = auto()


class Warden:
    """Serves one seat until the other side closes it."""

    def __init__(self, seat: socket.socket, root: Path, limits: Limits) -> None:
        self.seat, self.root, self.limits = seat, root, limits
        self.home = self._new_home()  # kept from block to block: to remove a folder may take 3 ms
        self.wake, wake_up = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_up, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)
        self.protections = _protections()
        self.process_limit = processes.count_threads(os.getuid()) + limits.processes

    def serve(self) -> None:
        """Runs block after block; returns when the seat is closed."""
        self._send({"pid": os.getpid(), "protections": self.protections})
        while (message := wire.receive(self.seat)) is not None:
            if message:  # else a cancel that crossed with its block's reply
                self._send(self.run(message["code"], message["timeout_s"]))

    def run(self, code: str, timeout_s: float) -> dict[str, Any]:
        """The fields of the block's `Execution`; nothing of the block is left on return."""
        capture = Capture(self.limits.output_bytes)
        started = time.monotonic()
        pid, output = self._fork(code, timeout_s)
        try:
            end, status = self._watch(pid, output, capture, started + timeout_s)
        finally:
            processes.send(pid, signal.SIGKILL)
            processes.send(pid, signal.SIGKILL, group=True)
            processes.end_descendants()
        seconds = time.monotonic() - started
        capture.drain(output)
        os.close(output)
        self._tidy()
        outcome, note = _verdict(end, status, timeout_s)
        return {"outcome": outcome, "output": capture.text(note), "seconds": seconds}

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(ConnectionError):  # closed meanwhile: the next receive will say so
            self.seat.sendall(wire.pack(message))

    def _tidy(self) -> None:
        clean = False
        with suppress(OSError):  # it is gone, or a link
            clean = empty_folder(self.home, TIDY_S)
        if not clean:
            self.home = self._new_home()  # what is left goes with the sandbox's own folder

    def _new_home(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.root))

    def _fork(self, code: str, timeout_s: float) -> tuple[int, int]:
        output, theirs = os.pipe()
        warden = os.getpid()
        pid = os.fork()
        if pid == 0:
            job = (code, timeout_s, self.home, theirs, warden, self.limits, self.process_limit)
            runner.main(runner.Job(*job))
        os.close(theirs)
        os.set_blocking(output, False)
        return pid, output

    def _watch(self, pid: int, output: int, capture: Capture, until: float) -> tuple[End, int]:
        poll = select.poll()
        for fd in (self.seat.fileno(), output, self.wake):
            poll.register(fd, select.POLLIN)
        while (left := until - time.monotonic()) > 0:
            ready = {fd for fd, _ in poll.poll(left * 1000 + 1)}
            if self.seat.fileno() in ready:
                return End.CANCELLED, 0
            if self.wake in ready:
                os.read(self.wake, 4096)
                if (status := processes.ended(pid)) is not None:
                    return End.EXITED, status
            if output in ready and not capture.read(output):
                poll.unregister(output)
            if capture.total > self.limits.flood_bytes:
                return End.FLOOD, 0
        return End.TIMEOUT, 0


def _verdict(end: End, status: int, timeout_s: float) -> tuple[Outcome, str]:
    match end:
        case End.TIMEOUT:
            return Outcome.TIMEOUT, f"TimeoutError: execution exceeded {float(timeout_s)} s"
        case End.FLOOD:
            return Outcome.KILLED, "Killed: far too much output"
        case End.CANCELLED:
            return Outcome.KILLED, "Killed: cancelled"
    if status >= 0:
        return Outcome.OK if status == 0 else Outcome.ERROR, ""
    number = signal.Signals(-status)
    if number == signal.SIGXCPU:
        return Outcome.TIMEOUT, "TimeoutError: out of CPU time"
    return Outcome.KILLED, f"Killed by {number.name}: {REASONS.get(number, 'a signal')}"


def _protections() -> dict[str, str]:
    subreaper = processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    escape = "partly: this kernel has no subreaper, a daemon of a block can escape"
    later = "off: not in this version"
    return {
        "wall deadline, all processes of the block ended": "on" if subreaper else escape,
        "environment without secrets": "on",
        "own session, temporary folder and file descriptors": "on",
        "memory, stack, CPU, file size and open files limited per process": "on",
        "number of processes limited": "on" if os.getuid() else "off: Linux exempts root",
        "output limited": "on",
        "network closed": later,
        "files of this user out of reach": later,
        "other processes of this user out of reach": later,
    }
