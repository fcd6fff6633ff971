"""What a sandbox holds while it runs, and what those that were killed have left behind.

A claim is a descriptor that the kernel lets go of with its last holder: the fork server and its
wardens inherit it, so nothing is collected under a block that still runs.
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


def claim_folder() -> tuple[Path, int]:
    """A new folder for a sandbox, and the claim to it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o711)  # the workers' users pass through it to their own
    return folder, _lock(folder)


def claim_uids() -> tuple[int, socket.socket] | None:
    """The first user ids, for all workers and one more, that no other sandbox uses; the claim."""
    width = MOST_WORKERS + 1
    for first in range(FIRST_UID, FIRST_UID + RANGES * width, width):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(LOCK_NAME.format(first))
        except OSError:  # another sandbox has them
            claim.close()
            continue
        if not any(first <= user.pw_uid < first + width for user in pwd.getpwall()):
            return first, claim
        claim.close()
    return None


def collect_folders() -> None:
    """Removes the folders of sandboxes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # claimed, somebody else's, or being removed
            claim = _lock(folder)
            try:
                if os.fstat(claim).st_uid == os.geteuid():
                    remove_tree(folder)
            finally:
                os.close(claim)


def collect_processes(first_uid: int) -> None:
    """Ends what runs under user ids that have just been claimed."""
    for pid, uid in _owners():
        if first_uid <= uid < first_uid + MOST_WORKERS:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder; OSError where another does."""
    claim = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(claim)
        raise
    return claim


def _owners() -> Iterator[tuple[int, int]]:
    """Process and user ids. The owner of /proc/PID is root for one that has changed its user."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError, StopIteration):
            if entry.name.isdigit():
                lines = (entry / "status").read_text().splitlines()
                uids = next(line for line in lines if line.startswith("Uid:"))
                yield int(entry.name), int(uids.split()[1])
