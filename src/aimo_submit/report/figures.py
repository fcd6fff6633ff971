"""The eight plots of a report, in order; where one cannot be drawn, what it would take."""

from __future__ import annotations

from collections.abc import Sequence

from aimo_submit.errors import UserError
from aimo_submit.pool.arrays import Pool
from aimo_submit.report import panels
from aimo_submit.report.panels import Panel
from aimo_submit.report.rows import ProblemRow
from aimo_submit.tune.advice import Advice, advise
from aimo_submit.tune.choosing import usable
from aimo_submit.tune.forecast import Candidate, StopRule
from aimo_submit.tune.tuner import Tuner

# name of the PNG -> title, in the order of the page
TITLES = {
    "accuracy": "Accuracy over samples and rounds",
    "pareto": "Accuracy for the time it takes",
    "votes": "Vote map",
    "margin": "Margin and correctness",
    "time": "Time used, problem by problem",
    "flips": "Answers changed by stopping early",
    "spread": "Where the score's spread comes from",
    "throughput": "Tokens a second",
}
NO_GOLD = "needs gold answers: record a set that has them"
NO_PROFILE = "give --profile: a file that `profile` wrote, or a machine such as t4x2"
NO_LENGTHS = "needs the samples' lengths: record a pool with `eval`"


def without_pool(why: str, rows: Sequence[ProblemRow]) -> list[Panel]:
    """The plots where samples cannot be judged, and why."""
    if all(row.gold is None for row in rows):
        why = NO_GOLD
    return _ordered([panels.of_margin(rows)], why)


def without_profile(pool: Pool, rows: Sequence[ProblemRow], problems: int) -> list[Panel]:
    """The plots that need recorded samples only."""
    pool = usable(pool)
    _, samples, rounds = pool.tokens.shape
    spread = panels.of_spread(pool, problems, samples, rounds, None)
    made = [panels.of_accuracy(pool), panels.of_votes(pool), panels.of_margin(rows), spread]
    return _ordered(made, NO_PROFILE)


def of_planned_run(tuner: Tuner, rows: Sequence[ProblemRow]) -> tuple[list[Panel], Advice | None]:
    """All eight plots and the advice; those of time are missing where the pool has no lengths."""
    forecaster, why = tuner.forecaster, NO_LENGTHS
    pool, planned = forecaster.pool, forecaster.planned
    # Where nothing is recommended, half of what was recorded is looked at.
    candidate = Candidate(max(1, tuner.recorded // 2), pool.tokens.shape[2], StopRule.BUDGET)
    made = [panels.of_accuracy(pool), panels.of_votes(pool), panels.of_margin(rows)]
    made.append(panels.of_throughput(forecaster.profile))
    advice = None
    try:
        tuning = tuner.tuning()
    except UserError as error:
        why, advice = str(error), Advice(f"Nothing is recommended: {error}.")
    else:
        if tuning.choice is not None:
            candidate = tuning.choice.recommended.candidate
            advice = advise(tuning, tuning.choice, pool.settings)
            made.append(panels.of_pareto(tuning))
    n, m = candidate.samples, candidate.rounds
    over_orders: float | None = None
    if tuner.timed:
        tuner.progress("orders of problems")
        runs = panels.simulated_runs(forecaster, candidate)
        over_orders = runs.over_orders
        made.append(panels.of_fan(forecaster, candidate, runs))
        made.append(panels.of_flips(forecaster, n, m))
    made.append(panels.of_spread(pool, planned.problems, n, m, over_orders))
    return _ordered(made, why), advice


def _ordered(made: Sequence[Panel], why: str) -> list[Panel]:
    """In the order of TITLES, those that cannot be drawn last."""
    found = {panel.name: panel for panel in made}
    eight = [found.get(name, Panel(name, missing=why)) for name in TITLES]
    return sorted(eight, key=lambda panel: panel.draw is None)
