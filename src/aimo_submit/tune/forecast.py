"""What a setting would come to on a pool's problems and a profile's machine: accuracy and time.

Where every sample is taken, accuracy is exact. Where the vote may be stopped, or another rule
decides it, the difference to the plain vote of the same samples is added to the exact figure: it
varies far less than the figure itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from aimo_submit.budget import REFILL, Allotment, Budget, Terms
from aimo_submit.evaluate.bootstrap import interval
from aimo_submit.pool.arrays import Pool
from aimo_submit.records import Named
from aimo_submit.tune.accuracy import accuracies
from aimo_submit.tune.profile import Profile
from aimo_submit.tune.replay import Draws, Replayed, draw, fitting, replay
from aimo_submit.tune.simulation import Clock, Played, Policy, Samples, play, run
from aimo_submit.tune.vote_rules import scores as rule_scores

DRAWS = 500  # replayed for each setting, at least
RULE_DRAWS = 20  # of each problem, where rules are compared
RUNS = 40  # played under a policy, at least
TOTALS = 2000  # sets of problems whose time is summed
QUANTILE = 0.95
GAP_S = 1.0  # the gateway's, between two problems

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


class Way(Named):
    """How the samples of a problem come to their end."""

    EVERY = "every sample"
    STOPPED = "early stop"  # of a pool: `early_stop` without a limit of time
    SHARES = "equal shares"  # N samples in T/n, until nothing can change the winner
    BUDGET = "budget"  # what runs where `total_time_s` is set


@dataclass(frozen=True, slots=True)
class Setting:
    """What is foreseen."""

    samples: int
    rounds: int
    way: Way = Way.EVERY
    early_stop: float | None = None
    vote: str = "majority"

    @property
    def how(self) -> str:
        """How samples end and vote, in words."""
        stop = "" if self.early_stop is None else f" at {self.early_stop:g}"
        vote = "" if self.vote == "majority" else f", vote {self.vote}"
        return f"{self.way}{stop}{vote}"

    def __str__(self) -> str:
        return f"N={self.samples} M={self.rounds} ({self.how})"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a setting is foreseen to come to; times are those of a whole run, loading included."""

    setting: Setting
    scores: Floats  # P: each problem's chance to be right
    time_s: float  # mean
    time_q95_s: float

    @property
    def accuracy(self) -> float:
        """The share of problems that would be right."""
        return float(self.scores.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """90%, over problems."""
        return interval(self.scores)


def paired(a: Outlook, b: Outlook) -> tuple[float, float, float]:
    """How far the second is ahead of the first, with the 90% interval, problem by problem."""
    return b.accuracy - a.accuracy, *interval(b.scores - a.scores)


@dataclass(frozen=True)
class Study:
    """A pool on a machine, and the run that is planned; what was worked out is kept."""

    pool: Pool
    profile: Profile
    limit_s: float
    problems: int  # of one run

    @cached_property
    def exact(self) -> Floats:
        """P x N x M: accuracy with every sample, N and M from 1."""
        return accuracies(self.pool, range(1, self.pool.tokens.shape[2] + 1))

    @cached_property
    def draws(self) -> Draws:
        """Enough random orders of each problem's samples."""
        return draw(self.pool, math.ceil(DRAWS / len(self.pool.problems)))

    def replayed(self, samples: int, early_stop: float | None = None) -> Replayed:
        """All draws with N samples, at every depth."""
        depths = np.arange(1, self.pool.tokens.shape[2] + 1)
        return replay(self.pool, self.profile, self.draws, samples, depths, early_stop)

    def totals(self, seconds: Floats) -> Floats:
        """TOTALS x ...: seconds of runs, of what the draws took (first axis)."""
        rng = np.random.default_rng(1)
        picked = rng.integers(len(seconds), size=(TOTALS, self.problems))
        counts = np.stack([np.bincount(row, minlength=len(seconds)) for row in picked])
        gaps_s = GAP_S * (self.problems - 1)
        return np.asarray(self.profile.load_s + gaps_s + counts.astype(float) @ seconds)

    def stopped(self, samples: int, replayed: Replayed) -> Floats:
        """P x M: accuracy where the vote of those replayed draws was stopped."""
        depths = range(1, self.pool.tokens.shape[2] + 1)
        plain = [rule_scores(self.pool, self.draws, samples, depth) for depth in depths]
        gain = self._by_problem(self.draws.problem, replayed.score - np.stack(plain, axis=1))
        return np.asarray(self.exact[:, samples - 1] + gain)

    def outlook(self, setting: Setting) -> Outlook:
        """What the setting would come to."""
        if setting.way in (Way.EVERY, Way.STOPPED):
            found = self._pooled(setting)
        else:
            found = self._under_limit(setting)
        if setting.vote == "majority":
            return found
        return dataclasses.replace(found, scores=found.scores + self.rule_gain(setting))

    def rule_gain(self, setting: Setting) -> Floats:
        """P: what the setting's rule gains over the majority on the same samples."""
        draws = draw(self.pool, RULE_DRAWS, seed=2)
        score = partial(rule_scores, self.pool, draws, setting.samples, setting.rounds)
        return self._by_problem(draws.problem, score(setting.vote) - score())

    def _pooled(self, setting: Setting) -> Outlook:
        depth = setting.rounds - 1
        stopped = setting.way is Way.STOPPED
        replayed = self.replayed(setting.samples, setting.early_stop if stopped else None)
        totals = self.totals(replayed.seconds[:, depth])
        scores = self.exact[:, setting.samples - 1, depth]
        if stopped:
            scores = self.stopped(setting.samples, replayed)[:, depth]
        return _outlook(setting, scores, totals)

    def _under_limit(self, setting: Setting) -> Outlook:
        """The setting played under its policy, each problem at least once."""
        plain = rule_scores(self.pool, self.draws, setting.samples, setting.rounds)
        rows, gains, totals = [], [], []
        games = Games(self, setting)
        for chosen in self._runs():
            clock = Clock()
            played = games.run(chosen, self._policy(setting, clock), clock)
            rows += chosen
            gains += [float(p.answer == 0) - plain[r] for p, r in zip(played, chosen, strict=True)]
            totals.append(clock.now_s - GAP_S)
        gain = self._by_problem(self.draws.problem[rows], np.array(gains))
        scores = self.exact[:, setting.samples - 1, setting.rounds - 1] + gain
        return _outlook(setting, scores, np.array(totals))

    def _runs(self) -> Iterator[list[int]]:
        """The draws of each run; the same for all settings, every problem about equally often."""
        rng, size, each = np.random.default_rng(3), len(self.pool.problems), len(self.draws.problem)
        each //= size
        runs = max(RUNS, math.ceil(size / self.problems))
        rounds = math.ceil(runs * self.problems / size)
        stream = np.concatenate([rng.permutation(size) * each + k % each for k in range(rounds)])
        for k in range(runs):
            yield stream[k * self.problems : (k + 1) * self.problems].tolist()

    def _policy(self, setting: Setting, clock: Clock) -> Policy:
        if setting.way is Way.SHARES:
            share_s = (self.limit_s - self.profile.load_s) / self.problems - GAP_S
            return _Shares(share_s, setting.samples)
        return self.budget(setting, clock)

    def budget(self, setting: Setting, clock: Clock) -> Budget:
        """The budget of a run with that setting."""
        terms = Terms(self.limit_s, self.problems, samples=setting.samples, eps=setting.early_stop)
        return Budget(terms, clock)

    def _by_problem(self, problem: Ints, values: Floats) -> Floats:
        """The mean of the values of each problem (first axis)."""
        size = len(self.pool.problems)
        sums: Floats = np.zeros((size, *values.shape[1:]))
        np.add.at(sums, problem, values)
        counts = np.bincount(problem, minlength=size)
        means: Floats = sums / np.maximum(counts, 1).reshape(-1, *[1] * (values.ndim - 1))
        return means


def _outlook(setting: Setting, scores: Floats, totals: Floats) -> Outlook:
    return Outlook(setting, scores, float(totals.mean()), float(np.quantile(totals, QUANTILE)))


@dataclass(frozen=True, slots=True)
class _Shares:
    """The same time for each problem."""

    share_s: float
    samples: int

    def begin(self) -> Allotment:
        return Allotment(self.share_s, self.samples, self.samples, 0.0)

    def end(self, effort: object) -> None:
        pass


class Games:
    """Draws of a study as samples to play, cut at the setting's depth."""

    def __init__(self, study: Study, setting: Setting) -> None:
        self._pool, self._draws, self._rounds = study.pool, study.draws, setting.rounds
        self._most = REFILL * setting.samples
        self._profile = study.profile
        self._pace = study.profile.step_s(np.arange(self._most + 1)).tolist()
        self._made: dict[int, Samples] = {}

    def play(self, row: int, allotment: Allotment) -> Played:
        """The draw under the allotment, no wider than the KV cache allows."""
        samples = self._samples(row)
        prompt = int(self._pool.prompt_tokens[self._draws.problem[row]])
        mean = sum(map(sum, samples.tokens)) / max(1, len(samples.tokens))
        width = min(allotment.width, int(fitting(self._profile.kv_tokens, prompt, mean)))
        allotment = dataclasses.replace(allotment, width=width)
        begin_s, turn_s = self._profile.prefill_s * prompt, self._profile.turn_s
        return play(samples, allotment, self._pace.__getitem__, begin_s, turn_s)

    def run(self, rows: Sequence[int], policy: Policy, clock: Clock) -> list[Played]:
        """A whole run of these draws under the policy, which was made before the model loads."""
        clock.now_s = self._profile.load_s
        return run(policy, clock, [partial(self.play, row) for row in rows], GAP_S)

    def _samples(self, row: int) -> Samples:
        if row not in self._made:
            self._made[row] = self.cut(int(self._draws.problem[row]), self._draws.order[row])
        return self._made[row]

    def cut(self, problem: int, order: Ints) -> Samples:
        """The problem's samples in that order, twice N at most."""
        pool, depth = self._pool, self._rounds
        kept = order[pool.present[problem][order]][: self._most]
        tokens, code_s = pool.tokens[problem, kept, :depth], pool.code_s[problem, kept, :depth]
        rounds = np.where(tokens > 0, np.arange(1, tokens.shape[1] + 1), 1).max(axis=1).tolist()
        answered = pool.answered[problem, kept]
        voted = ((answered >= 0) & (answered < depth)).tolist()
        answers = pool.answer[problem, kept].tolist()
        return Samples(
            answers=[a if v else None for a, v in zip(answers, voted, strict=True)],
            tokens=[row[:n] for row, n in zip(tokens.tolist(), rounds, strict=True)],
            code_s=[row[: n - 1] for row, n in zip(code_s.tolist(), rounds, strict=True)],
        )
