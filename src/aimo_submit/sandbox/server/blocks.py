"""The processes that run blocks, as their warden holds them: started, watched, captured, ended."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from aimo_submit.sandbox import protocol
from aimo_submit.sandbox.block.process import Jail, run_live, run_once
from aimo_submit.sandbox.linux import processes

CREDENTIALS = struct.Struct("iII")  # pid, uid, gid, by the kernel's word
TALK_S = 1.0  # for a live interpreter to take a block or to say that one is gone
CHUNK = 65_536  # bytes read at a time


class Lost(Exception):
    """A live interpreter no longer answers."""


@dataclass(frozen=True, slots=True)
class Work:
    """A block to run."""

    code: str
    timeout_s: float
    earlier: Sequence[str] = ()


class Once:
    """A block in a process of its own."""

    def __init__(self, jail: Jail, work: Work) -> None:
        self._kill_all = jail.kill_all
        self.output, theirs = _pipe()
        self.pid = os.fork()
        if self.pid == 0:
            run_once(jail, theirs, work.code, work.earlier, work.timeout_s)
        os.close(theirs)

    def status(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return processes.ended(self.pid)

    def end(self) -> None:
        """Kills it with all it started."""
        processes.send(self.pid, signal.SIGKILL)
        processes.send(self.pid, signal.SIGKILL, group=True)
        processes.end_all(self._kill_all)


class Live:
    """An interpreter that stays from block to block; stopped while it has nothing to do."""

    def __init__(self, jail: Jail) -> None:
        self._kill_all = jail.kill_all
        self.output, theirs = _pipe()
        self.channel, far = socket.socketpair()
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.pid = os.fork()
        if self.pid == 0:
            run_live(jail, theirs, far)
        self.former = self.pid  # the interpreter before the last block, about to end
        self._handle = os.pidfd_open(self.pid)  # a process id alone may come to mean another
        os.close(theirs)
        far.close()

    def begin(self, work: Work) -> None:
        """Hands over a block. Raises `Lost` where nobody takes it."""
        self._signal(signal.SIGCONT)
        processes.step_ahead(self.pid)
        self._forget_lies()
        self.channel.settimeout(TALK_S)
        try:
            message = {"code": work.code, "timeout_s": work.timeout_s}
            self.channel.sendall(protocol.pack(message))
        except OSError as error:
            raise Lost from error

    def status(self) -> int | None:
        """The exit code, once that was said; the interpreter is whoever said it.

        A block that says so itself, too early, or through a child, ends itself: no word but the
        process id, which the kernel adds, has any effect outside its own session.
        """
        speaker, status = self._hear()
        if speaker != self.pid:
            self._signal(signal.SIGKILL)
            os.close(self._handle)
            self.former, self.pid = self.pid, speaker
            self._handle = os.pidfd_open(speaker)
        return status

    def rest(self) -> None:
        """Ends all that the block started, and stops the interpreter until the next one."""
        if not processes.alone(self.pid, self.former):
            processes.end_descendants(spare={self.pid}, and_below=False)
        self._signal(signal.SIGSTOP)

    def interrupt(self) -> None:
        """Ends the block that runs; the interpreter stays. Raises `Lost` where it does not."""
        processes.end_descendants(spare={self.pid}, and_below=False)
        self.channel.settimeout(TALK_S)
        while self._hear()[0] != self.pid:
            continue  # the block's last words, too late: all that it was is gone
        self.rest()

    def end(self) -> None:
        """Kills the interpreter with all it started."""
        processes.end_all(self._kill_all)
        self.channel.close()
        os.close(self.output)
        os.close(self._handle)

    def _signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._handle, number)
        except OSError as error:
            raise Lost from error

    def _hear(self) -> tuple[int, int]:
        """The process id of who said that the block ended, and its exit code."""
        try:
            data, extra, _, _ = self.channel.recvmsg(
                protocol.STATUS.size, socket.CMSG_SPACE(CREDENTIALS.size)
            )
        except OSError as error:
            raise Lost from error
        if len(data) < protocol.STATUS.size or not extra:
            raise Lost
        speaker = CREDENTIALS.unpack(extra[0][2])[0]
        if speaker <= 1:  # not visible from here: nobody that could be an interpreter
            raise Lost
        status = protocol.STATUS.unpack(data)[0]
        return speaker, status if -signal.NSIG < status < 256 else 1

    def _forget_lies(self) -> None:
        """Drops what an earlier block wrote to the channel."""
        self.channel.setblocking(False)
        try:
            while self.channel.recv(CHUNK):
                continue
        except BlockingIOError:
            return
        except OSError as error:
            raise Lost from error
        raise Lost


def _pipe() -> tuple[int, int]:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    return ours, theirs


class Capture:
    """The output of a block: half of `most` bytes from its start and half from its end."""

    def __init__(self, most: int) -> None:
        self.half = most // 2
        self.head = bytearray()
        self.tail = bytearray()
        self.total = 0

    def read(self, fd: int) -> bool:
        """Reads the descriptor once; returns False at its end."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return True
        self.add(data)
        return bool(data)

    def drain(self, fd: int) -> None:
        """Takes all that is left; nobody writes any more."""
        before = -1
        while before != self.total:
            before = self.total
            self.read(fd)

    def add(self, data: bytes) -> None:
        """Appends the data."""
        self.total += len(data)
        room = self.half - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        if len(self.tail) > self.half:
            del self.tail[: -self.half]

    def text(self, note: str = "") -> str:
        """The output that was kept, the cut marked, the note on a line of its own."""
        cut = self.total - len(self.head) - len(self.tail)
        if cut:
            parts = [_decoded(self.head), f"\n... [{cut} bytes cut] ...\n", _decoded(self.tail)]
        else:
            parts = [_decoded(self.head + self.tail)]
        text = "".join(parts)
        if not note:
            return text
        return f"{text}\n{note}\n" if text and not text.endswith("\n") else f"{text}{note}\n"


def _decoded(data: bytearray) -> str:
    return data.decode("utf-8", errors="replace")
