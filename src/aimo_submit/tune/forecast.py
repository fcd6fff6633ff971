"""Accuracy and time of a candidate on a pool's problems and a profile's machine.

Where every sample is taken, accuracy is exact. Where the vote may be stopped, or another rule
decides it, the difference to the plain vote of the same samples is added to the exact figure: it
varies far less than the figure itself. Times are simulated (`simulation.py`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from aimo_submit.budget import REFILL, Allotment, Budget, Terms, pooled
from aimo_submit.pool.arrays import Pool
from aimo_submit.tune import Candidate, Forecast, PlannedRun, StopRule
from aimo_submit.tune.accuracy import accuracies
from aimo_submit.tune.profile import Profile
from aimo_submit.tune.simulation import Policy, Samples, Simulated, simulate_problem
from aimo_submit.tune.vote_rules import Draws, draw
from aimo_submit.tune.vote_rules import scores as rule_scores

DRAWS = 500  # simulated for each candidate, at least
RULE_DRAWS = 20  # of each problem, where rules are compared
RUNS = 40  # simulated under a policy, at least
TOTALS = 2000  # sets of problems whose time is summed
QUANTILE = 0.95
GAP_S = 1.0  # the gateway's, between two problems

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


class Forecaster:
    """A pool on a machine, and the run that is planned; what was worked out is kept."""

    def __init__(self, pool: Pool, profile: Profile, planned: PlannedRun) -> None:
        self.pool, self.profile, self.planned = pool, profile, planned
        most = REFILL * pool.tokens.shape[1]
        self._pace = profile.step_s(np.arange(most + 1)).tolist()

    @cached_property
    def exact(self) -> Floats:
        """P x N x M: accuracy with every sample, N and M from 1."""
        return accuracies(self.pool, range(1, self.pool.tokens.shape[2] + 1))

    @cached_property
    def draws(self) -> Draws:
        """R random orders of problems' samples, problem by problem, equally many of each."""
        return draw(self.pool, math.ceil(DRAWS / len(self.pool.problems)))

    @cached_property
    def recorded(self) -> Sequence[Samples]:
        """R: the samples of each draw."""
        pairs = zip(self.draws.problem.tolist(), self.draws.order, strict=True)
        return [_recorded(self.pool, problem, order) for problem, order in pairs]

    def forecast(self, candidate: Candidate) -> Forecast:
        """The candidate's accuracy and time."""
        n, m, stop = candidate.samples, candidate.rounds, candidate.stop
        if stop in (StopRule.EVERY, StopRule.STOPPED):
            rows = np.arange(len(self.recorded))
            seconds, right = self.simulate_draws(n, m, candidate.early_stop)
            totals = self._sets @ seconds
        else:
            rows, right, totals = self._under_policy(candidate)
        totals = totals + self.profile.load_s + GAP_S * (self.planned.problems - 1)
        scores = self.exact[:, n - 1, m - 1]
        if stop is not StopRule.EVERY:
            plain = rule_scores(self.pool, self.draws, n, m)[rows]
            scores = scores + self._by_problem(self.draws.problem[rows], right - plain)
        if candidate.vote != "majority":
            scores = scores + self.rule_gain(candidate)
        q95_s = float(np.quantile(totals, QUANTILE))
        return Forecast(candidate, scores, float(totals.mean()), q95_s)

    def simulate_draws(
        self, samples: int, rounds: int, early_stop: float | None = None
    ) -> tuple[Floats, Floats]:
        """R seconds and R scores of the draws' first samples, to their end or until decided."""
        allotment = pooled(samples, math.inf, early_stop)
        found = (self._simulate(r, samples, rounds, allotment) for r in range(len(self.recorded)))
        seconds, scores = np.array([(each.effort.seconds, each.score) for each in found]).T
        return seconds, scores

    def simulate_run(self, rows: Sequence[int], candidate: Candidate) -> list[Simulated]:
        """A whole run of these draws under the candidate's policy, made before the model loads."""
        clock, found = Clock(), list[Simulated]()
        policy = self._policy(candidate, clock)
        clock.now_s = self.profile.load_s
        for row in rows:
            most = REFILL * candidate.samples
            found.append(self._simulate(row, most, candidate.rounds, policy.begin()))
            clock.now_s += found[-1].effort.seconds
            policy.end(found[-1].effort)
            clock.now_s += GAP_S
        return found

    def rule_gain(self, candidate: Candidate) -> Floats:
        """P: what the candidate's rule gains over the majority on the same samples."""
        draws = draw(self.pool, RULE_DRAWS, seed=2)
        score = partial(rule_scores, self.pool, draws, candidate.samples, candidate.rounds)
        return self._by_problem(draws.problem, score(candidate.vote) - score())

    @cached_property
    def _sets(self) -> Floats:
        """TOTALS x R: how often each draw stands in a random set of problems."""
        rng, size = np.random.default_rng(1), len(self.recorded)
        picked = rng.integers(size, size=(TOTALS, self.planned.problems))
        return np.stack([np.bincount(row, minlength=size) for row in picked]).astype(float)

    def _under_policy(self, candidate: Candidate) -> tuple[Ints, Floats, Floats]:
        """Rows of the draws and their scores, and the seconds of runs, each problem in one."""
        rows, right, totals = list[int](), list[float](), list[float]()
        for chosen in self._runs():
            found = self.simulate_run(chosen, candidate)
            rows += chosen
            right += [float(each.answer == 0) for each in found]
            totals.append(sum(each.effort.seconds for each in found))
        return np.array(rows), np.array(right), np.array(totals)

    def _runs(self) -> Iterator[list[int]]:
        """The draws of each run; the same for all candidates, every problem about equally often."""
        rng = np.random.default_rng(3)
        size, problems = len(self.pool.problems), self.planned.problems
        each = len(self.draws.problem) // size
        runs = max(RUNS, math.ceil(size / problems))
        rounds = range(math.ceil(runs * problems / size))
        stream = np.concatenate([rng.permutation(size) * each + k % each for k in rounds])
        for k in range(runs):
            yield stream[k * problems : (k + 1) * problems].tolist()

    def _simulate(self, row: int, samples: int, rounds: int, allotment: Allotment) -> Simulated:
        """The draw's first samples under the allotment, no wider than the KV cache allows."""
        cut = self.recorded[row].cut(samples, rounds)
        prompt = int(self.pool.prompt_tokens[self.draws.problem[row]])
        mean = sum(map(sum, cut.tokens)) / max(1, len(cut.tokens))
        held = int(max(1, (self.profile.kv_tokens - prompt) // max(1, mean)))
        if held < allotment.width:
            allotment = dataclasses.replace(allotment, width=held)
        begin_s, turn_s = self.profile.prefill_s * prompt, self.profile.turn_s
        return simulate_problem(cut, allotment, self._pace.__getitem__, begin_s, turn_s)

    def _policy(self, candidate: Candidate, clock: Clock) -> Policy:
        limit_s, problems, samples = self.planned.limit_s, self.planned.problems, candidate.samples
        if candidate.stop is StopRule.SHARES:
            return _Shares((limit_s - self.profile.load_s) / problems - GAP_S, samples)
        return Budget(Terms(limit_s, problems, samples=samples, eps=candidate.early_stop), clock)

    def _by_problem(self, problem: Ints, values: Floats) -> Floats:
        """The mean of the values of each problem."""
        size = len(self.pool.problems)
        counts = np.bincount(problem, minlength=size)
        return np.asarray(np.bincount(problem, values, minlength=size) / np.maximum(counts, 1))


def _recorded(pool: Pool, problem: int, order: Ints) -> Samples:
    """The problem's samples in that order, at full depth."""
    kept = order[pool.present[problem, order]]
    tokens, code_s = pool.tokens[problem, kept], pool.code_s[problem, kept]
    if not pool.tokens.any():  # lengths are not known: one sample ends after the other
        tokens[:, 0] = np.arange(1, len(kept) + 1)
    reached = np.where(tokens > 0, np.arange(1, tokens.shape[1] + 1), 1).max(axis=1)
    rounds = np.maximum(reached, pool.answered[problem, kept] + 1).tolist()
    return Samples(
        answers=[a if a >= 0 else None for a in pool.answer[problem, kept].tolist()],
        tokens=[row[:n] for row, n in zip(tokens.tolist(), rounds, strict=True)],
        code_s=[row[: n - 1] for row, n in zip(code_s.tolist(), rounds, strict=True)],
    )


@dataclass
class Clock:
    """The seconds since a run began."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True, slots=True)
class _Shares:
    """The same time for each problem."""

    share_s: float
    samples: int

    def begin(self) -> Allotment:
        return Allotment(self.share_s, self.samples, self.samples, 0.0)

    def end(self, effort: object) -> None:
        pass
