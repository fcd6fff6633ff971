"""What a run on Kaggle has to go on: settings, mounts and a machine, taken together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.cards import Card, all_cards, config_for, load_card
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.kaggle.runtime.checks import Fault, model_faults
from aimo_submit.kaggle.runtime.mounts import Mounts
from aimo_submit.machines import recognise
from aimo_submit.machines.detect import Machine
from aimo_submit.toml import parse_toml


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
