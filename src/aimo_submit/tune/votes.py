"""The vote on recorded ballots: each rule against the majority, and how good the confidence is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimo_submit.evaluate.bootstrap import interval
from aimo_submit.pool.ballots import Ballot
from aimo_submit.records import Trace
from aimo_submit.vote import INTERCEPT, RULES, SLOPE, Rule, ended, lead, logistic, majority

RULES_LEVEL = 0.95  # of the intervals
BINS = 10  # of the calibration error

Floats = NDArray[np.float64]


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
