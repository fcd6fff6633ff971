"""Two settings on the same recorded problems: what if."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.toml import parse_value
from aimo_submit.tune.forecast import Forecast, Setting, Way, paired
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
    ways = (Way.EVERY, Way.BUDGET) if tuner.timed else (Way.EVERY,)
    made = []
    for way in ways:
        first, second = (tuner.forecaster.forecast(_setting(tuner, given, way)) for given in (a, b))
        made.append(Comparison(first, second))
    return made


def asked_of(setting: Setting) -> dict[str, Any]:
    """The setting as it would be asked for."""
    return {name: getattr(setting, name) for name in ASKED}


def _setting(tuner: Tuner, given: Mapping[str, Any], way: Way) -> Setting:
    """The setting asked for; what it does not name is as it was recorded."""
    depth = tuner.forecaster.pool.tokens.shape[2]
    samples, rounds = given.get("samples", tuner.recorded), given.get("rounds", depth)
    for name, value, most in (("samples", samples, tuner.recorded), ("rounds", rounds, depth)):
        if value > most:
            raise UserError(
                f"--what-if {name}={value}: the pool holds {most} {name}; ask for at most {most}, "
                "or record more with eval"
            )
    eps = given.get("early_stop")
    if way is Way.EVERY and eps is not None:
        way = Way.STOPPED
    return Setting(samples, rounds, way, eps, given.get("vote", "majority"))
