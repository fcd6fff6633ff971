"""From a fork of the warden to a process that may do next to nothing but compute."""

from __future__ import annotations

import gc
import io
import math
import os
import random
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from aimo_submit.sandbox.linux import landlock, privileges, seccomp
from aimo_submit.sandbox.linux.libc import PR_SET_PDEATHSIG, prctl
from aimo_submit.sandbox.linux.processes import step_ahead
from aimo_submit.sandbox.protocol import Limits

INT_DIGITS = 200_000  # Python's own limit of 4,300 breaks legitimate answers
SEED = 0  # every block draws the same numbers, so a replay sees the same output
THREAD_STACK = 16 * 2**20  # or every thread would reserve the whole stack limit
CPU_SLACK_S = 2
FIRST_VICTIM = "1000"  # when memory runs out, the kernel ends the block and not the kit


@dataclass(frozen=True, slots=True)
class Jail:
    """What surrounds the blocks of one worker."""

    home: Path
    warden: int
    limits: Limits
    address_space: int  # bytes
    processes: int  # RLIMIT_NPROC
    uid: int | None  # None: the kit's own
    reads_all: bool
    owns_shared_memory: bool
    kill_all: Callable[[], None]  # SIGKILL to every process of the worker, at once
    ruleset: int | None  # of Landlock, a descriptor
    filter: seccomp.Program | None


def prepare(home: Path) -> None:
    """Does in the warden, once, what its blocks inherit: a fork costs by what it touches."""
    os.umask(0o077)
    os.chdir(home)
    for name in ("HOME", "TMPDIR", "MPLCONFIGDIR"):
        os.environ[name] = str(home)
    tempfile.tempdir = None
    threading.stack_size(THREAD_STACK)
    with suppress(OSError):  # some containers have a read-only /proc
        Path("/proc/self/oom_score_adj").write_text(FIRST_VICTIM)
    sys.set_int_max_str_digits(INT_DIGITS)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(SEED)
    gc.freeze()


def confine(jail: Jail, output: int, keep: Collection[int] = ()) -> None:
    """Gives the process its own session, folder, streams, limits and layers, and nothing else."""
    os.setsid()
    step_ahead()
    _take_streams(output)
    _close_all_but({*keep, *(() if jail.ruleset is None else (jail.ruleset,))})
    _restore_signals()
    _limit(jail)
    _drop_privileges(jail)
    random.seed(SEED)  # here, since a fork seeds `random` anew
    gc.enable()


def die_with_parent(parent: int) -> None:
    """Has the kernel end this process when its parent ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent of this block is gone")


def limit_cpu(timeout_s: float) -> None:
    """Bounds the CPU time of this process by the block's wall time and a little."""
    _set_limit(resource.RLIMIT_CPU, math.ceil(timeout_s) + CPU_SLACK_S)


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


def _close_all_but(kept: Collection[int]) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for below, above in pairwise([2, *sorted(kept), most]):
        os.closerange(below + 1, above)


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _limit(jail: Jail) -> None:
    limits = jail.limits
    for what, most in (
        (resource.RLIMIT_AS, jail.address_space),
        (resource.RLIMIT_STACK, limits.stack_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, jail.processes),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _set_limit(what, most)


def _set_limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (allowed, allowed))


def _drop_privileges(jail: Jail) -> None:
    """The order matters: a change of user clears the parent-death signal."""
    if jail.uid is None:
        privileges.drop_capabilities()
    else:
        privileges.become(jail.uid, reads_all=jail.reads_all)
    die_with_parent(jail.warden)
    privileges.no_new_privileges()
    if jail.ruleset is not None:
        landlock.restrict(jail.ruleset)
        os.close(jail.ruleset)
    if jail.filter is not None:
        seccomp.install(jail.filter)
