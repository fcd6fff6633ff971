"""A jail for one worker: its uid, folder, Landlock rules and seccomp filter, set up once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aimo_submit.sandbox.block.confine import Jail, prepare
from aimo_submit.sandbox.leases import MOST_WORKERS
from aimo_submit.sandbox.linux import landlock, namespaces, privileges, processes, seccomp
from aimo_submit.sandbox.linux.files import empty_folder
from aimo_submit.sandbox.linux.layers import Layers
from aimo_submit.sandbox.protocol import Limits
from aimo_submit.sandbox.server.usage import address_space

SHARED_MEMORY = Path("/dev/shm")  # multiprocessing keeps its semaphores there


@dataclass(frozen=True, slots=True)
class JailSpec:
    """What all jails of a sandbox have in common."""

    root: Path
    limits: Limits
    layers: Layers
    readable: list[Path]
    listable: list[Path]


def make_jail(spec: JailSpec, number: int) -> Jail:
    """The jail of the worker with that number; its folder is new and empty."""
    layers, limits = spec.layers, spec.limits
    first = layers.first_uid
    uid = None if first is None else first + number
    home = Path(tempfile.mkdtemp(prefix=home_prefix(number), dir=spec.root))
    if layers.namespaces:
        namespaces.own_mounts(home, uid, limits.file_bytes)
    elif uid is not None:
        os.chown(home, uid, uid)
    privileges.bound(reads_all=layers.reads_all)
    prepare(home)
    return Jail(
        home=home,
        warden=os.getpid(),
        limits=limits,
        address_space=address_space(os.getpid()) + limits.memory_bytes,
        processes=_process_limit(layers, limits),
        uid=uid,
        reads_all=layers.reads_all,
        owns_shared_memory=layers.namespaces,
        kill_all=_kill_all(layers, number),
        ruleset=_ruleset(spec, home),
        filter=_filter(layers),
    )


def home_prefix(number: int) -> str:
    """How the names of a worker's folders begin."""
    return f"{number}-"


def clear_shared_memory(jail: Jail, seconds: float) -> None:
    """Removes what a block left in the memory that processes share, where it could write there."""
    if jail.owns_shared_memory:
        empty_folder(SHARED_MEMORY, seconds)
    elif jail.uid is not None:
        for path in list(SHARED_MEMORY.iterdir()):
            with suppress(OSError):  # gone
                if path.lstat().st_uid == jail.uid:
                    _remove(path, seconds)


def _remove(path: Path, seconds: float) -> None:
    if path.is_dir() and not path.is_symlink():
        empty_folder(path, seconds)
        path.rmdir()
    else:
        path.unlink()


def _kill_all(layers: Layers, number: int) -> Callable[[], None]:
    if layers.namespaces:
        return processes.kill_namespace
    if layers.first_uid is not None:
        helper = layers.first_uid + MOST_WORKERS
        return partial(processes.kill_user, layers.first_uid + number, helper)
    return processes.kill_descendants


def _process_limit(layers: Layers, limits: Limits) -> int:
    alone = layers.first_uid is not None or layers.user_namespace
    return limits.processes + (0 if alone else processes.count_threads(os.getuid()))


def _ruleset(spec: JailSpec, home: Path) -> int | None:
    if not spec.layers.landlock:
        return None
    private = spec.layers.first_uid is not None or spec.layers.namespaces
    writable = [home, Path(os.devnull), *([SHARED_MEMORY] if private else [])]
    return landlock.ruleset(spec.readable, spec.listable, writable, spec.layers.landlock)


def _filter(layers: Layers) -> seccomp.Program | None:
    if not layers.seccomp:
        return None
    return seccomp.program(
        guard_signals=layers.guard_signals, guard_attributes=layers.guard_attributes
    )
