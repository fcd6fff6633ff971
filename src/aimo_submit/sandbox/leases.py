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
LOCK_NAME = "\0aimo-submit-uids-{}"


def take_folder() -> tuple[Path, int]:
    """Makes a folder for a sandbox; returns it with its lease."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o711)  # the workers' users pass through it to their own
    return folder, _lock(folder)


def take_uids() -> tuple[int, socket.socket] | None:
    """Finds a range of `MOST_WORKERS` + 1 unused uids; returns the first with their lease."""
    width = MOST_WORKERS + 1
    for first in range(FIRST_UID, FIRST_UID + RANGES * width, width):
        lease = socket.socket(socket.AF_UNIX)
        try:
            lease.bind(LOCK_NAME.format(first))
        except OSError:  # another sandbox has them
            lease.close()
            continue
        if not any(first <= user.pw_uid < first + width for user in pwd.getpwall()):
            return first, lease
        lease.close()
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
    """Ends what runs under user ids that have just been leased."""
    for pid, uid in _owners():
        if first_uid <= uid < first_uid + MOST_WORKERS:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder; OSError where another does."""
    lease = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lease)
        raise
    return lease


def _owners() -> Iterator[tuple[int, int]]:
    """Process and user ids. The owner of /proc/PID is root for one that has changed its user."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError, StopIteration):
            if entry.name.isdigit():
                lines = (entry / "status").read_text().splitlines()
                uids = next(line for line in lines if line.startswith("Uid:"))
                yield int(entry.name), int(uids.split()[1])
