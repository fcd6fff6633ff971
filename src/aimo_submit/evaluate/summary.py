"""A run in numbers: accuracy with its uncertainty, and where the time went.

A run is read one solution at a time; of each with a gold answer a `Grade` is kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from aimo_submit.records import Solution, Status, Trace

CONFIDENCE = 0.95


PASS_1: Score = attrgetter("pass_1")
MAJORITY: Score = attrgetter("right")
LEVEL = 0.9
BOOTSTRAPS = 2000
Z = 1.645  # half of LEVEL's interval, in standard errors
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of right answers over problems.

    `interval`: 95%, over problems: what another set of such problems would give.
    `over_seeds`: the standard deviation from run to run on these problems; None with one seed.
    """

    mean: float
    interval: tuple[float, float]
    over_seeds: float | None


@dataclass(frozen=True, slots=True)
class Grade:
    """How right one solution is."""

    problem: tuple[str, str]  # its id and text
    seed: int
    pass_1: float  # the share of its samples that gave the gold answer
    right: bool  # its own answer


Score = Callable[[Grade], float]


@dataclass(slots=True)
class Summary:
    """A run in numbers; times are sample-seconds: an hour of 48 samples in flight is 48 hours."""

    solutions: int = 0
    problems: set[tuple[str, str]] = field(default_factory=set)
    seeds: set[int] = field(default_factory=set)
    samples: int = 0  # of one problem, at most
    grades: list[Grade] = field(default_factory=list)  # where the gold answer is known
    tokens: int = 0
    seconds: float = 0.0  # of wall clock, problems solved together counted each
    engine_s: float = 0.0
    sandbox_s: float = 0.0
    lifetime_s: float = 0.0  # a sample's lasts until the last one of its problem has ended
    answered: int = 0  # samples
    repeated: int = 0  # of these: ran code in more than one round
    endings: Counter[str] = field(default_factory=Counter)  # how samples ended, with the reason

    def add(self, solution: Solution) -> None:
        """Counts one more solution."""
        self.solutions += 1
        self.problems.add((solution.problem.id, solution.problem.text))
        self.seeds.add(solution.seed)
        self.samples = max(self.samples, len(solution.traces))
        self.grades.extend(grades_of([solution]))
        self.seconds += solution.seconds
        self.lifetime_s += solution.seconds * len(solution.traces)
        for trace in solution.traces:
            self._add(trace)

    def _add(self, trace: Trace) -> None:
        self.tokens += trace.n_tokens
        self.engine_s += sum(r.engine_s for r in trace.rounds)
        self.sandbox_s += sum(r.sandbox_s for r in trace.rounds)
        self.endings[f"{trace.status}: {trace.reason}" if trace.reason else str(trace.status)] += 1
        if trace.status is Status.ANSWERED:
            self.answered += 1
            self.repeated += sum(r.execution is not None for r in trace.rounds) > 1

    @property
    def pass_1(self) -> Accuracy | None:
        """The share of right samples; None where no gold answer is known."""
        return _accuracy(self.grades, PASS_1)

    @property
    def maj_n(self) -> Accuracy | None:
        """The share of right answers; None where no gold answer is known."""
        return _accuracy(self.grades, MAJORITY)

    @property
    def idle_s(self) -> float:
        """The time for which samples had ended while others of their problem went on."""
        return max(0.0, self.lifetime_s - self.engine_s - self.sandbox_s)

    @property
    def second_round(self) -> float:
        """The share of answered samples that ran code in more than one round."""
        return self.repeated / max(1, self.answered)


def summarise(solutions: Iterable[Solution]) -> Summary:
    """Sums up a run."""
    summary = Summary()
    for solution in solutions:
        summary.add(solution)
    return summary


def grades_of(solutions: Iterable[Solution]) -> list[Grade]:
    """Grades the solutions whose gold answer is known."""
    return [
        Grade((s.problem.id, s.problem.text), s.seed, share_right(s), s.correct)
        for s in solutions
        if s.correct is not None
    ]


def share_right(solution: Solution) -> float:
    """Returns the share of the solution's samples that gave the gold answer."""
    gold = solution.problem.answer
    return sum(t.answer == gold for t in solution.traces) / max(1, len(solution.traces))


@dataclass(frozen=True, slots=True)
class Expected:
    """The score of one run over a set of such problems, in problems, with its deviation.

    `over_seeds`: the part of the deviation that comes from sampling; the rest is which problems
    the set has. None with one seed.
    """

    problems: int
    mean: float
    deviation: float
    over_seeds: float | None


def expected_score(grades: Sequence[Grade], problems: int = 50) -> Expected | None:
    """Expects the score of a submission with so many problems; None where nothing is graded."""
    runs = list(_by_problem(grades, MAJORITY).values())
    if not runs:
        return None
    mean = fmean(fmean(scores) for scores in runs)
    within = [np.var(scores, ddof=1) for scores in runs if len(scores) > 1]
    whole = float(np.sqrt(problems * mean * (1 - mean)))
    chance = min(whole, float(np.sqrt(problems * np.mean(within)))) if within else None
    return Expected(problems, problems * mean, whole, chance)


def lead_of(
    ours: Sequence[Grade], theirs: Sequence[Grade]
) -> tuple[int, Accuracy | None, Accuracy | None]:
    """Measures how far the first run is ahead: the problems that both have, pass@1, majority.

    Paired: the intervals are of the differences, problem by problem.
    """
    gains = []
    for score in (PASS_1, MAJORITY):
        a, b = _by_problem(ours, score), _by_problem(theirs, score)
        ahead = np.array([fmean(a[problem]) - fmean(b[problem]) for problem in a if problem in b])
        if not len(ahead):
            return 0, None, None
        gains.append(Accuracy(float(ahead.mean()), interval(ahead, CONFIDENCE), None))
    return len(ahead), gains[0], gains[1]


def _by_problem(grades: Iterable[Grade], score: Score) -> dict[tuple[str, str], list[float]]:
    """The scores of each problem, over its seeds."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for grade in grades:
        found[grade.problem].append(score(grade))
    return found


def _accuracy(grades: Sequence[Grade], score: Score) -> Accuracy | None:
    if not grades:
        return None
    runs = _by_problem(grades, score)
    means = np.array([fmean(scores) for scores in runs.values()])
    by_seed: dict[int, list[float]] = defaultdict(list)
    for grade in grades:
        by_seed[grade.seed].append(score(grade))
    # Seeds of which only a part is done would compare different problems.
    complete = [fmean(scores) for scores in by_seed.values() if len(scores) == len(runs)]
    over_seeds = float(np.std(complete, ddof=1)) if len(complete) > 1 else None
    return Accuracy(float(means.mean()), interval(means, CONFIDENCE), over_seeds)


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
