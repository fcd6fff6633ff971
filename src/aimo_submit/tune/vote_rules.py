"""Vote rules on random parts of a pool: the plain majority, and those with weights."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from aimo_submit.errors import UserError
from aimo_submit.evaluate.bootstrap import interval
from aimo_submit.pool.arrays import Pool
from aimo_submit.pool.ballots import Ballot
from aimo_submit.records import Trace
from aimo_submit.vote import BETA, INTERCEPT, RULES, SLOPE, Rule, ended, lead, logistic

LEVEL = 0.95
BINS = 10  # of the calibration error
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
    used = voted & np.isfinite(signal)
    size = np.maximum(1, used.sum(axis=1, keepdims=True))
    held = np.where(used, signal, 0.0)
    off = np.where(used, signal - held.sum(axis=1, keepdims=True) / size, 0.0)
    spread = np.sqrt((off**2).sum(axis=1, keepdims=True) / size)
    return np.where(spread < 1e-9, 0.0, off / np.maximum(spread, 1e-9))


@dataclass(frozen=True, slots=True)
class Score:
    """How a rule does. Intervals are 95%, over problems."""

    rule: str
    accuracy: float
    interval: tuple[float, float]
    gain: float  # over the majority
    gain_interval: tuple[float, float]
    won: int  # ballots right here and wrong by majority
    lost: int


@dataclass(frozen=True, slots=True)
class Tally:
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


def compare(ballots: Sequence[Ballot], rules: Mapping[str, Rule] = RULES) -> list[Score]:
    """Each rule's score, in the order of the table of rules."""
    problems = _numbered([ballot.problem for ballot in ballots])
    base = _right(RULES["majority"], ballots)
    return [_score(name, _right(rule, ballots), base, problems) for name, rule in rules.items()]


def _right(rule: Rule, ballots: Sequence[Ballot]) -> Floats:
    """1 for each ballot that the rule decides rightly."""
    firsts = [rule(ballot.traces)[:1] for ballot in ballots]
    pairs = zip(firsts, ballots, strict=True)
    return np.array([float(bool(v) and v[0].answer == ballot.gold) for v, ballot in pairs])


def _score(name: str, right: Floats, base: Floats, problems: NDArray[np.intp]) -> Score:
    sizes = np.bincount(problems)
    means = np.bincount(problems, right) / sizes
    gains = np.bincount(problems, right - base) / sizes
    return Score(
        name,
        float(means.mean()),
        interval(means, LEVEL),
        float(gains.mean()),
        interval(gains, LEVEL),
        int((right > base).sum()),
        int((right < base).sum()),
    )


def _numbered(names: Sequence[str]) -> NDArray[np.intp]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.intp)


def tallies(ballots: Sequence[Ballot]) -> list[Tally]:
    """The votes in numbers, without those in which no sample answered."""
    found = (_tally(ballot.traces, ballot.gold) for ballot in ballots)
    return [tally for tally in found if tally is not None]


def parts(ballots: Sequence[Ballot], draws: int, seed: int = 0) -> Iterator[list[Tally]]:
    """For each ballot the tallies of that many random parts of its samples, of any size from 2."""
    rng = random.Random(seed)
    for ballot in ballots:
        sizes = [rng.randint(min(2, len(ballot.traces)), len(ballot.traces)) for _ in range(draws)]
        found = (_tally(rng.sample(list(ballot.traces), size), ballot.gold) for size in sizes)
        yield [tally for tally in found if tally is not None]


def _tally(traces: Sequence[Trace], gold: int) -> Tally | None:
    ranked = RULES["majority"](traces)
    if not ranked:
        return None
    rival = ranked[1].weight if len(ranked) > 1 else 0.0
    return Tally(int(ranked[0].weight), int(rival), ended(traces), ranked[0].answer == gold)


def fit(tallies: Sequence[Tally], weights: Sequence[float] | None = None) -> tuple[float, float]:
    """Slope and intercept of the confidence that suit the tallies best (logistic regression)."""
    leads = [lead(t.votes, t.rival, t.samples) for t in tallies]
    x = np.stack([np.array(leads), np.ones(len(leads))], axis=1)
    y = np.array([float(t.right) for t in tallies])
    w = np.ones(len(y)) if weights is None else np.array(weights)
    theta = np.zeros(2)
    for _ in range(25):  # Newton's steps; the small ridge keeps a separable set finite
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -30, 30)))
        gradient = x.T @ (w * (y - p)) - 1e-3 * theta
        hessian = (x * (w * p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        theta = theta + np.linalg.solve(hessian, gradient)
    return float(theta[0]), float(theta[1])


def quality(stated: Sequence[float], right: Sequence[bool]) -> Quality:
    """How good the stated probabilities are."""
    p, y = np.array(stated), np.array(right, dtype=float)
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    off = np.bincount(bins, p - y, minlength=BINS)  # count times the bin's error
    return Quality(float(np.mean((p - y) ** 2)), float(np.abs(off).sum() / len(p)))


def confidences(
    tallies: Sequence[Tally], slope: float = SLOPE, intercept: float = INTERCEPT
) -> list[float]:
    """What the kit states for each of the votes, or would with other constants."""
    return [logistic(slope * lead(t.votes, t.rival, t.samples) + intercept) for t in tallies]


def rules_table(scores: Sequence[Score], title: str = "") -> Table:
    """The scores as a table, in per cent; gains are points over the majority."""
    table = Table("rule", "accuracy", "95%", "gain", "95%", "won/lost", title=title)
    for score in scores:
        table.add_row(
            score.rule,
            f"{score.accuracy:.1%}",
            _range(*score.interval, ".1%"),
            f"{100 * score.gain:+.2f}",
            _range(100 * score.gain_interval[0], 100 * score.gain_interval[1], "+.2f"),
            f"{score.won}/{score.lost}",
        )
    return table


def _range(low: float, high: float, form: str) -> str:
    return f"{low:{form}}..{high:{form}}"


def quality_lines(ballots: Sequence[Ballot]) -> list[str]:
    """The confidence against the plain share of votes, a line each; none where nobody voted."""
    counted = tallies(ballots)
    if not counted:
        return []
    right = [t.right for t in counted]
    stated = {
        "share of votes": [t.votes / t.samples for t in counted],
        "confidence": confidences(counted),
    }
    found = {name: quality(values, right) for name, values in stated.items()}
    return [f"{name}: Brier {q.brier:.4f}, ECE {q.ece:.3f}" for name, q in found.items()]
