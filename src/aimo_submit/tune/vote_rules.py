"""Vote rules on random draws of a pool: the plain majority, and those with weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimo_submit.errors import UserError
from aimo_submit.evaluate.summary import interval
from aimo_submit.pool.arrays import Pool
from aimo_submit.pool.ballots import Ballot
from aimo_submit.records import Trace
from aimo_submit.vote import BETA, INTERCEPT, RULES, SLOPE, Rule, ended, lead, logistic, majority

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


RULES_LEVEL = 0.95  # of the intervals
BINS = 10  # of the calibration error


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


@dataclass(frozen=True, slots=True)
class Score:
    """A rule's accuracy on ballots. Intervals are 95%, over problems."""

    rule: str
    ballots: int
    accuracy: float
    interval: tuple[float, float]
    gain: float  # over the majority
    gain_interval: tuple[float, float]
    won: int  # ballots right here and wrong by majority
    lost: int


def score_rules(ballots: Iterable[Ballot], rules: Mapping[str, Rule] = RULES) -> list[Score]:
    """Scores each rule, in the order of the table of rules; a ballot is looked at once."""
    problems, right, numbers = list[int](), list[list[float]](), dict[str, int]()
    for ballot in ballots:
        problems.append(numbers.setdefault(ballot.problem, len(numbers)))
        right.append([_right(rule, ballot) for rule in (majority, *rules.values())])
    base, *columns = np.array(right).T
    pairs = zip(rules, columns, strict=True)
    return [_score(name, won, base, np.array(problems)) for name, won in pairs]


def _right(rule: Rule, ballot: Ballot) -> float:
    """1 where the rule decides the ballot rightly."""
    first = rule(ballot.traces)[:1]
    return float(bool(first) and first[0].answer == ballot.gold)


def _score(name: str, right: Floats, base: Floats, problems: NDArray[np.intp]) -> Score:
    sizes = np.bincount(problems)
    means = np.bincount(problems, right) / sizes
    gains = np.bincount(problems, right - base) / sizes
    return Score(
        name,
        len(right),
        float(means.mean()),
        interval(means, RULES_LEVEL),
        float(gains.mean()),
        interval(gains, RULES_LEVEL),
        int((right > base).sum()),
        int((right < base).sum()),
    )


# --- the confidence


@dataclass(frozen=True, slots=True)
class VoteCounts:
    """A vote in numbers: what a confidence is computed from, and whether the leader is right."""

    votes: int
    rival: int
    samples: int
    right: bool


@dataclass(frozen=True, slots=True)
class Quality:
    """Of stated probabilities: the mean squared error (Brier) and the mean calibration error."""

    brier: float
    ece: float


def vote_counts(ballots: Iterable[Ballot]) -> list[VoteCounts]:
    """The votes in numbers, without those in which no sample answered."""
    found = (counts_of(ballot.traces, ballot.gold) for ballot in ballots)
    return [counts for counts in found if counts is not None]


def counts_of(traces: Sequence[Trace], gold: int) -> VoteCounts | None:
    """The majority's vote in numbers; None where no sample answered."""
    ranked = majority(traces)
    if not ranked:
        return None
    rival = ranked[1].weight if len(ranked) > 1 else 0.0
    return VoteCounts(int(ranked[0].weight), int(rival), ended(traces), ranked[0].answer == gold)


def confidences(
    counted: Sequence[VoteCounts], slope: float = SLOPE, intercept: float = INTERCEPT
) -> list[float]:
    """The kit's confidence in each of the votes, or the one that other constants give."""
    return [logistic(slope * lead(c.votes, c.rival, c.samples) + intercept) for c in counted]


def quality(stated: Sequence[float], right: Sequence[bool]) -> Quality:
    """How good the stated probabilities are."""
    p, y = np.array(stated), np.array(right, dtype=float)
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    off = np.bincount(bins, p - y, minlength=BINS)  # count times the bin's error
    return Quality(float(np.mean((p - y) ** 2)), float(np.abs(off).sum() / len(p)))


def quality_lines(counted: Sequence[VoteCounts]) -> list[str]:
    """The confidence against the plain share of votes, a line each; none where nobody voted."""
    if not counted:
        return []
    right = [c.right for c in counted]
    stated = {
        "share of votes": [c.votes / c.samples for c in counted],
        "confidence": confidences(counted),
    }
    found = {name: quality(values, right) for name, values in stated.items()}
    return [f"{name}: Brier {q.brier:.4f}, ECE {q.ece:.3f}" for name, q in found.items()]
