"""The settings of a run, checked when they are made."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError
from aimo_submit.formats.families import format_named
from aimo_submit.toml import meant, named, suits, toml_value
from aimo_submit.vote import RULES

ENGINES = ("transformers", "vllm", "openai")
ON_FAILURE = ("prune", "restart")

# name -> (lowest, highest), both included
_RANGES = {
    "samples": (1, 4096),
    "rounds": (1, 64),
    "temperature": (0.0, 10.0),
    "top_p": (1e-6, 1.0),
    "max_new_tokens": (1, 1_000_000),
    "code_timeout_s": (0.1, 3600.0),
    "problem_timeout_s": (1.0, 86_400.0),
    "total_time_s": (1.0, 864_000.0),
    "problems": (1, 100_000),
    "early_stop": (0.0, 0.5),
    "sandbox_workers": (1, 511),
    "picks": (0, 256),
    "seed": (0, 2**31 - 1),
}


def _choices() -> dict[str, tuple[str, ...]]:
    return {
        "engine": ENGINES,
        "on_failure": ON_FAILURE,
        "vote": tuple(RULES),
    }


@dataclass(frozen=True, slots=True)
class Config:
    """One run's settings. The defaults are those of the AIMO-1 winner."""

    model: str = "tiny-tir"  # a card's name in models/, or the path of a card
    edition: str = "aimo-1"  # a competition's name, or the path of its TOML file
    engine: str = "transformers"
    formats: list[str] = field(default_factory=list)  # of the samples in turn; none: the card's
    samples: int = 48  # N
    rounds: int = 4  # M
    temperature: float = 0.8
    top_p: float = 1.0
    max_new_tokens: int = 2048  # in one round
    code_timeout_s: float = 5.0
    problem_timeout_s: float | None = None
    total_time_s: float | None = None  # of the whole run, loading included; None: no limit
    problems: int | None = None  # in that time; None: about as many as the edition has
    early_stop: float | None = None  # accepted chance of a wrong winner; 0.003 saves a third
    sandbox_workers: int | None = None  # blocks of code at once; None: one per CPU
    on_failure: str = "prune"  # or "restart": a sample that can't go on begins anew
    vote: str = "majority"
    picks: int = 0  # GenSelect, where the vote is undecided: judgements asked for; 0: none
    seed: int = 0
    engine_options: dict[str, Any] = field(default_factory=dict)  # handed to the engine

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(Config).items():
            value = getattr(self, name)
            if not suits(value, hint):
                raise UserError(f"{name} = {value!r}: must be of type {named(hint)}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise UserError(f"{name} = {value}: must be between {low} and {high}")
        competition_named(self.edition)
        for name in self.formats:
            format_named(name)
        for name, allowed in _choices().items():
            if getattr(self, name) not in allowed:
                given = getattr(self, name)
                raise UserError(f"{name} = {given!r}: must be one of {', '.join(allowed)}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Config:
        """Makes the configuration with these values; raises UserError for an unknown name."""
        known = [f.name for f in dataclasses.fields(cls)]
        for name in given:
            if name not in known:
                raise UserError(f"unknown setting {name!r}: {meant(name, known)}")
        return cls(**given)

    def to_toml(self) -> str:
        """Writes the settings as TOML, which `read_toml` reads back."""
        pairs = [(f.name, getattr(self, f.name)) for f in dataclasses.fields(self)]
        lines = [f"{name} = {toml_value(v)}" for name, v in pairs if v not in (None, {}, [])]
        return "\n".join(lines) + "\n"
