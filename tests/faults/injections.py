"""Harm done to a notebook while it runs, from outside: signals, limits, a full disk.

Each is called with the player before the notebook starts, goes on in a thread of its own, and
begins once the first answer has been given.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path

from aimo_submit.kaggle.rehearsal.player import Player
from aimo_submit.sandbox import linux
from aimo_submit.sandbox.linux.processes import descendants, send
from aimo_submit.sandbox.server import zygote

LOOK_S = 0.1
PAUSED_S = 5.0
STARVED_S = 10.0
BLOCK = bytes(2**20)
SMALL_DISK = 64 * 2**20
_FREE = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def in_thread(work: Callable[[Player], None]) -> Callable[[Player], None]:
    """The work, gone on with in a thread."""

    @wraps(work)
    def start(player: Player) -> None:
        threading.Thread(target=work, args=(player,), daemon=True).start()

    return start


@in_thread
def kill_sandbox(player: Player) -> None:
    """Kills the fork server of the sandbox after every problem."""
    for _ in answers(player):
        for pid in fork_servers(player):
            send(pid, signal.SIGKILL)
            player.injected("the sandbox's fork server was killed")


@in_thread
def storm(player: Player) -> None:
    """Kills every process below the fork server, ten times a second."""
    next(answers(player), None)
    while not player.ended.wait(LOOK_S):
        for pid in {p for server in fork_servers(player) for p in descendants(server)}:
            send(pid, signal.SIGKILL)
            player.injected("the sandbox's processes are killed all the time")


@in_thread
def kill_engine(player: Player) -> None:
    """Kills the process of an engine that has one of its own: vLLM's core."""
    next(answers(player), None)
    for pid in below(player, b"EngineCore"):
        send(pid, signal.SIGKILL)
        player.injected("the engine's process was killed")


@in_thread
def starve(player: Player) -> None:
    """Gives the notebook no more memory than it has, for a while."""
    if next(answers(player), None) is None:
        return
    size = int(Path(f"/proc/{player.kernel}/statm").read_text().split()[0])
    most = size * resource.getpagesize()
    resource.prlimit(player.kernel, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    player.injected(f"no memory beyond {most >> 20} MiB")
    player.ended.wait(STARVED_S)
    with suppress(OSError):  # it has ended
        resource.prlimit(player.kernel, resource.RLIMIT_AS, _FREE)


def fill_disk(player: Player) -> None:
    """Fills the disk of the working directory, until another problem has been answered."""
    with suppress(OSError):  # not ours to mount one that is small
        linux.mount("tmpfs", str(player.working), "tmpfs", 0, f"size={SMALL_DISK}")
        player.closing.callback(keep, player.working)
    _fill_disk(player)


@in_thread
def _fill_disk(player: Player) -> None:
    coming = answers(player)
    if next(coming, None) is None:
        return
    filler = player.working / "filler"
    if os.path.ismount(player.working):
        fill(filler)
        player.injected("the disk is full")
    else:
        resource.prlimit(player.kernel, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        player.injected("files cannot grow")
    next(coming, None)
    filler.unlink(missing_ok=True)
    resource.prlimit(player.kernel, resource.RLIMIT_FSIZE, _FREE)


def keep(working: Path) -> None:
    """Copies what is on the small disk to the folder that it hid."""
    with tempfile.TemporaryDirectory() as kept:
        shutil.copytree(working, kept, dirs_exist_ok=True)
        linux.call("umount2", os.fsencode(working), 2)  # MNT_DETACH
        shutil.copytree(kept, working, dirs_exist_ok=True)


def fill(filler: Path) -> None:
    """Writes until nothing more goes in."""
    size = len(BLOCK)
    with filler.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(BLOCK[:size])
            except OSError:  # no space left for so much
                size //= 2


@in_thread
def pause(player: Player) -> None:
    """Stops the notebook's process for a while, as a machine does that is moved."""
    next(answers(player), None)
    send(player.kernel, signal.SIGSTOP)
    player.injected(f"the notebook stood still for {PAUSED_S:g} s")
    player.ended.wait(PAUSED_S)
    send(player.kernel, signal.SIGCONT)


INJECTIONS: Mapping[str, Callable[[Player], None]] = {
    "sandbox-killed": kill_sandbox,
    "sandbox-storm": storm,
    "engine-killed": kill_engine,
    "out-of-memory": starve,
    "disk-full": fill_disk,
    "paused": pause,
}


def answers(player: Player) -> Iterator[int]:
    """The number of answered problems, whenever it has grown; ends with the notebook."""
    seen = 0
    while not player.ended.wait(LOOK_S):
        if player.answered > seen:
            seen = player.answered
            yield seen


def fork_servers(player: Player) -> list[int]:
    """The fork servers of the notebook's sandbox, without the wardens that they fork."""
    found = below(player, zygote.__name__.encode())
    return [pid for pid in found if not any(pid in descendants(other) for other in found)]


def below(player: Player, words: bytes) -> list[int]:
    """The processes of the notebook whose command line holds the words."""
    found = []
    for pid in descendants(player.kernel):
        with suppress(OSError):
            if words in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found
