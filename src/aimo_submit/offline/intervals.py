"""How sure a figure from a pool is: over problems, over samples, and between two settings."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aimo_submit.offline.accuracy import counts, maj
from aimo_submit.offline.pool import Pool

LEVEL = 0.9
BOOTSTRAPS = 2000
Z = 1.645  # half of LEVEL's interval, in standard errors

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def population(scores: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """The interval of the mean over problems (first axis), were they drawn anew: a bootstrap.

    Handed the differences of two settings, it is their paired interval.
    """
    problems, mean = len(scores), scores.mean(axis=0)
    drawn = (_weights(problems) @ scores.reshape(problems, -1)).reshape(-1, *mean.shape)
    widened = (problems / max(1, problems - 1)) ** 0.5  # a bootstrap's variance is short by that
    off = np.quantile(drawn - mean, [(1 - level) / 2, (1 + level) / 2], axis=0) * widened
    return mean + off[0], mean + off[1]


@lru_cache(maxsize=2)
def _weights(problems: int) -> Floats:
    """BOOTSTRAPS x P: how often each problem is drawn, as a share."""
    even = np.full(problems, 1 / problems)
    return np.random.default_rng(0).multinomial(problems, even, BOOTSTRAPS) / problems


def jackknife(pool: Pool, samples: int, depth: int) -> float:
    """The standard error of accuracy(N, M) on these very problems, were the samples drawn anew.

    Each sample is left out in turn; those that voted alike are worked out once. nan where N = S.
    """
    table = counts(pool, depth)
    if samples >= table[:, 0].min():
        return float("nan")
    kinds = np.column_stack([table[:, 0] - table[:, 1:].sum(axis=1), table[:, 1:]])
    problem, kind = np.nonzero(kinds)
    rows = table[problem]
    rows[:, 0] -= 1
    voted = kind > 0
    rows[voted, kind[voted]] -= 1
    without, weight = maj(rows, samples)[:, -1], kinds[problem, kind]
    size = table[:, 0]
    mean = np.bincount(problem, weight * without) / size
    spread = np.bincount(problem, weight * (without - mean[problem]) ** 2)
    return float(np.sqrt(((size - 1) / size * spread).sum()) / len(size))
