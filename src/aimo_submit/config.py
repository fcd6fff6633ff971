"""The settings of a run, checked when they are made."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError
from aimo_submit.formats.families import format_named
from aimo_submit.toml import meant, named, suits, toml_value
from aimo_submit.vote import RULES

ENGINES = ("transformers", "vllm", "openai")
ON_FAILURE = ("prune", "restart")

# The part that a setting plays in a pool of recorded samples:
#   same   every sample depends on it, so all journals of a pool have it in common
#   told   journals may differ in it; it is told of a pool, and tuned settings take it over
#   cuts   it ends samples early; a pool has every sample to its end and is recorded without
#   aside  it does nothing to samples; a pool is recorded without
Part = Literal["same", "told", "cuts", "aside"]


def _setting(
    default: Any,
    *,
    between: tuple[float, float] | None = None,
    among: Sequence[str] | None = None,
    pool: Part | None = None,
    recorded: bool = True,
) -> Any:
    """A field with its lowest and highest value, or the words it may be; both ends included."""
    known = {"between": between, "among": among, "pool": pool, "recorded": recorded}
    if callable(default):
        return field(default_factory=default, metadata=known)
    return field(default=default, metadata=known)


@dataclass(frozen=True, slots=True)
class Config:
    """One run's settings. The defaults are those of the AIMO-1 winner."""

    model: str = _setting("tiny-tir", pool="same")  # a card's name in models/, or a card's path
    edition: str = _setting("aimo-1", pool="same")  # a competition's name, or its file's path
    engine: str = _setting("transformers", among=ENGINES, pool="told")
    formats: list[str] = _setting(list, pool="same")  # of the samples in turn; none: the card's
    samples: int = _setting(48, between=(1, 4096))  # N
    rounds: int = _setting(4, between=(1, 64), pool="same")  # M
    temperature: float = _setting(0.8, between=(0.0, 10.0), pool="same")
    top_p: float = _setting(1.0, between=(1e-6, 1.0), pool="same")
    max_new_tokens: int = _setting(2048, between=(1, 1_000_000), pool="same")  # in one round
    code_timeout_s: float = _setting(5.0, between=(0.1, 3600.0), pool="same")
    problem_timeout_s: float | None = _setting(None, between=(1.0, 86_400.0), pool="cuts")
    # The whole run's, loading included; None: no limit.
    total_time_s: float | None = _setting(None, between=(1.0, 864_000.0), pool="cuts")
    # Problems in that time; None: about as many as the edition has.
    problems: int | None = _setting(None, between=(1, 100_000), pool="aside")
    # Accepted chance of a wrong winner; 0.003 saves a third.
    early_stop: float | None = _setting(None, between=(0.0, 0.5), pool="cuts")
    # Blocks of code at once; None: one per CPU.
    sandbox_workers: int | None = _setting(None, between=(1, 511), recorded=False)
    # "restart": a sample that can't go on begins anew.
    on_failure: str = _setting("prune", among=ON_FAILURE, pool="same")
    vote: str = _setting("majority", among=tuple(RULES))
    # GenSelect, where the vote is undecided: judgements asked for; 0: none.
    picks: int = _setting(0, between=(0, 256), pool="aside")
    seed: int = _setting(0, between=(0, 2**31 - 1), recorded=False)  # stands at each entry
    engine_options: dict[str, Any] = _setting(dict)  # handed to the engine

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(Config)
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if not suits(value, hints[f.name]):
                raise UserError(f"{f.name} = {value!r}: must be of type {named(hints[f.name])}")
            if value is not None:
                _check(f.name, value, f.metadata)
        competition_named(self.edition)
        for name in self.formats:
            format_named(name)

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


def _check(name: str, value: Any, known: Mapping[str, Any]) -> None:
    between, among = known["between"], known["among"]
    if among and value not in among:
        raise UserError(f"{name} = {value!r}: must be one of {', '.join(among)}")
    if between and not (math.isfinite(value) and between[0] <= value <= between[1]):
        raise UserError(f"{name} = {value}: must be between {between[0]} and {between[1]}")


def settings_that(*parts: Part) -> tuple[str, ...]:
    """Returns the names of the settings that play one of these parts in a pool."""
    return tuple(f.name for f in dataclasses.fields(Config) if f.metadata["pool"] in parts)


def settings_of(config: Config) -> dict[str, Any]:
    """Returns the settings that decide what a run samples, as its journal records them."""
    known = {f.name for f in dataclasses.fields(config) if f.metadata["recorded"]}
    return {name: v for name, v in dataclasses.asdict(config).items() if name in known}
