"""Finding and ending processes, from /proc alone.

Both the fork server and its wardens are subreapers: whatever a block leaves behind, in whatever
session, comes back as a child of its warden, so "no child left" means "nothing left".
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PATIENCE_S = 5.0
PAUSE_S = 0.001
SESSION_NICE = -8  # about six times an ordinary session's share: docs/LOG.md, "The loop"

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> bool:
    """Whether the kernel accepted the setting."""
    return bool(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)


def step_ahead() -> None:
    """Puts this session before others on the CPU, where the kernel lets it.

    A short block that has a core to itself is over sooner than one that shares it, and an engine
    whose threads wait for each other at every step loses far more than the block's own time.
    """
    with suppress(OSError):  # not root, or a kernel without groups of sessions
        Path("/proc/self/autogroup").write_text(str(SESSION_NICE))


def send(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    """Signals a process or its group; one that is gone already is no error."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except ProcessLookupError:
        return


def ended(child: int) -> int | None:
    """The child's exit code, negative for a signal; None while it runs.

    The child is not reaped: until then its id, and its group's, can mean no other process.
    """
    info = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if info is None:
        return None
    return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status


def reap() -> tuple[set[int], bool]:
    """The children that had ended, and whether any child is left."""
    ended: set[int] = set()
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, False
        if pid == 0:
            return ended, True
        ended.add(pid)


def end_descendants(spare: Collection[int] = ()) -> set[int]:
    """Kills everything below this process but `spare` and what is below that; who was reaped."""
    reaped: set[int] = set()
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        ended, more = reap()
        reaped |= ended
        if not more or not _kill_once(frozenset(spare) - reaped):
            break
        time.sleep(PAUSE_S)
    return reaped


def count_threads(uid: int) -> int:
    """How many threads the user has, as RLIMIT_NPROC counts them."""
    total = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                total += len(os.listdir(entry / "task"))  # noqa: PTH208
        except OSError:  # it ended meanwhile
            continue
    return total


def _kill_once(spare: frozenset[int]) -> bool:
    """Whether there was anything to kill. Stops all first, so that none can fork on."""
    seen: set[int] = set()
    while new := _descendants(os.getpid(), spare) - seen:
        for pid in new:
            send(pid, signal.SIGSTOP)
        seen |= new
    for pid in seen:
        send(pid, signal.SIGKILL)
    return bool(seen)


def _descendants(head: int, spare: frozenset[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = [head]
    while todo:
        fresh = [pid for pid in children.get(todo.pop(), ()) if pid not in spare]
        found.update(fresh)
        todo += fresh
    return found


def _parents() -> dict[int, int]:
    parents = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - a third of the time of Path.iterdir
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            parents[int(name)] = int(stat.rpartition(b")")[2].split()[1])
    return parents
