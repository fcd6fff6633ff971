"""What the kernel says of processes, from /proc: who is below whom, CPU time, memory, descriptors.

Read anew rather than with the kit's own functions: the soak checks those.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  # a second


def stat_of(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on; empty where the process is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return []


def tree(heads: Iterable[int]) -> set[int]:
    """The processes and all below them, the dead that nobody has reaped too."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (stat := stat_of(int(folder.name))):
            children.setdefault(int(stat[1]), []).append(int(folder.name))
    found: set[int] = set()
    todo = list(heads)
    while todo:
        found.add(pid := todo.pop())
        todo += children.get(pid, [])
    return found


def cpu_s(heads: Iterable[int]) -> float:
    """CPU seconds so far of the heads, all below them, and all children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = sum(int(t) for pid in tree(heads) for t in stat_of(pid)[11:15])
    return ended.ru_utime + ended.ru_stime + ticks / TICKS


def pss_mb(pids: Iterable[int]) -> float:
    """Memory of the processes in MB; what is shared is divided among those who share it."""
    total = 0
    for pid in pids:
        with suppress(OSError):  # it ended meanwhile
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024 / 1e6


def descriptors(pids: Iterable[int]) -> int:
    """How many descriptors the processes have open."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


def zombies(pids: Iterable[int]) -> int:
    """How many of the processes are dead and not reaped."""
    return sum(stat_of(pid)[:1] == [b"Z"] for pid in pids)
