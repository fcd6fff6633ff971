"""Use of memory and disk, by a process, a folder or the whole machine, as the kernel tells it."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

MAX_ENTRIES = 20_000  # files and folders; more take too long to count and to remove
SCARCE = 0.02  # of the memory: below that, blocks go before anything else does
PAGE = os.sysconf("SC_PAGE_SIZE")


def disk_use(folder: Path, most_bytes: int) -> int:
    """Bytes on disk below the folder; more than `most_bytes` where there are too many entries."""
    total, entries, todo = 0, 0, [str(folder)]
    while todo:
        with suppress(OSError), os.scandir(todo.pop()) as found:
            for entry in found:
                entries += 1
                if entries > MAX_ENTRIES:
                    return most_bytes + 1
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def free_disk(folder: Path) -> int:
    """Bytes left on the folder's disk; 0 where there is no such place."""
    with suppress(OSError):
        state = os.statvfs(folder)
        return state.f_bavail * state.f_frsize
    return 0


def free_memory() -> int:
    """Bytes of memory that could be had; 0 where the kernel does not say."""
    return _memory().get("MemAvailable", 0)


def memory_is_scarce() -> bool:
    """True if so little memory is left that the kernel will soon end something."""
    memory = _memory()
    return memory.get("MemAvailable", 1) < SCARCE * memory.get("MemTotal", 0)


def _memory() -> dict[str, int]:
    with suppress(OSError, ValueError, IndexError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        return {name.rstrip(":"): int(size) * 1024 for name, size, *_ in lines}
    return {}


def memory_use(pids: Collection[int], inherited: int, most_bytes: int) -> int:
    """Bytes in memory that the processes hold beyond those each of them has inherited.

    Shared memory is counted once, as far as the kernel lets us know; that count is slow and is made
    only where the processes' own sizes add up to too much.
    """
    total = sum(max(0, resident(pid) - inherited) for pid in pids)
    if total <= most_bytes:
        return total
    exact = [proportional(pid) for pid in pids]
    return total if None in exact else sum(filter(None, exact))


def address_space(pid: int) -> int:
    """Bytes that the process has mapped."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * PAGE


def resident(pid: int) -> int:
    """Bytes of the process that are in memory; 0 once it is gone."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0


def proportional(pid: int) -> int | None:
    """The same, with shared memory divided among its users; None where that is hidden."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None
