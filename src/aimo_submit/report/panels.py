"""The plots of a report one by one: the numbers each shows of a pool, and its caption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aimo_submit.evaluate.summary import Z
from aimo_submit.pool.arrays import Pool
from aimo_submit.report import plots
from aimo_submit.report.plots import Curve, Point
from aimo_submit.report.rows import ProblemRow
from aimo_submit.tune import Candidate, Forecast, vote_rules
from aimo_submit.tune.accuracy import accuracies
from aimo_submit.tune.forecast import GAP_S, Forecaster
from aimo_submit.tune.profile import Profile
from aimo_submit.tune.tuner import Tuning
from aimo_submit.vote import INTERCEPT, SLOPE, lead

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 8  # of the margin
HEIGHT = 288  # cells of the vote map, whatever the number of samples
EPS = (0.0, 0.003, 0.02, 0.05, 0.15)  # thresholds at which early stopping is shown
SETS, ORDERS = 10, 8  # sets of problems simulated under the budget, each in so many orders

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: `draw` makes it; where that is None, `missing` says what would make it appear."""

    name: str  # of figures.TITLES
    caption: str = ""
    draw: Callable[[], Figure] | None = None
    missing: str = ""


def of_margin(rows: Sequence[ProblemRow]) -> Panel:
    """The lead of an answer against its being right."""
    voted = [row for row in rows if row.gold is not None and row.votes]
    if not voted:
        return Panel("margin", missing="needs votes on problems with gold answers")
    leads = np.array([lead(*row.first_two, row.samples) for row in voted])
    right = np.array([float(bool(row.right)) for row in voted])
    edges = np.linspace(0, 1, BINS + 1)
    place = np.minimum((leads * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    share = np.bincount(place, right, minlength=BINS) / np.maximum(counts, 1)
    x = np.linspace(0, 1, 50)
    stated = 1 / (1 + np.exp(-SLOPE * x - INTERCEPT))
    curve = Curve("confidence the kit states", x, stated, stated, stated)
    return Panel(
        "margin",
        "How often the first answer is right, by its lead over the second. Bars have 95% "
        "intervals, and the number of problems at their foot.",
        partial(plots.margins, edges, share, counts, curve),
    )


def of_accuracy(pool: Pool) -> Panel:
    """Accuracy over N, for each M."""
    most = int(pool.present.sum(axis=1).min())
    depths = list(range(1, pool.tokens.shape[2] + 1))
    table = accuracies(pool, depths)[:, :most]  # P x N x M
    mean = table.mean(axis=0)
    n, m = np.unravel_index(mean.argmax(), mean.shape)
    apart = table - table[:, n : n + 1, m : m + 1]
    error = Z * apart.std(axis=0, ddof=1) / np.sqrt(len(table)) if len(table) > 1 else 0 * mean
    x: Floats = np.arange(1, most + 1).astype(np.float64)
    low, high = mean - error, mean + error
    curves = [
        Curve(f"M = {rounds_of(depth)}", x, mean[:, k], low[:, k], high[:, k])
        for k, depth in enumerate(depths)
    ]
    return Panel(
        "accuracy",
        f"Expected share right of a majority of N samples. Bands: 90% of the paired difference to "
        f"the best point (N = {n + 1}, M = {m + 1}, dashed); where a band holds the dashed line, "
        "this pool cannot tell the two apart. What is less than half as good is left out.",
        partial(plots.accuracy_curves, curves, float(mean[n, m])),
    )


def rounds_of(depth: int) -> str:
    """So many rounds, in words."""
    return f"{depth} round{'s' * (depth > 1)}"


def of_votes(pool: Pool) -> Panel:
    """Every sample of every problem."""
    kinds = np.stack([_kinds(pool, p) for p in range(len(pool.problems))])  # P x HEIGHT
    share = ((pool.answer == 0) & pool.present).sum(axis=1) / pool.present.sum(axis=1)
    order = np.lexsort(((kinds == 1).sum(axis=1), -share))
    return Panel(
        "votes",
        "A column a problem, a cell a sample. Where the best wrong answer is taller than the "
        "right one, the vote is lost.",
        partial(plots.vote_map, share[order], np.ascontiguousarray(kinds[order].T)),
    )


def _kinds(pool: Pool, p: int) -> NDArray[np.int8]:
    """0 right, 1 the best wrong answer, 2 another, 3 none: HEIGHT of them, in parts as sampled."""
    codes = pool.answer[p][pool.present[p]]
    wrong = np.bincount(codes[codes > 0], minlength=2)
    best = int(wrong.argmax()) if wrong.any() else 1
    kinds = np.sort(np.select([codes < 0, codes == 0, codes == best], [3, 0, 1], 2))
    drawn: NDArray[np.int8] = kinds[np.arange(HEIGHT) * len(kinds) // HEIGHT].astype(np.int8)
    return drawn


def of_spread(pool: Pool, problems: int, samples: int, depth: int, order: float | None) -> Panel:
    """The sources of a score's deviation: `order` is what the order of problems adds."""
    n = min(samples, int(pool.present.sum(axis=1).min()) // 2)
    if n < 1 or len(pool.problems) < 2:
        missing = "needs 2 problems with 2 samples each: votes of half the samples are compared"
        return Panel("spread", missing=missing)
    expected = accuracies(pool, [depth])[:, n - 1, 0]
    parts = {
        "which problems": float(np.sqrt(problems * expected.var(ddof=1))),
        "which samples (seed)": float(np.sqrt(problems * (expected * (1 - expected)).mean())),
        "their order": order,
    }
    return Panel(
        "spread",
        f"Of {problems} problems with N = {n}, M = {depth}: how far the number right moves with "
        "other problems of this kind, with another seed on the same ones, and with another order "
        "of them under the time limit.",
        partial(plots.spread, parts, problems),
    )


# --- on the machine that is planned for


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


def of_pareto(tuning: Tuning) -> Panel:
    """Accuracy over time of every N and M, with the Pareto front and what is recommended."""
    planned = tuning.planned
    points = [
        Point("", float(grid.time_q95_s[at]) / 3600, float(accuracy), front=False)
        for grid in (tuning.every, tuning.stopped)
        for at, accuracy in np.ndenumerate(grid.accuracy)
    ]
    points += [_point(forecast, front=True) for forecast in tuning.pareto]
    if tuning.choice is not None:
        points.append(_point(tuning.choice.recommended, chosen=True))
    return Panel(
        "pareto",
        f"{planned.problems} problems, every N and M, with all samples and with an early stop. "
        "The line joins what nothing quicker equals; the ring is recommended, as simulated under "
        "the budget.",
        partial(plots.pareto, points, planned.limit_s / 3600, planned.plan_s / 3600),
    )


def _point(forecast: Forecast, *, front: bool = False, chosen: bool = False) -> Point:
    name = f"N = {forecast.candidate.samples}, M = {forecast.candidate.rounds}"
    return Point(name, forecast.time_q95_s / 3600, forecast.accuracy, front, chosen)


def of_flips(forecaster: Forecaster, samples: int, depth: int) -> Panel:
    """The answers that early stops change, for several thresholds; paired, on the same draws."""
    plain = vote_rules.scores(forecaster.pool, forecaster.draws, samples, depth)
    plain_s = forecaster.simulate_draws(samples, depth)[0].sum()
    seconds, scores = np.moveaxis(
        np.array([forecaster.simulate_draws(samples, depth, eps) for eps in EPS]), 1, 0
    )
    gains = scores - plain
    return Panel(
        "flips",
        f"Votes of N = {samples} ended when the leader is so sure to stay first, half of the "
        f"samples at once; time saved against all {samples} at once to their end, on "
        f"{_name(forecaster.profile)}.",
        partial(
            plots.flips,
            ["none" if eps == 0 else f"{eps:g}" for eps in EPS],
            -gains.clip(max=0).mean(axis=1),
            gains.clip(min=0).mean(axis=1),
            1 - seconds.sum(axis=1) / plain_s,
        ),
    )


@dataclass(frozen=True, slots=True)
class Runs:
    """Whole runs under the budget: sets x orders (x problems)."""

    hours: Floats  # after each problem
    right: Floats  # problems

    @property
    def over_orders(self) -> float:
        """The standard deviation of the problems right from one order of a set to another."""
        return float(np.sqrt(self.right.var(axis=1, ddof=1).mean()))


def simulated_runs(forecaster: Forecaster, candidate: Candidate) -> Runs:
    """Random sets in random orders, with the same samples in each order of a set."""
    seconds, right = [], []
    for chosen in _orders(forecaster):
        found = forecaster.simulate_run(chosen, candidate)
        seconds.append(np.cumsum([each.effort.seconds + GAP_S for each in found]) - GAP_S)
        right.append(float(sum(each.answer == 0 for each in found)))
    hours = (np.array(seconds) + forecaster.profile.load_s) / 3600
    shape = SETS, ORDERS
    return Runs(hours.reshape(*shape, -1), np.reshape(right, shape))


def _orders(forecaster: Forecaster) -> Iterator[Sequence[int]]:
    """Rows of the forecaster's draws: each set in all its orders, set by set."""
    rng = np.random.default_rng(0)
    size, problems = len(forecaster.pool.problems), forecaster.planned.problems
    each = len(forecaster.draws.problem) // size
    for _ in range(SETS):
        chosen = rng.choice(size, problems, replace=size < problems)
        rows = chosen * each + rng.integers(each, size=problems)
        for _ in range(ORDERS):
            yield rng.permutation(rows).tolist()


def of_fan(forecaster: Forecaster, candidate: Candidate, runs: Runs) -> Panel:
    """The time used problem by problem."""
    hours, planned = runs.hours.reshape(-1, runs.hours.shape[-1]), forecaster.planned
    return Panel(
        "time",
        f"{len(hours)} runs of {planned.problems} random problems in random orders, N = "
        f"{candidate.samples}, M = {candidate.rounds}, under the budget, on "
        f"{_name(forecaster.profile)}.",
        partial(plots.time_fan, hours, planned.limit_s / 3600, planned.plan_s / 3600),
    )


def _name(profile: Profile) -> str:
    return f"{profile.machine} (estimated)" if profile.estimated else profile.machine
