"""One warden per worker: runs one block at a time, watches it from outside, ends all it started.

As a subreaper, or as the first process of its own PID namespace, it inherits whatever the block
orphans, so it always knows what is the block's.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any

from aimo_submit.records import Outcome
from aimo_submit.sandbox import protocol
from aimo_submit.sandbox.linux import layers, processes, usage
from aimo_submit.sandbox.linux.files import empty_folder
from aimo_submit.sandbox.server.blocks import Capture, Live, Lost, Once, Work
from aimo_submit.sandbox.server.jail import (
    SHARED_MEMORY,
    JailSpec,
    clear_shared_memory,
    make_jail,
)

REASONS: dict[int, str] = {
    signal.SIGSEGV: "segmentation fault, most often too deep a recursion",
    signal.SIGKILL: "most often out of memory",
    signal.SIGABRT: "the process aborted",
    signal.SIGXCPU: "out of CPU time",
}
TIDY_S = 3.0  # for the folder of a block; what is left then is removed between blocks
TICK_S = 0.25  # how often a block is looked at; a shorter one never is
UNSEEN = 4  # times the allowance may vanish from the disk before it must be the block's doing


class End(Enum):
    """Ends of the watch over a block; a text is told to the model."""

    EXITED = auto()
    TIMEOUT = auto()
    CANCELLED = "cancelled"
    LOST = "the interpreter is gone"
    FLOOD = "far too much output"
    DISK = "far too many or too large files"
    MEMORY = "too much memory in all its processes together"


class Warden:
    """Serves one worker until the other side closes it."""

    def __init__(self, kit: socket.socket, number: int, spec: JailSpec) -> None:
        self.kit, self.number, self.spec, self.limits = kit, number, spec, spec.limits
        self.pid = int(os.readlink("/proc/self"))  # as the kit sees it  # noqa: PTH115
        processes.subreaper()
        self.jail = make_jail(spec, number)
        self.disk_is_bounded = spec.layers.namespaces
        self.resident = usage.resident(os.getpid())
        self.live: Live | None = None
        self.given_up: list[Path] = []  # folders of earlier blocks that were not emptied in time
        self.wake, wake_up = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_up, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Runs block after block; returns when the kit closes the socket."""
        self._send({"pid": self.pid, "layers": layers.rows(self.spec.layers)})
        while (message := self._next_message()) is not None:
            if message:  # else a cancel that crossed with its block's reply
                self._send(self.run(**message) if "code" in message else self.reset())
        self.reset()

    def run(
        self, code: str, timeout_s: float, earlier: Sequence[str], live: bool
    ) -> dict[str, Any]:
        """Runs a block, of which nothing is left then; returns the fields of its `Execution`."""
        work, started = Work(code, timeout_s, earlier), time.monotonic()
        capture = Capture(self.limits.output_bytes)
        watch = self._live if live else self._once
        end, status = watch(work, capture, started + timeout_s)
        seconds = time.monotonic() - started
        outcome, note = _verdict(end, status, timeout_s)
        if live and self.live is None:
            note += "\nAll that earlier code defined is lost"
        return {"outcome": outcome, "output": capture.text(note), "seconds": seconds}

    def reset(self) -> dict[str, Any]:
        """Ends the live interpreter, if there is one."""
        if self.live:
            self.live.end()
            self.live = None
        self._tidy()
        return {}

    def _next_message(self) -> dict[str, Any] | None:
        """Waits for the kit; removes what is left meanwhile, unless its user runs anything."""
        waiting = select.poll()
        waiting.register(self.kit.fileno(), select.POLLIN)
        while self.given_up and not self.live and not waiting.poll(0):
            with suppress(OSError):  # a mount of this warden's, or gone
                if not empty_folder(self.given_up[-1], lambda: bool(waiting.poll(0))):
                    continue
                self.given_up[-1].rmdir()
            self.given_up.pop()
        return protocol.receive(self.kit)

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(ConnectionError):  # closed meanwhile: the next receive will say so
            self.kit.sendall(protocol.pack(message))

    def _once(self, work: Work, capture: Capture, until: float) -> tuple[End, int]:
        block = Once(self.jail, work)
        try:
            return self._watch(block, self.wake, capture, until)
        finally:
            block.end()
            capture.drain(block.output)
            os.close(block.output)
            self._tidy()

    def _live(self, work: Work, capture: Capture, until: float) -> tuple[End, int]:
        live = self.live = self.live or Live(self.jail)
        end, status, kept = End.LOST, 0, False
        with suppress(Lost):
            live.begin(work)
            end, status = self._watch(live, live.channel.fileno(), capture, until)
            (live.rest if end is End.EXITED else live.interrupt)()
            kept = True
        capture.drain(live.output)
        if self._hoards():
            end, kept = End.DISK, False
        if not kept:
            self.reset()
        return end, status

    def _watch(
        self, block: Once | Live, news: int, capture: Capture, until: float
    ) -> tuple[End, int]:
        """Watches the block; returns its end and its status, for which `news` becomes readable."""
        poll = select.poll()
        for fd in {self.kit.fileno(), block.output, self.wake, news}:
            poll.register(fd, select.POLLIN)
        look, free = time.monotonic() + TICK_S, self._free()
        while (left := until - (now := time.monotonic())) > 0:
            if now >= look:
                if (end := self._excess(free)) is not None:
                    return end, 0
                processes.step_back(block.pid)
                look = now + TICK_S
            ready = {fd for fd, _ in poll.poll(max(0.0, min(left, look - now)) * 1000 + 1)}
            if self.kit.fileno() in ready:
                return End.CANCELLED, 0
            if self.wake in ready:
                os.read(self.wake, 4096)
            if news in ready and (status := block.status()) is not None:
                return End.EXITED, status
            if block.output in ready and not capture.read(block.output):
                poll.unregister(block.output)
            if capture.total > self.limits.flood_bytes:
                return End.FLOOD, 0
        return End.TIMEOUT, 0

    def _excess(self, free_before: list[int]) -> End | None:
        """Looks from outside whether the block uses too much; returns the end for that, or None."""
        most, below = self.limits.memory_bytes, processes.descendants(os.getpid())
        if len(below) > 1 and usage.memory_use(below, self.resident, most) > most:
            return End.MEMORY
        memory, *disks = (was - now for was, now in zip(free_before, self._free(), strict=True))
        if memory > most and usage.memory_is_scarce():  # of kinds that no process is charged with
            return End.MEMORY
        hoards = not self.disk_is_bounded and max(disks) > UNSEEN * self.limits.file_bytes
        return End.DISK if hoards or self._hoards() else None

    def _hoards(self) -> bool:
        """True if the block's folder holds too much."""
        most = self.limits.file_bytes
        return not self.disk_is_bounded and usage.disk_use(self.jail.home, most) > most

    def _free(self) -> list[int]:
        """Returns the free bytes of memory, and of each disk that a block can write to."""
        disks = (usage.free_disk(place) for place in (self.jail.home, SHARED_MEMORY))
        return [usage.free_memory(), *disks]

    def _tidy(self) -> None:
        until = time.monotonic() + TIDY_S
        with suppress(OSError):  # there is none here
            clear_shared_memory(self.jail, lambda: time.monotonic() > until)
        clean = False
        with suppress(OSError):  # it is gone, or a link
            clean = empty_folder(self.jail.home, lambda: time.monotonic() > until)
        if not clean:
            if self.jail.ruleset is not None:
                os.close(self.jail.ruleset)
            self.given_up.append(self.jail.home)
            self.jail = make_jail(self.spec, self.number)


def _verdict(end: End, status: int, timeout_s: float) -> tuple[Outcome, str]:
    if end is End.TIMEOUT:
        return Outcome.TIMEOUT, f"TimeoutError: execution exceeded {float(timeout_s)} s"
    if end is not End.EXITED:
        return Outcome.KILLED, f"Killed: {end.value}"
    if status >= 0:
        return Outcome.OK if status == 0 else Outcome.ERROR, ""
    if -status == signal.SIGXCPU:
        return Outcome.TIMEOUT, "TimeoutError: out of CPU time"
    name = signal.Signals(-status).name if -status in list(signal.Signals) else f"signal {-status}"
    return Outcome.KILLED, f"Killed by {name}: {REASONS.get(-status, 'a signal')}"
