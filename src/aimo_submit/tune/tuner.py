"""N, M and how to stop, decided from one recorded pool: what fits the time and is good enough.

Every candidate is judged on the same problems, so what two of them differ by is known far better
than either alone: they are chosen by paired differences. What runs under a limit of time is
the budget (`budget.py`), so what is recommended was simulated under it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimo_submit.errors import UserError
from aimo_submit.evaluate.summary import LEVEL, Z, interval, population
from aimo_submit.pool.arrays import Pool
from aimo_submit.tune import Candidate, Forecast, PlannedRun, StopRule
from aimo_submit.tune.accuracy import counts, jackknife, pass_at
from aimo_submit.tune.choosing import (
    LengthRatio,
    choose,
    clearly_better,
    length_ratio,
    most_accurate,
    pareto_front,
    shortlist,
    usable,
    within_time,
)
from aimo_submit.tune.forecast import Forecaster
from aimo_submit.tune.profile import Profile
from aimo_submit.tune.vote_rules import SIGNALS

GRID = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
EPS = 0.003  # of an early stop without a limit of time: docs/log/budget.md
UNTIMED = Profile("", "", "", "", "", True, ((1, 1.0),), 0.0, 0.0, 1 << 60)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Every N and M with one rule to stop. Times are of a whole run, nan where unknown."""

    forecasts: Sequence[Sequence[Forecast]]  # N x M, as all that follows
    accuracy: Floats
    lower: Floats  # 90%, over problems
    upper: Floats
    time_s: Floats  # mean
    time_q95_s: Floats

    @classmethod
    def of(cls, rows: Sequence[Sequence[Forecast]]) -> Grid:
        """The grid of these forecasts."""
        scores = np.moveaxis(np.array([[cell.scores for cell in row] for row in rows]), 2, 0)
        times = np.array([[(cell.time_s, cell.time_q95_s) for cell in row] for row in rows])
        return cls(rows, scores.mean(axis=0), *population(scores), times[..., 0], times[..., 1])


@dataclass(frozen=True, slots=True)
class RuleGain:
    """A vote rule's gain over the majority; the interval allows for the number of rules."""

    rule: str
    gain: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """The recommendation, and what it was weighed against."""

    recommended: Forecast
    quickest: Forecast  # the quickest that is surely nearly as good as `best`: N and M are its own
    best: Forecast  # the most accurate that fits
    budgets: tuple[Forecast, ...]  # the shortlist under the budget, by time
    others: tuple[Forecast, ...]  # the recommended N and M, stopped by other rules
    rules: tuple[RuleGain, ...]  # at the recommended N and M
    same_problems: float  # half of the 90% interval over samples; nan where N is all there are


@dataclass(frozen=True, slots=True)
class Tuning:
    """The findings from a pool; without recorded lengths or a profile, of accuracy alone."""

    planned: PlannedRun
    profile: Profile | None
    problems: int  # in the pool, without those of too few samples
    left_out: int
    recorded: int  # samples of each, at least
    samples: tuple[int, ...]  # the N of the grids
    rounds: tuple[int, ...]  # their M
    every: Grid
    stopped: Grid  # with an early stop at EPS
    pass_at: Floats  # N x M
    length_ratio: LengthRatio | None
    pareto: tuple[Forecast, ...] = ()  # of both grids, by time
    choice: Choice | None = None


