"""Rights given up for good: ids and capabilities; network, processes and mounts of others.

See capabilities(7). A change of ids clears the parent-death signal, so that one is set afterwards.
See namespaces(7). They are left once, by the fork server and by each warden, so they cost nothing
for a block; they end with the last process in them, and their mounts too.
"""

from __future__ import annotations

import errno
import os
import struct
from itertools import count
from pathlib import Path

from aimo_submit.sandbox import linux

CAP_DAC_READ_SEARCH = 2
_HEADER = struct.pack("=Ii", 0x20080522, 0)  # version 3, this process
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x20000, 0x8000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
SHARED_BYTES = 64 * 2**20  # /dev/shm, for the semaphores of multiprocessing


def bound(*, reads_all: bool) -> None:
    """Takes from all that is executed below this process the right to gain capabilities.

    What the process itself may do stays. For a warden: 40 calls are 0.4 ms, too much for a block.
    """
    for capability in count():
        if reads_all and capability == CAP_DAC_READ_SEARCH:
            continue
        try:
            linux.prctl(linux.PR_CAPBSET_DROP, capability)
        except OSError as error:
            # Past the last one; or not for us to change, and no_new_privileges does for it.
            if error.errno in (errno.EINVAL, errno.EPERM):
                return
            raise


def become(uid: int, *, reads_all: bool) -> None:
    """Turns into a user of no group and no capability.

    With `reads_all` it may still read every file and folder, as may what it executes: for an
    interpreter in a folder closed to others, and only together with Landlock, which bounds it.
    """
    kept = 1 << CAP_DAC_READ_SEARCH if reads_all else 0
    if kept:
        linux.prctl(linux.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    drop_capabilities(kept)
    if kept:
        linux.prctl(linux.PR_SET_KEEPCAPS, 0)
        linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH)


def drop_capabilities(kept: int = 0) -> None:
    """Gives up every capability but those of the mask; the uid stays, also root's."""
    linux.call("capset", _HEADER, struct.pack("=6I", kept, kept, kept, 0, 0, 0))


def no_new_privileges() -> None:
    """Makes setuid bits and file capabilities mean nothing to this process and its children."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


MAX_FILES, MAX_SHARED_FILES = 20_000, 2_000


def leave_network(*, user: bool) -> None:
    """Leaves network, System V IPC and mounts for new, empty ones.

    With `user` inside a new user namespace, for want of CAP_SYS_ADMIN; only this user exists
    there, under its own number, so that no block sees a root and setuid bits mean nothing.
    """
    uid, gid = os.getuid(), os.getgid()
    spaces = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS
    linux.unshare(spaces | CLONE_NEWUSER if user else spaces)
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    linux.mount("none", "/", None, MS_REC | MS_PRIVATE)


def own_processes() -> None:
    """Makes the next child PID 1 of a namespace of its own; the one after it would be PID 2.

    So the caller is a process in between, which forks once and lives no longer than its child.
    """
    linux.unshare(CLONE_NEWPID)


def own_mounts(home: Path, uid: int | None, disk_bytes: int) -> None:
    """Gives a warden its own /proc, /dev/shm and home, the last two in memory and bounded.

    For PID 1 of its namespace. They belong to the user, or to this one where there is none.
    """
    linux.unshare(CLONE_NEWNS)
    linux.mount("none", "/", None, MS_REC | MS_PRIVATE)
    owner = (os.getuid(), os.getgid()) if uid is None else (uid, uid)
    _in_memory(home, owner, disk_bytes, MAX_FILES)
    _in_memory(Path("/dev/shm"), owner, SHARED_BYTES, MAX_SHARED_FILES)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    try:
        linux.mount("proc", "/proc", "proc", flags, "hidepid=2")
    except OSError:  # before Linux 5.8 the option is refused in a user namespace
        linux.mount("proc", "/proc", "proc", flags)


def _in_memory(folder: Path, owner: tuple[int, int], most_bytes: int, most_files: int) -> None:
    uid, gid = owner
    data = f"uid={uid},gid={gid},mode=700,size={most_bytes},nr_inodes={most_files}"
    linux.mount("tmpfs", str(folder), "tmpfs", MS_NOSUID | MS_NODEV, data)
