"""Leases of folders and uids for a running sandbox; removes what killed sandboxes left behind.

The kit takes them, the fork server collects. A lease is a descriptor that the kernel lets go of
with its last holder: the fork server and its wardens inherit it, so nothing is collected under a
block that still runs.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from aimo_submit.sandbox.linux.files import remove_tree

PREFIX = "aimo-sandbox-"
FIRST_UID, RANGES = 50_000, 19  # up to 59,728: above people, below systemd's
MOST_WORKERS = 511  # each with a user of its own; one more for each range


def take_folder() -> tuple[Path, int]:
    """Makes a folder for a sandbox; returns it with its lease."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o711)  # the workers' users pass through it to their own
    return folder, _lock(folder)


def take_uids() -> tuple[int, list[int]] | None:
    """Finds a range of `MOST_WORKERS` + 1 unused uids; returns the first with their leases."""
    width = MOST_WORKERS + 1
    for first in range(FIRST_UID, FIRST_UID + RANGES * width, width):
        if any(first <= user.pw_uid < first + width for user in pwd.getpwall()):
            continue
        leases: list[int] = []
        try:
            for lease in _uid_leases(first):
                leases.append(lease)
        except OSError:  # another sandbox has them
            for lease in leases:
                os.close(lease)
        else:
            return first, leases
    return None


def collect_folders() -> None:
    """Removes the folders of sandboxes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # leased, somebody else's, or being removed
            lease = _lock(folder)
            try:
                if os.fstat(lease).st_uid == os.geteuid():
                    remove_tree(folder)
            finally:
                os.close(lease)


def collect_processes(first_uid: int) -> None:
    """Ends all that runs under uids that have just been leased.

    /proc/PID/status, since the owner of /proc/PID is root for a process that has changed its user.
    """
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError, StopIteration):  # it is gone
            lines = status.read_text().splitlines()
            uid = int(next(line for line in lines if line.startswith("Uid:")).split()[1])
            if first_uid <= uid < first_uid + MOST_WORKERS:
                os.kill(int(status.parent.name), signal.SIGKILL)


def _uid_leases(first: int) -> Iterator[int]:
    """Takes a name and a file; raises OSError where another sandbox has one of them.

    The name is known in this network namespace, whatever is mounted here; the file also to a
    sandbox in another network, such as a rehearsal's.
    """
    with socket.socket(socket.AF_UNIX) as name:
        name.bind(f"\0aimo-submit-uids-{first}")
        yield name.detach()
    if os.access("/run", os.W_OK):
        yield _lock(Path(f"/run/aimo-submit-uids-{first}"), os.O_RDWR | os.O_CREAT)


def _lock(path: Path, kind: int = os.O_RDONLY | os.O_DIRECTORY) -> int:
    """Locks the file or folder; returns the descriptor, or raises OSError if another holds it."""
    lease = os.open(path, kind | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lease)
        raise
    return lease
