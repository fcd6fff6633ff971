"""What a run's solutions say: accuracy with its uncertainty, and where the time went."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from aimo_submit.evaluate.bootstrap import interval
from aimo_submit.records import Solution, Status, Trace

LEVEL = 0.95


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
class Summary:
    """A run in numbers; times are sample-seconds: an hour of 48 samples in flight is 48 hours."""

    problems: int
    seeds: int
    samples: int  # of one problem, at most
    pass_1: Accuracy | None  # None where no gold answer is known
    maj_n: Accuracy | None
    tokens: int
    seconds: float  # of wall clock, problems solved together counted each
    engine_s: float
    sandbox_s: float
    idle_s: float  # a sample had ended while others of its problem went on
    second_round: float  # share of answered samples that ran code in more than one round
    endings: dict[str, int]  # how samples ended, with the reason


def summarise(solutions: Sequence[Solution]) -> Summary:
    """The summary of at least one solution."""
    traces = [trace for s in solutions for trace in s.traces]
    rounds = [r for trace in traces for r in trace.rounds]
    engine_s, sandbox_s = sum(r.engine_s for r in rounds), sum(r.sandbox_s for r in rounds)
    lifetime = sum(s.seconds * len(s.traces) for s in solutions)
    graded = [s for s in solutions if s.problem.answer is not None]
    return Summary(
        problems=len({s.problem for s in solutions}),
        seeds=len({s.seed for s in solutions}),
        samples=max(len(s.traces) for s in solutions),
        pass_1=_accuracy(graded, [share_right(s) for s in graded]),
        maj_n=_accuracy(graded, [float(s.correct or False) for s in graded]),
        tokens=sum(trace.n_tokens for trace in traces),
        seconds=sum(s.seconds for s in solutions),
        engine_s=engine_s,
        sandbox_s=sandbox_s,
        idle_s=max(0.0, lifetime - engine_s - sandbox_s),
        second_round=_second_round(traces),
        endings=dict(Counter(_ending(trace) for trace in traces).most_common()),
    )


@dataclass(frozen=True, slots=True)
class Submission:
    """What one run over a set of such problems would score, in problems, with its deviation.

    `over_seeds`: the part of the deviation that comes from sampling; the rest is which problems
    the set has. None with one seed.
    """

    problems: int
    mean: float
    deviation: float
    over_seeds: float | None


def submission(solutions: Sequence[Solution], problems: int = 50) -> Submission | None:
    """What a submission with so many problems would score; None where nothing is graded."""
    by_problem: dict[str, list[float]] = defaultdict(list)
    for s in solutions:
        if s.correct is not None:
            by_problem[s.problem.id].append(float(s.correct))
    if not by_problem:
        return None
    mean = float(np.mean([np.mean(scores) for scores in by_problem.values()]))
    within = [np.var(scores, ddof=1) for scores in by_problem.values() if len(scores) > 1]
    whole = float(np.sqrt(problems * mean * (1 - mean)))
    chance = min(whole, float(np.sqrt(problems * np.mean(within)))) if within else None
    return Submission(problems, problems * mean, whole, chance)


def compare(
    ours: Sequence[Solution], theirs: Sequence[Solution]
) -> tuple[int, Accuracy | None, Accuracy | None]:
    """How far the first run is ahead on the problems both have: how many, pass@1, majority.

    Paired: the intervals are of the differences, problem by problem.
    """
    a, b = _by_problem(ours), _by_problem(theirs)
    both = [key for key in a if key in b]
    if not both:
        return 0, None, None
    ahead = np.array([np.subtract(a[key], b[key]) for key in both])
    gains = [Accuracy(float(g.mean()), interval(g, LEVEL), None) for g in ahead.T]
    return len(both), gains[0], gains[1]


def _by_problem(solutions: Sequence[Solution]) -> dict[tuple[str, str], tuple[float, float]]:
    """Each problem's share of right samples and of right votes, over its seeds."""
    runs: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for s in solutions:
        if s.correct is not None:
            key = s.problem.id, s.problem.text
            runs[key].append((share_right(s), float(s.correct)))
    return {
        key: (fmean(row[0] for row in own), fmean(row[1] for row in own))
        for key, own in runs.items()
    }


def share_right(solution: Solution) -> float:
    """The share of its samples that gave the gold answer."""
    gold = solution.problem.answer
    return sum(t.answer == gold for t in solution.traces) / max(1, len(solution.traces))


def _accuracy(solutions: Sequence[Solution], scores: Sequence[float]) -> Accuracy | None:
    if not solutions:
        return None
    by_problem: dict[str, list[float]] = defaultdict(list)
    by_seed: dict[int, list[float]] = defaultdict(list)
    for solution, score in zip(solutions, scores, strict=True):
        by_problem[solution.problem.id].append(score)
        by_seed[solution.seed].append(score)
    means = np.array([np.mean(values) for values in by_problem.values()])
    # Seeds of which only a part is done would compare different problems.
    complete = [float(np.mean(v)) for v in by_seed.values() if len(v) == len(by_problem)]
    over_seeds = float(np.std(complete, ddof=1)) if len(complete) > 1 else None
    return Accuracy(float(means.mean()), interval(means, LEVEL), over_seeds)


def _second_round(traces: Sequence[Trace]) -> float:
    answered = [t for t in traces if t.status is Status.ANSWERED]
    twice = [t for t in answered if sum(r.execution is not None for r in t.rounds) > 1]
    return len(twice) / max(1, len(answered))


def _ending(trace: Trace) -> str:
    return f"{trace.status}: {trace.reason}" if trace.reason else str(trace.status)
