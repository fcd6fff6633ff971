"""All eight plots of a report, in order; where one cannot be, what it would take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from aimo_submit.errors import UserError
from aimo_submit.pool.arrays import Pool
from aimo_submit.report import panels, plots, time_panels
from aimo_submit.report.panels import TITLES, Panel
from aimo_submit.report.plots import Point
from aimo_submit.report.rows import Row
from aimo_submit.tune.choosing import usable
from aimo_submit.tune.forecast import Candidate, Forecast, PlannedRun, StopRule
from aimo_submit.tune.profile import Profile
from aimo_submit.tune.tuner import Tuner, Tuning

NO_GOLD = "needs gold answers: record a set that has them"
NO_PROFILE = "give --profile: a file that `profile` wrote, or a machine such as t4x2"
NO_LENGTHS = "needs the samples' lengths: record a pool with `eval`"


def without_pool(why: str, rows: Sequence[Row]) -> list[Panel]:
    """The plots where samples cannot be judged, and why."""
    if all(row.gold is None for row in rows):
        why = NO_GOLD
    return _ordered([panels.of_margin(rows)], why)


def without_profile(pool: Pool, rows: Sequence[Row], problems: int) -> list[Panel]:
    """The plots that need recorded samples only."""
    pool = usable(pool)
    spread = panels.of_spread(pool, problems, pool.answer.shape[1], pool.tokens.shape[2], None)
    made = [panels.of_accuracy(pool), panels.of_votes(pool), panels.of_margin(rows), spread]
    return _ordered(made, NO_PROFILE)


class Planned:
    """The plots of a pool and the machine that is planned for."""

    def __init__(
        self, pool: Pool, profile: Profile, planned: PlannedRun, progress: Callable[[str], None]
    ) -> None:
        self._tuner = Tuner(pool, profile, planned, progress)
        self._forecaster, self._profile, self._planned = self._tuner.forecaster, profile, planned
        self._progress = progress
        self.tuning: Tuning | None = None
        self.why = ""  # there is no tuning
        try:
            self.tuning = self._tuner.tuning()
        except UserError as error:
            self.why = str(error)

    @property
    def candidate(self) -> Candidate:
        """What is recommended; where nothing is, half of what was recorded under the budget."""
        if self.tuning is not None and self.tuning.choice is not None:
            return self.tuning.choice.recommended.candidate
        depth = self._forecaster.pool.tokens.shape[2]
        return Candidate(max(1, self._tuner.recorded // 2), depth, StopRule.BUDGET)

    def panels(self, rows: Sequence[Row]) -> list[Panel]:
        """All eight; those of time are missing where the pool holds no lengths."""
        pool, planned = self._forecaster.pool, self._planned
        n, m = self.candidate.samples, self.candidate.rounds
        made = [panels.of_accuracy(pool), panels.of_votes(pool), panels.of_margin(rows)]
        made.append(time_panels.of_throughput(self._profile))
        if not pool.tokens.any():
            made.append(panels.of_spread(pool, planned.problems, n, m, None))
            return _ordered(made, NO_LENGTHS)
        self._progress("orders of problems")
        runs = time_panels.played(self._forecaster, self.candidate)
        made += [
            self._pareto(),
            panels.of_spread(pool, planned.problems, n, m, runs.over_orders),
            time_panels.of_fan(self._forecaster, self.candidate, runs, planned.plan_s),
            time_panels.of_flips(self._forecaster, n, m),
        ]
        return _ordered(made, self.why)

    def _pareto(self) -> Panel:
        tuning, limit_s = self.tuning, self._planned.limit_s
        if tuning is None:
            return Panel("pareto", missing=self.why)
        points = [*_points(tuning), *(_point(o, front=True) for o in tuning.pareto)]
        if tuning.choice is not None:
            points.append(_point(tuning.choice.recommended, chosen=True))
        return Panel(
            "pareto",
            f"{tuning.planned.problems} problems, every N and M, with all samples and with an "
            "early stop. The line joins what nothing quicker equals; the ring is recommended, as "
            "simulated under the budget.",
            partial(plots.pareto, points, limit_s / 3600, tuning.planned.plan_s / 3600),
        )


def _ordered(made: Sequence[Panel], why: str) -> list[Panel]:
    """In the order of TITLES, those that cannot be drawn last."""
    found = {panel.name: panel for panel in made}
    eight = [found.get(name, Panel(name, missing=why)) for name in TITLES]
    return sorted(eight, key=lambda panel: panel.draw is None)


def _points(tuning: Tuning) -> list[Point]:
    return [
        Point("", float(grid.time_q95_s[at]) / 3600, float(accuracy), front=False)
        for grid in (tuning.every, tuning.stopped)
        for at, accuracy in np.ndenumerate(grid.accuracy)
    ]


def _point(forecast: Forecast, *, front: bool = False, chosen: bool = False) -> Point:
    name = f"N = {forecast.candidate.samples}, M = {forecast.candidate.rounds}"
    return Point(name, forecast.time_q95_s / 3600, forecast.accuracy, front, chosen)
