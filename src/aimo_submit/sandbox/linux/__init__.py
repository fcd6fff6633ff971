"""The kernel's means to confine and to watch processes, used in any of them, with its rights.

Here are the calls of the C library that Python does not offer, each raising OSError. Raw ctypes
and no dependency: the machine that counts has no libseccomp and no compiler, and each layer is a
handful of calls.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS = 1, 8
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2

HUGE, MADV_COLLAPSE = 2**21, 25

library = ctypes.CDLL(None, use_errno=True)
library.syscall.restype = ctypes.c_long

Argument = int | bytes | None


def call(function: str, *args: Argument) -> int:
    """Calls the function of the C library; returns its result."""
    result = int(getattr(library, function)(*map(_argument, args)))
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")
    return result


def prctl(option: int, *args: int) -> int:
    """Makes a setting, or asks for one and returns it."""
    return call("prctl", option, *args, *(0,) * (4 - len(args)))


def syscall(number: int, *args: Argument) -> int:
    """Makes the system call; returns its result."""
    return call("syscall", number, *args)


def unshare(flags: int) -> None:
    """Leaves the namespaces named by the flags for new ones."""
    call("unshare", flags)


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str = "") -> None:
    """Mounts the source, or changes the flags of a mount where there is no kind."""
    encoded = kind.encode() if kind else None
    call("mount", source.encode(), os.fsencode(target), encoded, flags, data.encode())


def collapse_memory() -> None:
    """Puts this process's own memory into huge pages, as far as the kernel can (Linux 6.1 on).

    A fork copies a table of all pages, and an exit goes through it: 2 ms less for each block.
    """
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, inode, *_ = line.split()
        if rights.startswith("rw") and inode == "0":
            start, end = (int(address, 16) for address in span.split("-"))
            for page in range(-(-start // HUGE) * HUGE, end - HUGE + 1, HUGE):
                with suppress(OSError):  # not all of it is there, or an older kernel
                    call("madvise", page, HUGE, MADV_COLLAPSE)


def _argument(value: Argument) -> ctypes.c_ulong | bytes | None:
    # An int would be passed as 32 bits, and what a register holds above them is left to chance.
    return ctypes.c_ulong(value) if isinstance(value, int) else value
