"""The plots of a report that need a profile: hours on the machine that is planned for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from aimo_submit.report import plots
from aimo_submit.report.panels import Panel
from aimo_submit.report.plots import Curve
from aimo_submit.tune import vote_rules
from aimo_submit.tune.forecast import GAP_S, Candidate, Forecaster
from aimo_submit.tune.profile import Profile
from aimo_submit.tune.simulation import Played

EPS = (0.0, 0.003, 0.02, 0.05, 0.15)  # thresholds at which early stopping is shown
SETS, ORDERS = 10, 8  # sets of problems played under the budget, each in so many orders

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Runs:
    """Whole runs under the budget: sets x orders (x problems)."""

    hours: Floats  # after each problem
    right: Floats  # problems

    @property
    def over_orders(self) -> float:
        """The standard deviation of the problems right from one order of a set to another."""
        return float(np.sqrt(self.right.var(axis=1, ddof=1).mean()))


def played(forecaster: Forecaster, candidate: Candidate) -> Runs:
    """Random sets in random orders, with the same samples in each order of a set."""
    hours, right = [], []
    for chosen in _orders(forecaster):
        found = forecaster.run(chosen, candidate)
        hours.append(_hours(found, forecaster.profile.load_s))
        right.append(sum(p.score for p in found))
    shape = SETS, ORDERS
    return Runs(np.reshape(hours, (*shape, -1)), np.reshape(right, shape))


def of_fan(forecaster: Forecaster, candidate: Candidate, runs: Runs, usable_s: float) -> Panel:
    """The time used problem by problem."""
    hours = runs.hours.reshape(-1, runs.hours.shape[-1])
    return Panel(
        "time",
        f"{len(hours)} runs of {forecaster.planned.problems} random problems in random orders, N = "
        f"{candidate.samples}, M = {candidate.rounds}, under the budget, on "
        f"{_name(forecaster.profile)}.",
        partial(plots.time_fan, hours, forecaster.planned.limit_s / 3600, usable_s / 3600),
    )


def of_flips(forecaster: Forecaster, samples: int, depth: int) -> Panel:
    """What stopping early changes, for several thresholds; paired, on the same draws."""
    plain = vote_rules.scores(forecaster.pool, forecaster.draws, samples, depth)
    plain_s = sum(p.effort.seconds for p in forecaster.played(samples, depth))
    stopped = [forecaster.played(samples, depth, eps) for eps in EPS]
    gains = [np.array([p.score for p in found]) - plain for found in stopped]
    saved = [1 - sum(p.effort.seconds for p in found) / plain_s for found in stopped]
    return Panel(
        "flips",
        f"Votes of N = {samples} ended when the leader is so sure to stay first, half of the "
        f"samples at once; time saved against all {samples} at once to their end, on "
        f"{_name(forecaster.profile)}.",
        partial(
            plots.flips,
            ["none" if eps == 0 else f"{eps:g}" for eps in EPS],
            np.array([-gain.clip(max=0).mean() for gain in gains]),
            np.array([gain.clip(min=0).mean() for gain in gains]),
            np.array(saved),
        ),
    )


def of_throughput(profile: Profile) -> Panel:
    """Tokens a second over the sequences running."""
    running, step_s = (np.array(column, float) for column in zip(*profile.steps, strict=True))
    pacing = profile.pacing
    x = np.geomspace(running[0], running[-1], 100)
    y = x / (pacing.s0 + pacing.s1 * x)
    words = f"fit: {1e3 * pacing.s0:.3g} + {1e3 * pacing.s1:.3g} x running ms a step"
    fit = Curve(words, x, y, y, y)
    points = "estimated from data sheets" if profile.estimated else f"measured {profile.date}"
    return Panel(
        "throughput",
        f"{profile.model} on {_name(profile)}; the KV cache holds {profile.kv_tokens:,} tokens.",
        partial(plots.throughput, running, running / step_s, fit, points),
    )


def _orders(forecaster: Forecaster) -> Iterator[Sequence[int]]:
    """Rows of the forecaster's draws: each set in all its orders, set by set."""
    rng = np.random.default_rng(0)
    size = len(forecaster.pool.problems)
    each = len(forecaster.draws.problem) // size
    for _ in range(SETS):
        chosen = rng.choice(
            size, forecaster.planned.problems, replace=size < forecaster.planned.problems
        )
        rows = chosen * each + rng.integers(each, size=forecaster.planned.problems)
        for _ in range(ORDERS):
            yield rng.permutation(rows).tolist()


def _hours(found: Sequence[Played], load_s: float) -> Floats:
    spent = np.cumsum([played.effort.seconds + GAP_S for played in found]) + load_s - GAP_S
    return np.asarray(spent / 3600)


def _name(profile: Profile) -> str:
    return f"{profile.machine} (estimated)" if profile.estimated else profile.machine
