"""What this machine is: GPUs, driver, CPUs, memory. Asks the system, so that it costs no torch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NVIDIA_SMI = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,compute_cap,driver_version",
    "--format=csv,noheader,nounits",
)
ASK_S = 20.0  # a driver that is broken can take for ever
# CUDA's compute capabilities: the oldest that vLLM takes, a T4's, the oldest with bfloat16.
OLDEST, TURING, AMPERE = (7, 0), (7, 5), (8, 0)
NO_PEER_TO_PEER = {"NCCL_P2P_DISABLE": "1"}  # for T4s, on which NCCL hangs in such copies
# Below the machine's own memory where a container has less.
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as the driver names it."""

    name: str
    memory_gib: float
    capability: tuple[int, int] | None  # (7, 5) for a T4; None where an old driver can't say

    def older_than(self, capability: tuple[int, int]) -> bool:
        """True where its capability is known and lower."""
        return self.capability is not None and self.capability < capability


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run has to live on. No GPUs and an empty driver where there is no nvidia-smi."""

    gpus: tuple[Gpu, ...]
    driver: str
    cpus: int  # that this process may use
    memory_gib: float  # 0: unknown

    def __str__(self) -> str:
        kinds = dict.fromkeys(gpu.name for gpu in self.gpus)
        counted = [f"{sum(g.name == kind for g in self.gpus)} x {kind}" for kind in kinds]
        gpus = f"{', '.join(counted)} (driver {self.driver})" if counted else "no GPU"
        return f"{gpus}, {self.cpus} CPUs, {self.memory_gib:.0f} GiB"


def detect(command: Sequence[str] = NVIDIA_SMI) -> Machine:
    """This machine; `command` is what lists its GPUs."""
    lines = [line.split(", ") for line in _answer(command).splitlines()]
    rows = [cells for cells in lines if len(cells) == 4]
    gpus = tuple(Gpu(name, _gib(memory), _version(cap)) for name, memory, cap, _ in rows)
    driver = rows[0][3].strip() if rows else ""
    return Machine(gpus, driver, len(os.sched_getaffinity(0)), _memory_gib())


def _answer(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout


def _gib(mib: str) -> float:
    with suppress(ValueError):
        return float(mib) / 1024
    return 0.0


def _version(text: str) -> tuple[int, int] | None:
    major, _, minor = text.strip().partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _memory_gib() -> float:
    known = []
    with suppress(OSError, ValueError):
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _CGROUPS:
        with suppress(OSError, ValueError):  # "max": no limit
            known.append(int(Path(file).read_text()))
    return min(known, default=0) / 2**30
