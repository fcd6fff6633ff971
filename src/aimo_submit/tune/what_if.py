"""Two settings on the same recorded problems: what if."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.toml import parse_value
from aimo_submit.tune.forecast import Candidate, Forecast, StopRule, paired
from aimo_submit.tune.tuner import Tuner
from aimo_submit.tune.vote_rules import known

ASKED = ("samples", "rounds", "early_stop", "vote")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two settings' forecasts, and by how much the second is more accurate; 90%, paired."""

    first: Forecast
    second: Forecast

    @property
    def gain(self) -> tuple[float, float, float]:
        """The difference and its interval."""
        return paired(self.first, self.second)


def parsed(text: str) -> dict[str, Any]:
    """Names and values of `samples=16,rounds=2`."""
    given = dict(parse_value(part) for part in text.split(","))
    for name in given:
        if name not in ASKED:
            can = f"{', '.join(ASKED[:-1])} and {ASKED[-1]} can"
            raise UserError(f"--what-if {text}: {name!r} cannot be told from a pool; {can}")
    Config.of(given)
    known(given.get("vote", "majority"))
    return given


def compare(tuner: Tuner, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Comparison]:
    """The two with the samples as they were recorded and, on a known machine, under the budget."""
    stops = (StopRule.EVERY, StopRule.BUDGET) if tuner.timed else (StopRule.EVERY,)
    made = []
    for stop in stops:
        first, second = (
            tuner.forecaster.forecast(_candidate(tuner, given, stop)) for given in (a, b)
        )
        made.append(Comparison(first, second))
    return made


def asked_of(candidate: Candidate) -> dict[str, Any]:
    """The candidate as it would be asked for."""
    return {name: getattr(candidate, name) for name in ASKED}


def _candidate(tuner: Tuner, given: Mapping[str, Any], stop: StopRule) -> Candidate:
    """The candidate asked for; what it does not name is as it was recorded."""
    depth = tuner.forecaster.pool.tokens.shape[2]
    samples, rounds = given.get("samples", tuner.recorded), given.get("rounds", depth)
    for name, value, most in (("samples", samples, tuner.recorded), ("rounds", rounds, depth)):
        if value > most:
            raise UserError(
                f"--what-if {name}={value}: the pool holds {most} {name}; ask for at most {most}, "
                "or record more with eval"
            )
    eps = given.get("early_stop")
    if stop is StopRule.EVERY and eps is not None:
        stop = StopRule.STOPPED
    return Candidate(samples, rounds, stop, eps, given.get("vote", "majority"))
