"""The walls of one worker: user, folder, rules and filter, put up once by its warden."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aimo_submit.sandbox.block.confine import Cell, prepare
from aimo_submit.sandbox.leases import MOST_WORKERS
from aimo_submit.sandbox.linux import landlock, namespaces, privileges, processes, seccomp
from aimo_submit.sandbox.linux.files import empty_folder
from aimo_submit.sandbox.linux.layers import Layers
from aimo_submit.sandbox.protocol import Limits
from aimo_submit.sandbox.server.usage import address_space

SHARED_MEMORY = Path("/dev/shm")  # multiprocessing keeps its semaphores there


@dataclass(frozen=True, slots=True)
class Plan:
    """What the fork server tells every warden."""

    root: Path
    limits: Limits
    layers: Layers
    readable: list[Path]
    listable: list[Path]


def build(plan: Plan, number: int) -> Cell:
    """The cell of the worker with that number; its folder is new and empty."""
    layers, limits = plan.layers, plan.limits
    first = layers.first_uid
    uid = None if first is None else first + number
    home = Path(tempfile.mkdtemp(prefix=home_prefix(number), dir=plan.root))
    if layers.namespaces:
        namespaces.own_mounts(home, uid, limits.file_bytes)
    elif uid is not None:
        os.chown(home, uid, uid)
    privileges.bound(reads_all=layers.reads_all)
    prepare(home)
    return Cell(
        home=home,
        warden=os.getpid(),
        limits=limits,
        address_space=address_space(os.getpid()) + limits.memory_bytes,
        processes=_process_limit(layers, limits),
        uid=uid,
        striker=0 if first is None else first + MOST_WORKERS,
        reads_all=layers.reads_all,
        owns_shared_memory=layers.namespaces,
        ruleset=_ruleset(plan, home),
        filter=_filter(layers),
    )


def home_prefix(number: int) -> str:
    """How the names of a worker's folders begin."""
    return f"{number}-"


def strike_of(cell: Cell, layers: Layers) -> Callable[[], None]:
    """The surest way to hit all processes of the cell at once."""
    if layers.namespaces:
        return processes.strike_namespace
    if cell.uid is not None:
        return partial(processes.strike_user, cell.uid, cell.striker)
    return processes.strike_descendants


def clear_shared_memory(cell: Cell, seconds: float) -> None:
    """Removes what a block left in the memory that processes share, where it could write there."""
    if cell.owns_shared_memory:
        empty_folder(SHARED_MEMORY, seconds)
    elif cell.uid is not None:
        for path in list(SHARED_MEMORY.iterdir()):
            with suppress(OSError):  # gone
                if path.lstat().st_uid == cell.uid:
                    _remove(path, seconds)


def _remove(path: Path, seconds: float) -> None:
    if path.is_dir() and not path.is_symlink():
        empty_folder(path, seconds)
        path.rmdir()
    else:
        path.unlink()


def _process_limit(layers: Layers, limits: Limits) -> int:
    alone = layers.first_uid is not None or layers.user_namespace
    return limits.processes + (0 if alone else processes.count_threads(os.getuid()))


def _ruleset(plan: Plan, home: Path) -> int | None:
    if not plan.layers.landlock:
        return None
    private = plan.layers.first_uid is not None or plan.layers.namespaces
    writable = [home, Path(os.devnull), *([SHARED_MEMORY] if private else [])]
    return landlock.ruleset(plan.readable, plan.listable, writable, plan.layers.landlock)


def _filter(layers: Layers) -> seccomp.Program | None:
    if not layers.seccomp:
        return None
    return seccomp.program(
        guard_signals=layers.guard_signals, guard_attributes=layers.guard_attributes
    )
