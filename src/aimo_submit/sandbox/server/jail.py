"""A jail for one worker: its uid, home folder, Landlock rules and seccomp filter, set up once."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aimo_submit.sandbox.block.process import SEED, Jail
from aimo_submit.sandbox.leases import MOST_WORKERS
from aimo_submit.sandbox.linux import landlock, privileges, processes, usage
from aimo_submit.sandbox.linux.files import empty_folder
from aimo_submit.sandbox.linux.layers import Layers
from aimo_submit.sandbox.protocol import Limits

SHARED_MEMORY = Path("/dev/shm")  # multiprocessing keeps its semaphores there
INT_DIGITS = 200_000  # Python's own limit of 4,300 breaks legitimate answers
THREAD_STACK = 16 * 2**20  # or every thread would reserve the whole stack limit
FIRST_VICTIM = "1000"  # when memory runs out, the kernel ends the block and not the kit


@dataclass(frozen=True, slots=True)
class JailSpec:
    """All that the jails of a sandbox have in common."""

    root: Path
    limits: Limits
    layers: Layers
    readable: list[Path]
    listable: list[Path]


def make_jail(spec: JailSpec, number: int) -> Jail:
    """Prepares this warden, and a new, empty folder, for the blocks of the worker `number`."""
    layers, limits = spec.layers, spec.limits
    uid = None if layers.first_uid is None else layers.first_uid + number
    home = Path(tempfile.mkdtemp(prefix=home_prefix(number), dir=spec.root))
    if layers.namespaces:
        privileges.own_mounts(home, uid, limits.file_bytes)
    elif uid is not None:
        os.chown(home, uid, uid)
    privileges.bound(reads_all=layers.reads_all)
    _prepare(home)
    alone = uid is not None or layers.user_namespace
    return Jail(
        home=home,
        warden=os.getpid(),
        limits=limits,
        address_space=usage.address_space(os.getpid()) + limits.memory_bytes,
        processes=limits.processes + (0 if alone else processes.count_threads(os.getuid())),
        uid=uid,
        reads_all=layers.reads_all,
        owns_shared_memory=layers.namespaces,
        kill_all=_kill_all(layers, uid),
        ruleset=_ruleset(spec, home),
        filter=layers.filter(),
    )


def home_prefix(number: int) -> str:
    """The beginning of the names of a worker's folders."""
    return f"{number}-"


def clear_shared_memory(jail: Jail, stop: Callable[[], bool]) -> None:
    """Removes what a block left in the memory that processes share, where it could write there."""
    if jail.owns_shared_memory:
        empty_folder(SHARED_MEMORY, stop)
    elif jail.uid is not None:
        for path in list(SHARED_MEMORY.iterdir()):
            with suppress(OSError):  # gone
                _remove(path, jail.uid, stop)


def _remove(path: Path, owner: int, stop: Callable[[], bool]) -> None:
    if path.lstat().st_uid != owner:
        return
    if path.is_dir() and not path.is_symlink():
        empty_folder(path, stop)
        path.rmdir()
    else:
        path.unlink()


def _prepare(home: Path) -> None:
    """Does, once, what all blocks inherit: a fork costs by what it touches."""
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


def _kill_all(layers: Layers, uid: int | None) -> Callable[[], None]:
    if layers.namespaces:
        return processes.kill_namespace
    if layers.first_uid is not None and uid is not None:
        return partial(processes.kill_user, uid, layers.first_uid + MOST_WORKERS)
    return processes.kill_descendants


def _ruleset(spec: JailSpec, home: Path) -> int | None:
    if not spec.layers.landlock:
        return None
    private = spec.layers.first_uid is not None or spec.layers.namespaces
    writable = [home, Path(os.devnull), *([SHARED_MEMORY] if private else [])]
    return landlock.ruleset(spec.readable, spec.listable, writable, spec.layers.landlock)
