"""The process of one block: forked by a warden, it gives up what it may do, then runs the code.

`run_once` is one block: its exit code says how it went (0, or another after an error), all the
rest is text on one pipe. `run_live` is an interpreter that stays: each block runs in a fork of it.
A block that comes to its end, with an error too, becomes the interpreter; one that dies leaves
the interpreter, and so all earlier state, as it was.
"""

from __future__ import annotations

import gc
import io
import math
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NoReturn, TextIO

from aimo_submit.sandbox import protocol
from aimo_submit.sandbox.block.interpreter import Interpreter, flush, run_exit_handlers
from aimo_submit.sandbox.linux import PR_SET_PDEATHSIG, landlock, prctl, privileges, seccomp
from aimo_submit.sandbox.linux.processes import step_ahead

SEED = 0  # every block draws the same numbers, so a replay sees the same output
CPU_SLACK_S = 2


@dataclass(frozen=True, slots=True)
class Jail:
    """The limits and layers that confine the blocks of one worker."""

    home: Path
    warden: int
    limits: protocol.Limits
    address_space: int  # bytes
    processes: int  # RLIMIT_NPROC
    uid: int | None  # None: the kit's own
    reads_all: bool
    owns_shared_memory: bool
    kill_all: Callable[[], None]  # SIGKILL to every process of the worker, at once
    ruleset: int | None  # of Landlock, a descriptor
    filter: seccomp.Program | None


def run_once(
    jail: Jail, output: int, code: str, earlier: Sequence[str], timeout_s: float
) -> NoReturn:
    """Runs the block after the earlier ones and ends the process."""
    status = 1
    try:
        _enter(jail, output)
        _limit_cpu(timeout_s)
        interpreter = Interpreter()
        for block in earlier:
            interpreter.rerun(block)
        status = interpreter.run(code)
        run_exit_handlers()
        flush()
    finally:
        os._exit(status & 255)


def run_live(jail: Jail, output: int, channel: socket.socket) -> NoReturn:
    """Runs the blocks that come down the channel, until it is closed."""
    try:
        _enter(jail, output, channel.fileno())
        interpreter = Interpreter()
        while job := protocol.receive(channel):
            channel.sendall(protocol.STATUS.pack(_advance(interpreter, **job)))
    finally:
        os._exit(1)


def _advance(interpreter: Interpreter, code: str, timeout_s: float) -> int:
    """Runs a block in a fork; returns its status in the process that is the interpreter now."""
    head, numbers = os.getpid(), random.getstate()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _die_with_parent(head)  # no group of its own: a stopped one would end, orphaned by its head
    _limit_cpu(timeout_s)
    random.setstate(numbers)  # which the fork has changed
    status = interpreter.run(code)
    flush()
    prctl(PR_SET_PDEATHSIG, 0)  # the head goes now, by the warden's hand
    return status & 255


def _enter(jail: Jail, output: int, *kept: int) -> None:
    """Gives the process its own session, streams, limits and layers, and no other descriptors."""
    os.setsid()
    step_ahead()
    _take_streams(output)
    kept += () if jail.ruleset is None else (jail.ruleset,)
    for below, above in pairwise([2, *sorted(kept), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]):
        os.closerange(below + 1, above)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _set_limits(jail)
    _drop_privileges(jail)
    random.seed(SEED)  # here, since a fork seeds `random` anew
    gc.enable()


def _take_streams(output: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # One buffer under both streams keeps their order; lines are flushed, so os._exit loses none.
    shared: io.BufferedWriter = io.BufferedWriter(io.FileIO(1, "w", closefd=False))
    for name in ("stdout", "stderr"):
        _set_stream(
            name,
            io.TextIOWrapper(
                shared, "utf-8", "backslashreplace", line_buffering=True, write_through=True
            ),
        )
    _set_stream("stdin", open(0, encoding="utf-8", closefd=False))  # noqa: PTH123


def _set_stream(name: str, stream: TextIO) -> None:
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def _set_limits(jail: Jail) -> None:
    for what, most in (
        (resource.RLIMIT_AS, jail.address_space),
        (resource.RLIMIT_STACK, jail.limits.stack_bytes),
        (resource.RLIMIT_FSIZE, jail.limits.file_bytes),
        (resource.RLIMIT_NOFILE, jail.limits.open_files),
        (resource.RLIMIT_NPROC, jail.processes),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _set_limit(what, most)


def _limit_cpu(timeout_s: float) -> None:
    """Bounds the CPU time of this process by the block's wall time and a little."""
    _set_limit(resource.RLIMIT_CPU, math.ceil(timeout_s) + CPU_SLACK_S)


def _set_limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (allowed, allowed))


def _drop_privileges(jail: Jail) -> None:
    """Takes on the layers, in an order that matters: a new user clears the parent-death signal."""
    if jail.uid is None:
        privileges.drop_capabilities()
    else:
        privileges.become(jail.uid, reads_all=jail.reads_all)
    _die_with_parent(jail.warden)
    privileges.no_new_privileges()
    if jail.ruleset is not None:
        landlock.restrict(jail.ruleset)
        os.close(jail.ruleset)
    if jail.filter is not None:
        seccomp.install(jail.filter)


def _die_with_parent(parent: int) -> None:
    """Has the kernel end this process when its parent ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent of this block is gone")
