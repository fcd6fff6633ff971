"""A filter of system calls for x86-64: what a block of mathematics has no use for is refused.

A list of what is refused, not of what is allowed, so that no library stops working; calls newer
than the list do not exist for a block. Executing programs is allowed: the filter is inherited.
See seccomp(2); the call numbers are those of Linux's arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from aimo_submit.sandbox import linux

ONLY = "written for x86-64 only"

# fmt: off
REFUSED = (
    101, 310, 311, 312, 438, 440, 448,  # ptrace process_vm_* kcmp pidfd_getfd, process_m* of others
    155, 161, 165, 166, 272, 308,  # pivot_root chroot mount umount2 unshare setns
    428, 429, 430, 431, 432, 433, 442, 467,  # the newer calls for mounts
    321, 298, 323, 425, 426, 427,  # bpf perf_event_open userfaultfd io_uring_*
    248, 249, 250, 303, 304, 212,  # keys, files by handle, lookup_dcookie
    169, 246, 320, 175, 176, 313, 167, 168,  # reboot kexec_* modules swap
    159, 164, 227, 305,  # the clock
    163, 179, 443, 170, 171, 103, 153, 172, 173,  # acct quotactl* host names syslog vhangup, ports
    135, 136, 154, 156, 180, 300, 460,  # personality ustat modify_ldt sysctl nfs fanotify lsm
    54,  # setsockopt: larger buffers, in memory that no limit counts
    141, 251, 285,  # setpriority ioprio_set, of a whole user; fallocate: gigabytes in no time
    319, 447,  # memfd_create memfd_secret: files in memory that no limit counts
    29, 30, 31, 64, 65, 66, 67, 68, 69, 70, 71, 220, 240, 241,  # System V IPC, queues: they outlive
)
# fmt: on
# These name another process in an argument; for oneself it is 0.
BY_PROCESS = {302: 0, 142: 0, 144: 0, 203: 0, 314: 0, 256: 0, 279: 0}
# Modes, owners, times and attributes of files, by name or descriptor: outside Landlock's rules.
ATTRIBUTES = (90, 91, 268, 452, 92, 93, 94, 260, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199)
SIGNALLING = (62, 129, 200, 234, 297)  # kill rt_sigqueueinfo tkill tgkill rt_tgsigqueueinfo
PIDFD_SEND_SIGNAL = 424
SOCKET, SOCKETPAIR = 41, 53
IOCTL, CLONE, FCNTL, SECCOMP, CLONE3 = 16, 56, 72, 317, 435
NEWER = 470  # the first number that is not known here; those of the x32 ABI are far above
NAMESPACE_FLAGS = 0x7E020000
TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI TIOCLINUX: keys typed into a terminal
SOCKET_OWNER = (0x8901, 0x8902)  # FIOSETOWN SIOCSPGRP
FILE_OWNER = (8, 15)  # F_SETOWN F_SETOWN_EX: whom the kernel signals when there is input
AF_UNIX, STREAM, SEQPACKET = 1, 1, 5

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _EACCES, _ENOSYS = (_ERRNO | e for e in (errno.EPERM, errno.EACCES, errno.ENOSYS))
_LOAD, _RETURN, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _AND = 0x20, 0x06, 0x05, 0x15, 0x35, 0x45, 0x54
_ARCHITECTURE, _X86_64 = 4, 0xC000003E
_SET_MODE_FILTER, _SPEC_ALLOW = 1, 4  # without the flag, kernels before 5.16 slow the process down


@dataclass(frozen=True, slots=True)
class Program:
    """The filter but for its head, and whether it guards the signals of others."""

    body: bytes
    guard_signals: bool


def available() -> bool:
    """True if there is a filter for this machine; if not, `ONLY` says why."""
    return platform.machine() == "x86_64"


def program(*, guard_signals: bool, guard_attributes: bool) -> Program:
    """Builds the filter, once for any number of processes.

    It leaves no socket but a pair of connected ones: nothing else closes those that have a path.
    `guard_signals` is for want of an own uid, an own PID namespace and Landlock's scope: see
    `install`. `guard_attributes`, for want of an own uid, has calls that change the attributes of
    a file do nothing; what copies a file would fail if they were refused.
    """
    refused = [*REFUSED, *([PIDFD_SEND_SIGNAL] if guard_signals else [])]
    body = [
        _instruction(_AT_LEAST, NEWER, 0, 1) + _return(_ENOSYS),
        _one_of(refused, _EPERM),
        _one_of(ATTRIBUTES, _ERRNO) if guard_attributes else b"",
        _one_of([CLONE3], _ENOSYS),  # its flags cannot be seen from here; glibc falls back
        _when(CLONE, _argument(0) + _choose(_ANY_BIT, [NAMESPACE_FLAGS], _EPERM, _ALLOW)),
        _owners(guard_signals),
        *(
            _when(number, _argument(at) + _choose(_EQUAL, [0], _ALLOW, _EPERM))
            for number, at in BY_PROCESS.items()
        ),
        _sockets(),
        _return(_ALLOW),
    ]
    return Program(b"".join(body), guard_signals)


def install(program: Program) -> None:
    """Filters this process and its children for good; needs `no_new_privileges`.

    With `guard_signals` a process may signal its own group and those from its own id upwards: its
    children, as multiprocessing must end them, but also what started after it. The kit, the fork
    server and the wardens started before. The process must lead a session of its own.
    """
    guard = _signals(os.getpid(), os.getppid()) if program.guard_signals else b""
    code = _HEAD + guard + program.body
    filters = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HxxxxxxQ", len(code) // 8, ctypes.addressof(filters))
    linux.syscall(SECCOMP, _SET_MODE_FILTER, _SPEC_ALLOW, described)


def _instruction(operation: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, yes, no, value & 0xFFFFFFFF)


def _return(action: int) -> bytes:
    return _instruction(_RETURN, action)


def _argument(index: int) -> bytes:
    # The lower half: all the arguments looked at are 32 bits wide to the kernel.
    return _instruction(_LOAD, 16 + 8 * index)


def _one_of(numbers: Iterable[int], action: int) -> bytes:
    listed = sorted(numbers)
    tests = (_instruction(_EQUAL, n, len(listed) - i) for i, n in enumerate(listed))
    return b"".join(tests) + _instruction(_JUMP, 1) + _return(action)


def _when(number: int, then: bytes) -> bytes:
    return _instruction(_EQUAL, number, 0, len(then) // 8) + then


def _choose(test: int, values: Iterable[int], then: int, otherwise: int) -> bytes:
    """Ends the filter: `then` if the test holds for one of the values."""
    listed = list(values)
    tests = (_instruction(test, v, len(listed) - i) for i, v in enumerate(listed))
    return b"".join(tests) + _return(otherwise) + _return(then)


def _owners(guard_signals: bool) -> bytes:
    requests = [*TERMINAL_INPUT, *(SOCKET_OWNER if guard_signals else ())]
    rules = _when(IOCTL, _argument(1) + _choose(_EQUAL, requests, _EPERM, _ALLOW))
    if guard_signals:
        rules += _when(FCNTL, _argument(1) + _choose(_EQUAL, FILE_OWNER, _EPERM, _ALLOW))
    return rules


def _sockets() -> bytes:
    # A datagram socket, even of a pair, may be sent from to any address.
    kind = _argument(1) + _instruction(_AND, 0xF)
    kind += _choose(_EQUAL, [STREAM, SEQPACKET], _ALLOW, _EACCES)
    family = _argument(0) + _instruction(_EQUAL, AF_UNIX, 1) + _return(_EACCES)
    return _one_of([SOCKET], _EACCES) + _when(SOCKETPAIR, family + kind)


def _signals(own: int, parent: int) -> bytes:
    """Refuses signals to ids below one's own; to all but oneself once ids have wrapped round."""
    ours = [own, 0, -own] if own > parent else [0, own]
    range_ = _instruction(_AT_LEAST, 0x80000000, 2) + _instruction(_AT_LEAST, own, 0, 1)
    range_ = range_ + _return(_ALLOW) if own > parent else b""
    body = _argument(0) + range_ + _choose(_EQUAL, ours, _ALLOW, _EPERM)
    return b"".join(_when(number, body) for number in SIGNALLING)


_HEAD = b"".join(
    (
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, _X86_64, 1),
        _return(_KILL),
        _instruction(_LOAD, 0),  # the number of the call
    )
)
