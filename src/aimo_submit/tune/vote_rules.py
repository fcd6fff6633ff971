"""Vote rules on random draws of a pool: the plain majority, and those with weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimo_submit.errors import UserError
from aimo_submit.pool.arrays import Pool
from aimo_submit.vote import BETA

# Of each rule that can be told from a pool's arrays: what it weighs, as `vote.RULES` has it.
SIGNALS: dict[str, tuple[str, ...]] = {
    "majority": (),
    "logprob": ("logprob",),
    "rounds": ("brevity",),
    "code": ("has_code",),
    "box": ("boxed",),
    "code+box": ("has_code", "boxed"),
}

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Draws:
    """R problems of a pool, each with all its samples in a random order; both as indices."""

    problem: Ints  # R
    order: Ints  # R x S; samples that are not there come last


def draw(pool: Pool, each: int, seed: int = 0) -> Draws:
    """`each` random orders of the samples of every problem, problem by problem."""
    problem = np.repeat(np.arange(len(pool.problems)), each)
    keys = np.random.default_rng(seed).random((len(problem), pool.answer.shape[1]))
    keys[~pool.present[problem]] = np.inf
    return Draws(problem, np.argsort(keys, axis=1))


def known(rule: str) -> str:
    """The rule's name; a `UserError` where a pool does not hold what the rule weighs."""
    if rule not in SIGNALS:
        raise UserError(
            f"vote {rule!r}: a pool does not hold what it weighs; it can tell "
            f"{', '.join(SIGNALS)}; `aimo-submit votes` compares every rule"
        )
    return rule


def scores(pool: Pool, draws: Draws, samples: int, depth: int, rule: str = "majority") -> Floats:
    """R: 1 where the rule's first answer to the draw's first N samples is right; ties share."""
    at = draws.problem[:, None], draws.order[:, :samples]
    voted = (pool.answered[at] >= 0) & (pool.answered[at] < depth)
    weight = _weights([_signal(pool, name)[at] for name in SIGNALS[known(rule)]], voted)
    row, answer = np.nonzero(voted)[0], pool.answer[at][voted]
    codes = 1 + int(pool.answer.max(initial=0))
    shape = len(voted), codes
    votes = np.bincount(row * codes + answer, weight[voted], shape[0] * codes).reshape(shape)
    leads = votes >= votes.max(axis=1, keepdims=True) - 1e-9
    return np.where(voted.any(axis=1) & leads[:, 0], 1 / leads.sum(axis=1), 0.0)


def _signal(pool: Pool, name: str) -> Floats:
    if name == "brevity":
        return -pool.answered.astype(float)  # every round before the answer ran a block
    return np.asarray(getattr(pool, name), dtype=float)


def _weights(signals: Sequence[Floats], voted: Bools) -> Floats:
    """R x N: exp(BETA * mean of the signals), each standardised over the samples that voted."""
    if not signals:
        return np.ones(voted.shape)
    scores = np.stack([_standardised(s, voted) for s in signals])
    return np.asarray(np.exp(BETA * scores.mean(axis=0)))


def _standardised(signal: Floats, voted: Bools) -> Floats:
    """Standardises each row as `vote` does those of one problem: whole arrays, much quicker."""
    used = voted & np.isfinite(signal)
    size = np.maximum(1, used.sum(axis=1, keepdims=True))
    held = np.where(used, signal, 0.0)
    off = np.where(used, signal - held.sum(axis=1, keepdims=True) / size, 0.0)
    spread = np.sqrt((off**2).sum(axis=1, keepdims=True) / size)
    return np.where(spread < 1e-9, 0.0, off / np.maximum(spread, 1e-9))
