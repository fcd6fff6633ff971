"""Namespaces: a network without interfaces, and processes, files and memory of a warden's own.

See namespaces(7). All are left once, by the fork server and by each warden, so they cost nothing
for a block. They end with the last process in them, and their mounts too.
"""

from __future__ import annotations

import os
from pathlib import Path

from aimo_submit.sandbox.linux import libc

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x20000, 0x8000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
MAX_FILES, MAX_SHARED_FILES = 20_000, 2_000
SHARED_BYTES = 64 * 2**20  # /dev/shm, for the semaphores of multiprocessing


def leave_network(*, user: bool) -> None:
    """Leaves network, System V IPC and mounts for new, empty ones.

    With `user` inside a new user namespace, for want of CAP_SYS_ADMIN; only this user exists
    there, under its own number, so that no block sees a root and setuid bits mean nothing.
    """
    uid, gid = os.getuid(), os.getgid()
    spaces = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS
    libc.unshare(spaces | CLONE_NEWUSER if user else spaces)
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    libc.mount("none", "/", None, MS_REC | MS_PRIVATE)


def own_processes() -> None:
    """Makes the next child PID 1 of a namespace of its own; the one after it would be PID 2.

    So the caller is a process in between, which forks once and lives no longer than its child.
    """
    libc.unshare(CLONE_NEWPID)


def own_mounts(home: Path, uid: int | None, disk_bytes: int) -> None:
    """Gives a warden its own /proc, /dev/shm and home, the last two in memory and bounded.

    For PID 1 of its namespace. They belong to the user, or to this one where there is none.
    """
    libc.unshare(CLONE_NEWNS)
    libc.mount("none", "/", None, MS_REC | MS_PRIVATE)
    owner = (os.getuid(), os.getgid()) if uid is None else (uid, uid)
    _in_memory(home, owner, disk_bytes, MAX_FILES)
    _in_memory(Path("/dev/shm"), owner, SHARED_BYTES, MAX_SHARED_FILES)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    try:
        libc.mount("proc", "/proc", "proc", flags, "hidepid=2")
    except OSError:  # before Linux 5.8 the option is refused in a user namespace
        libc.mount("proc", "/proc", "proc", flags)


def _in_memory(folder: Path, owner: tuple[int, int], most_bytes: int, most_files: int) -> None:
    uid, gid = owner
    data = f"uid={uid},gid={gid},mode=700,size={most_bytes},nr_inodes={most_files}"
    libc.mount("tmpfs", str(folder), "tmpfs", MS_NOSUID | MS_NODEV, data)
