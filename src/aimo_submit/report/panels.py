"""The eight plots of a report: what each shows of a pool, or what it would take to show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aimo_submit.evaluate.bootstrap import Z
from aimo_submit.pool.arrays import Pool
from aimo_submit.report import plots
from aimo_submit.report.plots import Curve
from aimo_submit.report.rows import Row
from aimo_submit.tune.accuracy import accuracies
from aimo_submit.vote import INTERCEPT, SLOPE, lead

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

BINS = 8  # of the margin
HEIGHT = 288  # cells of the vote map, whatever the number of samples


# name of the PNG -> title, in the order of the page
TITLES = {
    "accuracy": "Accuracy over samples and rounds",
    "pareto": "Accuracy for the time it takes",
    "votes": "Vote map",
    "margin": "Margin and correctness",
    "time": "Time used, problem by problem",
    "flips": "Answers changed by stopping early",
    "spread": "Where the score's spread comes from",
    "throughput": "Tokens a second",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: `draw` makes it; where that is None, `missing` says what would make it appear."""

    name: str  # of TITLES
    caption: str = ""
    draw: Callable[[], Figure] | None = None
    missing: str = ""


def of_margin(rows: Sequence[Row]) -> Panel:
    """How the lead of an answer goes with its being right."""
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
    x: NDArray[np.float64] = np.arange(1, most + 1).astype(np.float64)
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
    """Where a score's deviation comes from: `order` is what the order of problems adds."""
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
