"""Gives up ids and capabilities, for good.

See capabilities(7). A change of ids clears the parent-death signal, so that one is set afterwards.
"""

from __future__ import annotations

import errno
import os
import struct
from itertools import count

from aimo_submit.sandbox.linux import libc

CAP_DAC_READ_SEARCH = 2
_HEADER = struct.pack("=Ii", 0x20080522, 0)  # version 3, this process


def bound(*, reads_all: bool) -> None:
    """Takes from all that is executed below this process the right to gain capabilities.

    What the process itself may do stays. For a warden: 40 calls are 0.4 ms, too much for a block.
    """
    for capability in count():
        if reads_all and capability == CAP_DAC_READ_SEARCH:
            continue
        try:
            libc.prctl(libc.PR_CAPBSET_DROP, capability)
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
        libc.prctl(libc.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    drop_capabilities(kept)
    if kept:
        libc.prctl(libc.PR_SET_KEEPCAPS, 0)
        libc.prctl(libc.PR_CAP_AMBIENT, libc.PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH)


def drop_capabilities(kept: int = 0) -> None:
    """Gives up every capability but those of the mask; the uid stays, also root's."""
    libc.call("capset", _HEADER, struct.pack("=6I", kept, kept, kept, 0, 0, 0))


def no_new_privileges() -> None:
    """Makes setuid bits and file capabilities mean nothing to this process and its children."""
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
