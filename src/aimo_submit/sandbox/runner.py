"""One block of model-written code, in the process forked for it: confine, run, exit.

The exit code says how it went (0, or another after an error); all the rest is text on one pipe.
"""

from __future__ import annotations

import ast
import atexit
import builtins
import gc
import io
import linecache
import math
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import types
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from aimo_submit.sandbox.limits import Limits
from aimo_submit.sandbox.processes import PR_SET_PDEATHSIG, prctl, step_ahead
from aimo_submit.sandbox.repair import repair
from aimo_submit.sandbox.tracebacks import BLOCK, describe

CUSTOMARY = {"math": "math", "np": "numpy", "sp": "sympy", "numpy": "numpy", "sympy": "sympy"}
INT_DIGITS = 200_000  # Python's own limit of 4,300 breaks legitimate answers
SEED = 0  # every block draws the same numbers, so a replay sees the same output
BIG_SOURCE = 500_000  # characters; a tree of more takes seconds: no echo, no repair
THREAD_STACK = 16 * 2**20  # or every thread would reserve the whole stack limit
CPU_SLACK_S = 2
FIRST_VICTIM = "1000"  # when memory runs out, the kernel ends the block and not the kit


@dataclass(frozen=True, slots=True)
class Job:
    """What a runner needs to know."""

    code: str
    timeout_s: float
    home: Path
    output: int  # the write end of the pipe
    warden: int
    limits: Limits
    processes: int  # RLIMIT_NPROC


def main(job: Job) -> NoReturn:
    """Runs the block and ends the process."""
    status = 1
    try:
        confine(job)
        status = execute(job.code)
        _run_exit_handlers()
        sys.stdout.flush()
    finally:
        os._exit(status & 255)


def confine(job: Job) -> None:
    """Gives the process its own session, folder, streams and limits, and nothing else."""
    os.setsid()
    step_ahead()
    _take_streams(job.output)
    _restore_signals()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != job.warden:
        raise ProcessLookupError("the warden of this block is gone")
    os.umask(0o077)
    os.chdir(job.home)
    for name in ("HOME", "TMPDIR", "MPLCONFIGDIR"):
        os.environ[name] = str(job.home)
    tempfile.tempdir = None
    _limit(job)
    _seed()
    gc.enable()


def execute(code: str) -> int:
    """The exit code of the block: runs it as `__main__` and shows its last expression."""
    main_module = types.ModuleType("__main__")
    main_module.__dict__.update(_names(), __file__=BLOCK, __builtins__=builtins)
    sys.modules["__main__"] = main_module
    sys.argv = [BLOCK]
    sys.path.insert(0, "")
    try:
        tree = _parse(code)
        _run(tree, main_module.__dict__)
    except SystemExit as stop:
        return _exit_code(stop)
    except BaseException as error:  # the border of one block: whatever it raised is its output
        _show("".join(describe(error)))
        return 1
    return 0


def _take_streams(output: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
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


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _limit(job: Job) -> None:
    limits = job.limits
    pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    seconds = math.ceil(job.timeout_s) + CPU_SLACK_S
    for what, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + limits.memory_bytes),
        (resource.RLIMIT_STACK, limits.stack_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, job.processes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))
    threading.stack_size(THREAD_STACK)
    with suppress(OSError):  # some containers have a read-only /proc
        Path("/proc/self/oom_score_adj").write_text(FIRST_VICTIM)
    sys.set_int_max_str_digits(INT_DIGITS)


def _seed() -> None:
    random.seed(SEED)  # after the fork, where `random` seeds itself anew
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(SEED)


def _names() -> dict[str, Any]:
    return {name: sys.modules[m] for name, m in CUSTOMARY.items() if m in sys.modules}


def _parse(code: str) -> ast.Module | str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a string is no news to a model
        try:
            return _remember(code)
        except (SyntaxError, ValueError) as error:
            first = error
        try:
            return _remember(repair(code))
        except (SyntaxError, ValueError):
            raise first from None


def _remember(source: str) -> ast.Module | str:
    tree = source if len(source) > BIG_SOURCE else ast.parse(source, BLOCK)
    linecache.cache[BLOCK] = (len(source), None, source.splitlines(keepends=True), BLOCK)
    return tree


def _run(tree: ast.Module | str, names: dict[str, Any]) -> None:
    last = tree.body[-1] if isinstance(tree, ast.Module) and tree.body else None
    if isinstance(tree, str) or not isinstance(last, ast.Expr):
        exec(compile(tree, BLOCK, "exec", dont_inherit=True), names)
        return
    tree.body.pop()
    exec(compile(tree, BLOCK, "exec", dont_inherit=True), names)
    value = eval(compile(ast.Expression(last.value), BLOCK, "eval", dont_inherit=True), names)
    sys.displayhook(value)


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None or stop.code == 0:
        return 0
    _show(f"{stop.code}\n" if isinstance(stop.code, str) else f"SystemExit: {stop.code}\n")
    return 1


def _show(text: str) -> None:
    """Writes past `sys.stdout`, which the block may have closed or replaced."""
    for stream in (sys.stdout, sys.__stdout__):
        with suppress(AttributeError, ValueError, OSError):
            stream.flush()  # type: ignore[union-attr]
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(2, data) :]


def _run_exit_handlers() -> None:
    """What the interpreter does at its end: waits for threads, runs `atexit`."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
