"""Landlock: which files a process may open, set by itself and kept by all it starts.

See landlock(7). Names and sizes of files stay visible; nothing beyond the rules can be opened,
changed or executed. The kernel must have it enabled (Linux 5.13 and later; ABI 4 is 6.7).
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from aimo_submit.sandbox import linux

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_CHAR, MAKE_BLOCK, REFER, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 13, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
TCP_ABI, SCOPE_ABI = 4, 6  # the first to close TCP; abstract unix sockets and signals
TCP, SCOPES = 0b11, 0b11

KIT = Path(__file__).resolve().parents[2]  # the package: hidden from all blocks
KIT_FILES = f"{KIT.name}*"  # the package and what pip notes about it
SYSTEM = (
    *(f"/usr/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libexec", "share")),
    *(f"/usr/local/{name}" for name in ("bin", "lib", "lib64", "share")),
    *("/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types"),
    *("/dev/random", "/dev/urandom", "/dev/zero", "/dev/null"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu"),
)
OF_A_PREFIX = ("bin", "lib", "lib64", "share/zoneinfo", "pyvenv.cfg")
PACKAGES = ("lib*/python*/site-packages", "lib*/python*/dist-packages")


def version() -> int:
    """Returns the kernel's Landlock ABI; 0 where there is none."""
    try:
        return linux.syscall(CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def ruleset(
    readable: Iterable[Path], listable: Iterable[Path], writable: Iterable[Path], version: int
) -> int:
    """Makes the rules and returns their descriptor; a path that does not exist is left out.

    All three hold for what lies below as well. Rules stick to the files that the paths lead to
    now, so a folder that is mounted upon must be so before.
    """
    handled = REFER - 1
    for since, access in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        handled |= access if version >= since else 0
    described = struct.pack("=QQQ", handled, TCP, SCOPES)
    size = 24 if version >= SCOPE_ABI else 16 if version >= TCP_ABI else 8
    rules = linux.syscall(CREATE_RULESET, described, size, 0)
    everything = handled & ~MAKE_CHAR & ~MAKE_BLOCK
    for paths, access in ((readable, READ), (listable, READ_DIR), (writable, everything)):
        for path in paths:
            _allow(rules, path, access)
    return rules


def restrict(descriptor: int) -> None:
    """Holds this process and its children to the rules; needs `no_new_privileges`."""
    linux.syscall(RESTRICT_SELF, descriptor, 0)


def interpreter_paths() -> tuple[list[Path], list[Path]]:
    """Returns the paths that this interpreter and its libraries need: readable, and listable.

    Never the kit, wherever it is installed: it holds answers. A folder on the way to it is only
    listable, and each of its entries readable in its place. Folders of `sys.path` into which
    nothing was installed and which hold the kit are somebody's project, and left out.
    """
    hidden = set(_copies_of_the_kit())
    leading = {parent for path in hidden for parent in path.parents}
    readable: list[Path] = []
    listable: list[Path] = []
    own = (Path(prefix, name) for prefix in (sys.prefix, sys.base_prefix) for name in OF_A_PREFIX)
    todo = {path.resolve(): None for path in (*map(Path, SYSTEM), *own, *library_folders())}
    while todo:
        path, _ = todo.popitem()
        if path in leading:
            listable.append(path)
            todo.update(dict.fromkeys(_entries(path)))
        elif hidden.isdisjoint((path, *path.parents)) and path.exists():
            readable.append(path)
    return readable, listable


def library_folders() -> list[Path]:
    """The entries of `sys.path` that hold libraries."""
    leading = {KIT, *KIT.parents}
    found = (Path(name).resolve() for name in sys.path if name)
    return [
        path
        for path in found
        if path.exists() and (path not in leading or any(path.glob("*.dist-info")))
    ]


def _allow(rules: int, path: Path, access: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            access &= OF_A_FILE
        if access:
            linux.syscall(ADD_RULE, rules, 1, struct.pack("=Qi", access, target), 0)
    finally:
        os.close(target)


def _copies_of_the_kit() -> Iterator[Path]:
    folders = {KIT.parent, *library_folders()}
    for prefix in (sys.prefix, sys.base_prefix, "/usr", "/usr/local"):
        folders.update(found for name in PACKAGES for found in Path(prefix).glob(name))
    for folder in folders:
        yield from (path.resolve() for path in folder.glob(KIT_FILES))
    yield KIT


def _entries(folder: Path) -> list[Path]:
    """Lists the folder; a link is left out, as it would be below a readable folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if not entry.is_symlink()]
    return []