class Tuner:
    """Tunes, and forecasts what else is asked afterwards; `progress` hears what is next."""

    def __init__(
        self,
        pool: Pool,
        profile: Profile | None,
        planned: PlannedRun,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._kept, self._planned, self.progress = usable(pool), planned, progress
        self._left_out = len(pool.problems) - len(self._kept.problems)
        self.timed = profile is not None and bool(pool.tokens.any())
        self._profile = profile if self.timed else None
        self.forecaster = Forecaster(self._kept, profile or UNTIMED, planned)
        self.recorded = int(self._kept.present.sum(axis=1).min())

    def tuning(self) -> Tuning:
        """The tuning."""
        self.progress("accuracy")
        samples = tuple(n for n in sorted({*GRID, self.recorded}) if n <= self.recorded)
        rounds = tuple(range(1, self._kept.tokens.shape[2] + 1))
        every = self._grid(samples, rounds, StopRule.EVERY)
        stopped = self._grid(samples, rounds, StopRule.STOPPED, EPS) if self.timed else every
        made = Tuning(
            planned=self._planned,
            profile=self._profile,
            problems=len(self._kept.problems),
            left_out=self._left_out,
            recorded=self.recorded,
            samples=samples,
            rounds=rounds,
            every=every,
            stopped=stopped,
            pass_at=_passes(self._kept, samples, rounds),
            length_ratio=length_ratio(self._kept),
        )
        if not self.timed:
            return made
        points = [cell for grid in (every, stopped) for row in grid.forecasts for cell in row]
        pareto = pareto_front(points)
        return dataclasses.replace(made, pareto=pareto, choice=self._choice(points, pareto))

    def _grid(
        self,
        samples: Sequence[int],
        rounds: Sequence[int],
        stop: StopRule,
        early_stop: float | None = None,
    ) -> Grid:
        rows = []
        for n in samples:
            self.progress(f"time of N={n}, {stop}")
            rows.append([self._forecast(Candidate(n, m, stop, early_stop)) for m in rounds])
        return Grid.of(rows)

    def _forecast(self, candidate: Candidate) -> Forecast:
        """The candidate's forecast, of accuracy alone where no time can be told."""
        if self.timed:
            return self.forecaster.forecast(candidate)
        scores = self.forecaster.exact[:, candidate.samples - 1, candidate.rounds - 1]
        return Forecast(candidate, scores, math.nan, math.nan)

    def _choice(self, points: Sequence[Forecast], pareto: Sequence[Forecast]) -> Choice:
        """Takes what the exact figures recommend, unless others are better under the budget."""
        base = choose(points, self._planned.plan_s)
        budgets = []
        for n, m in shortlist(pareto, base):
            self.progress(f"the budget with N={n} M={m}")
            budgets.append(self.forecaster.forecast(Candidate(n, m, StopRule.BUDGET)))
        self.progress("rules to stop, vote rules")
        if base and not clearly_better(budgets[0], most_accurate(budgets)):
            best = most_accurate(within_time(points, self._planned.plan_s))
            return self._weighed(budgets, budgets[0], (base, best))
        chosen = choose(budgets, self._planned.plan_s)
        if chosen is None:
            raise UserError(_nothing_fits(budgets, self._planned))
        best = most_accurate(within_time(budgets, self._planned.plan_s))
        return self._weighed(budgets, chosen, (chosen, best))

    def _weighed(
        self, budgets: Sequence[Forecast], chosen: Forecast, decided: tuple[Forecast, Forecast]
    ) -> Choice:
        """The chosen N and M against other rules to stop and to vote."""
        base = chosen.candidate
        others = (
            dataclasses.replace(base, stop=StopRule.EVERY),
            dataclasses.replace(base, stop=StopRule.STOPPED, early_stop=EPS),
            dataclasses.replace(base, stop=StopRule.SHARES),
            dataclasses.replace(base, early_stop=EPS),
            dataclasses.replace(base, early_stop=0.0),
        )
        forecasts = [self.forecaster.forecast(other) for other in others]
        for later in within_time(forecasts[-2:], self._planned.plan_s):
            chosen = later if clearly_better(chosen, later) else chosen
        gains = self._rule_gains(base)
        rule = max(gains, key=lambda g: g.gain)
        if rule.interval[0] > 0:
            voting = dataclasses.replace(chosen.candidate, vote=rule.rule)
            chosen = self.forecaster.forecast(voting)
        return Choice(
            recommended=chosen,
            quickest=decided[0],
            best=decided[1],
            budgets=tuple(sorted(budgets, key=lambda o: o.time_q95_s)),
            others=tuple(forecasts),
            rules=tuple(gains),
            same_problems=Z * jackknife(self._kept, base.samples, base.rounds),
        )

    def _rule_gains(self, candidate: Candidate) -> list[RuleGain]:
        names = [name for name in SIGNALS if name != "majority"]
        level = 1 - (1 - LEVEL) / len(names)
        made = []
        for name in names:
            gains = self.forecaster.rule_gain(dataclasses.replace(candidate, vote=name))
            made.append(RuleGain(name, float(gains.mean()), interval(gains, level)))
        return made


def _nothing_fits(forecasts: Sequence[Forecast], planned: PlannedRun) -> str:
    needed_s = min(o.time_q95_s for o in forecasts)
    return (
        f"nothing fits: {needed_s:.0f} s are needed, {planned.plan_s:.0f} s can be planned with; "
        "raise --limit, lower --problems or take a smaller model"
    )


def _passes(pool: Pool, samples: Sequence[int], rounds: Sequence[int]) -> Floats:
    """N x M: the share of problems that some sample of N has right within M rounds."""
    tables = [counts(pool, depth) for depth in rounds]
    found = [pass_at(t[:, 1], t[:, 0], max(samples)).mean(axis=0) for t in tables]
    return np.stack(found, axis=1)[[n - 1 for n in samples]]
