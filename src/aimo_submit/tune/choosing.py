"""Selection: drops under-sampled problems, finds the Pareto front, takes what is good enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aimo_submit.evaluate.summary import interval, population
from aimo_submit.pool.arrays import Pool
from aimo_submit.tune import Forecast, paired

ENOUGH = 0.02  # 1 problem of 50: surely no further behind the best is as good as it
SHORTLIST = 4  # candidates simulated under the budget, besides the one that the grids recommend


@dataclass(frozen=True, slots=True)
class LengthRatio:
    """The length of wrong samples over that of right ones of the same problem; 90%."""

    ratio: float
    interval: tuple[float, float]


def usable(pool: Pool) -> Pool:
    """The pool without problems that have less than half of the samples that others have."""
    sizes = pool.present.sum(axis=1)
    kept = np.nonzero(2 * sizes >= sizes.max())[0]
    parts: dict[str, Any] = {
        f.name: getattr(pool, f.name) for f in dataclasses.fields(pool) if f.name != "settings"
    }
    for name, value in parts.items():
        whole = isinstance(value, np.ndarray)
        parts[name] = value[kept] if whole else tuple(value[k] for k in kept)
    return dataclasses.replace(pool, **parts)


def pareto_front(points: Sequence[Forecast]) -> tuple[Forecast, ...]:
    """The points that are more accurate than all that take less time, by time."""
    made: list[Forecast] = []
    for point in sorted(points, key=lambda p: (p.time_q95_s, -p.accuracy)):
        if not made or point.accuracy > made[-1].accuracy + 1e-12:
            made.append(point)
    return tuple(made)


def shortlist(pareto: Sequence[Forecast], base: Forecast | None) -> list[tuple[int, int]]:
    """N and M to simulate under the budget: the base, and what on the front takes longer."""
    start = [] if base is None else [(base.candidate.samples, base.candidate.rounds)]
    least_s = 0.0 if base is None else base.time_q95_s
    longer = [(o.candidate.samples, o.candidate.rounds) for o in pareto if o.time_q95_s > least_s]
    distinct = [pair for pair in dict.fromkeys(longer) if pair not in start]
    picked = np.linspace(len(distinct) - 1, 0, min(SHORTLIST, len(distinct))).round()
    return start + [distinct[int(k)] for k in sorted(picked)]


def within_time(forecasts: Sequence[Forecast], plan_s: float) -> list[Forecast]:
    """Those that end within the seconds in 95 of 100 runs."""
    return [o for o in forecasts if o.time_q95_s <= plan_s]


def most_accurate(forecasts: Sequence[Forecast]) -> Forecast:
    """The one with the highest accuracy."""
    return max(forecasts, key=lambda o: o.accuracy)


def choose(forecasts: Sequence[Forecast], plan_s: float) -> Forecast | None:
    """The quickest that fits and is surely within ENOUGH of the most accurate; None: none fits."""
    within = sorted(within_time(forecasts, plan_s), key=lambda o: o.time_q95_s)
    if not within:
        return None
    best = most_accurate(within)
    _, behind = population(best.scores[:, None] - np.stack([o.scores for o in within], axis=1))
    return within[int(np.argmax(behind <= ENOUGH))]


def clearly_better(first: Forecast, second: Forecast) -> bool:
    """True if the second is surely more accurate: the whole paired interval lies above 0."""
    return paired(first, second)[1] > 0


def length_ratio(pool: Pool) -> LengthRatio | None:
    """The ratio over problems; None where no problem has both, or nothing has a length."""
    tokens = pool.tokens.sum(axis=2)
    log = np.log(np.maximum(tokens, 1))
    voted = pool.present & (pool.answered >= 0) & (tokens > 0)
    right, wrong = voted & (pool.answer == 0), voted & (pool.answer > 0)
    both = right.any(axis=1) & wrong.any(axis=1)
    if not both.any():
        return None
    means = [(log * part).sum(axis=1)[both] / part.sum(axis=1)[both] for part in (right, wrong)]
    off = means[1] - means[0]
    low, high = map(math.exp, interval(off))
    return LengthRatio(math.exp(off.mean()), (low, high))
