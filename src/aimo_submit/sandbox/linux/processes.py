"""Finds and ends processes, from /proc alone.

Both the fork server and its wardens are subreapers: whatever a block leaves behind, in whatever
session, comes back as a child of its warden, so "no child left" means "nothing left".
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path

from aimo_submit.sandbox.linux import PR_SET_CHILD_SUBREAPER, prctl
from aimo_submit.sandbox.linux.privileges import drop_capabilities

PATIENCE_S = 5.0
PAUSE_S = 0.001
SHORT_NICE = -8  # about six times an ordinary session's share: docs/log/loop.md
LONG_NICE = 5  # a third of it, for a block that is no longer short


def subreaper() -> bool:
    """Has this process inherit what its descendants leave behind; False if the kernel refuses."""
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        return False
    return True


def step_ahead(pid: int | str = "self") -> None:
    """Puts the session of that process before others on the CPU, where the kernel lets it.

    A short block that has a core to itself is over sooner than one that shares it, and an engine
    whose threads wait for each other at every step loses far more than the block's own time.
    """
    _set_share(pid, SHORT_NICE)


def send(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    """Signals a process or its group; one that is gone already is no error."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except ProcessLookupError:
        return


def ended(child: int) -> int | None:
    """Returns the child's exit code, negative for a signal; None while it runs.

    The child is not reaped: until then its id, and its group's, can mean no other process.
    """
    info = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if info is None:
        return None
    return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status


def reap() -> tuple[set[int], bool]:
    """Reaps the children that have ended; returns them, and whether any child is left."""
    ended: set[int] = set()
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, False
        if pid == 0:
            return ended, True
        ended.add(pid)


def end_descendants(spare: Collection[int] = (), *, and_below: bool = True) -> set[int]:
    """Kills all below this process but `spare`, and all below those; returns who was reaped.

    Without `and_below` only the spared themselves are left.
    """
    reaped: set[int] = set()
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        ended, more = reap()
        reaped |= ended
        if not more or not _kill_once(frozenset(spare) - reaped, and_below):
            break
        time.sleep(PAUSE_S)
    return reaped


def end_all(kill_all: Callable[[], None]) -> None:
    """Kills all below this process, which `kill_all` does at once, until nothing is left."""
    until = time.monotonic() + PATIENCE_S
    while reap()[1] and time.monotonic() < until:
        kill_all()
        time.sleep(PAUSE_S)


def kill_descendants() -> None:
    """Kills all below this process, found in /proc: others may be faster for a moment."""
    _kill_once(frozenset(), True)


def kill_namespace() -> None:
    """Kills all but this process, which is the first of its PID namespace."""
    if os.getpid() == 1:
        os.kill(-1, signal.SIGKILL)


def kill_user(uid: int, helper: int) -> None:
    """Kills all processes of a uid, from a child that those processes cannot signal.

    The child's real and saved ids are the helper's, who is no other user of the sandbox; and not
    root, whose processes it would kill as well.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setresuid(helper, uid, helper)
        drop_capabilities()
        os.kill(-1, signal.SIGKILL)
    finally:
        os._exit(0)


def alone(head: int, dying: int) -> bool:
    """True if nothing but these two is below this process, at a glance."""
    return _children(os.getpid()) <= {head, dying} and not _children(head)


def step_back(pid: int) -> None:
    """Puts it behind others, once it is no longer short."""
    _set_share(pid, LONG_NICE)


def count_threads(uid: int) -> int:
    """Counts the threads of the user, as RLIMIT_NPROC does."""
    total = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                total += len(os.listdir(entry / "task"))  # noqa: PTH208
        except OSError:  # it ended meanwhile
            continue
    return total


def _kill_once(spare: frozenset[int], and_below: bool) -> bool:
    """Stops all, so that none can fork on, then kills them; False if there was nothing."""
    seen: set[int] = set()
    while new := descendants(os.getpid(), spare, and_below) - seen:
        for pid in new:
            send(pid, signal.SIGSTOP)
        seen |= new
    for pid in seen:
        send(pid, signal.SIGKILL)
    return bool(seen)


def descendants(head: int, spare: frozenset[int] = frozenset(), and_below: bool = True) -> set[int]:
    """Returns all below a process but `spare`, and with `and_below` all below those."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = [head]
    while todo:
        below = children.get(todo.pop(), [])
        fresh = [pid for pid in below if pid not in spare]
        found.update(fresh)
        todo += fresh if and_below else below
    return found


def _set_share(pid: int | str, nice: int) -> None:
    try:  # not by pathlib, of whose code a fork would have to touch every page
        group = os.open(f"/proc/{pid}/autogroup", os.O_WRONLY)
        try:
            os.write(group, b"%d" % nice)
        finally:
            os.close(group)
    except OSError:  # not root, or a kernel without groups of sessions
        return


def _children(pid: int) -> set[int]:
    """Returns the children of all threads of a process; {0} where the kernel cannot tell."""
    try:
        lists = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:  # it is gone, or a kernel without these files
        return {0}
    return {int(child) for names in lists for child in names.split()}


def _parents() -> dict[int, int]:
    parents = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - a third of the time of Path.iterdir
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            state, parent, *_ = stat.rpartition(b")")[2].split()
            if state != b"Z":  # dead, and its parent's to reap
                parents[int(name)] = int(parent)
    return parents
