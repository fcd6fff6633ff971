"""How sure a mean over problems is, were they drawn anew."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.9
BOOTSTRAPS = 2000
Z = 1.645  # half of LEVEL's interval, in standard errors

Floats = NDArray[np.float64]


def population(scores: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """The interval of the mean over problems (first axis), were they drawn anew: a bootstrap.

    Handed the differences of two settings, it is their paired interval. It goes no further than
    what was seen: of a few problems it may be all of that.
    """
    problems, mean = len(scores), scores.mean(axis=0)
    drawn = (_weights(problems) @ scores.reshape(problems, -1)).reshape(-1, *mean.shape)
    widened = (problems / max(1, problems - 1)) ** 0.5  # a bootstrap's variance is short by that
    off = np.quantile(drawn - mean, [(1 - level) / 2, (1 + level) / 2], axis=0) * widened
    least, most = scores.min(axis=0), scores.max(axis=0)
    return np.maximum(mean + off[0], least), np.minimum(mean + off[1], most)


def interval(scores: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The same of one score a problem."""
    low, high = population(scores, level)
    return float(low), float(high)


@lru_cache(maxsize=2)
def _weights(problems: int) -> Floats:
    """BOOTSTRAPS x P: how often each problem is drawn, as a share."""
    even = np.full(problems, 1 / problems)
    return np.random.default_rng(0).multinomial(problems, even, BOOTSTRAPS) / problems
