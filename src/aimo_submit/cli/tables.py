"""Results as tables for a terminal, in the order of the work: solve, record, tune, submit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from aimo_submit.config import settings_that
from aimo_submit.evaluate.summary import Accuracy, Expected, Grade, Summary, expected_score
from aimo_submit.pool.arrays import Pool, majority_accuracy
from aimo_submit.tune import clock, points

if TYPE_CHECKING:
    from aimo_submit.tune import Forecast
    from aimo_submit.tune.advice import Comparison
    from aimo_submit.tune.tuner import Grid, RuleGain, Tuning
    from aimo_submit.tune.vote_rules import Score

STEP = 0.005  # of accuracy: what lies closer on the front is not printed


def summary_table(summary: Summary) -> Table:
    """The summary of a run, a row a figure."""
    table = Table(show_header=False, box=None)
    problems, seeds = len(summary.problems), len(summary.seeds)
    rows = [
        ("problems", f"{problems} x {seeds} seed(s), N = {summary.samples}"),
        ("pass@1", _accuracy(summary.pass_1)),
        (f"maj@{summary.samples}", _accuracy(summary.maj_n)),
        ("second round", f"{summary.second_round:.1%} of the answered samples ran code again"),
        ("tokens", f"{summary.tokens:,}"),
        ("seconds", f"{summary.seconds:,.1f}, summed over problems"),
        ("sample time", _shares(summary)),
        *((f"  {n}", escape(ending)) for ending, n in summary.endings.most_common()),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def seeds_table(grades: Sequence[Grade]) -> Table | None:
    """Each seed's run, their mean and deviation, and what that means for one submission."""
    expected = expected_score(grades)
    by_seed: dict[int, list[Grade]] = defaultdict(list)
    for grade in grades:
        by_seed[grade.seed].append(grade)
    if expected is None or len(by_seed) < 2:
        return None
    most = max(map(len, by_seed.values()))
    table = Table("seed", "problems", "right", "pass@1", "maj", title="run by run")
    for seed, own in sorted(by_seed.items()):
        right = sum(grade.right for grade in own)
        pass_1 = float(np.mean([grade.pass_1 for grade in own]))
        note = "" if len(own) == most else " (unfinished)"
        table.add_row(
            str(seed), f"{len(own)}{note}", str(right), f"{pass_1:.1%}", f"{right / len(own):.1%}"
        )
    whole = [own for own in by_seed.values() if len(own) == most]
    table.caption = f"{_mean_sd(whole)}\n{_expectation(expected)}"
    return table


def _mean_sd(runs: Sequence[Sequence[Grade]]) -> str:
    scores = [sum(grade.right for grade in own) for own in runs]
    spread = f" ± {np.std(scores, ddof=1):.1f}" if len(scores) > 1 else ""
    return f"{np.mean(scores):.1f}{spread} of {len(runs[0])} over {len(scores)} seed(s)"


def _expectation(expected: Expected) -> str:
    chance = (
        "" if expected.over_seeds is None else f", of which ± {expected.over_seeds:.1f} by seed"
    )
    return (
        f"one submission of {expected.problems} such problems: {expected.mean:.1f} "
        f"± {expected.deviation:.1f}{chance}"
    )


def comparison(both: int, pass_1: Accuracy, maj_n: Accuracy) -> str:
    """One line: how far a run is ahead of another, in points."""
    told = ", ".join(f"{name} {_gain(g)}" for name, g in (("pass@1", pass_1), ("maj", maj_n)))
    return f"ahead on {both} problems of both, paired, in points: {told}"


def _gain(gain: Accuracy) -> str:
    low, high = (100 * bound for bound in gain.interval)
    return f"{100 * gain.mean:+.1f} (95%: {low:+.1f} to {high:+.1f})"


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "unknown: the problems have no gold answers"
    low, high = accuracy.interval
    spread = "" if accuracy.over_seeds is None else f", {accuracy.over_seeds:.1%} from seed to seed"
    return f"[bold]{accuracy.mean:.1%}[/] (95% over problems {low:.1%} to {high:.1%}{spread})"


def _shares(summary: Summary) -> str:
    parts = {
        "in the engine": summary.engine_s,
        "in the sandbox": summary.sandbox_s,
        "idle": summary.idle_s,
    }
    total = sum(parts.values()) or 1.0
    return ", ".join(f"{seconds / total:.0%} {name}" for name, seconds in parts.items())


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


def pool_table(path: Path, pool: Pool) -> Table:
    """The pool in figures, a row each."""
    sampled = settings_that("same", "told")
    told = [name for name in sampled if pool.settings.get(name) not in (None, [])]
    counts = pool.present.sum(axis=1)
    some = (
        f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    )
    right, wrong = pool.present & (pool.answer == 0), pool.present & (pool.answer != 0)
    lengths = pool.tokens.sum(axis=2)
    table = Table(title=str(path), title_justify="left", show_header=False, box=None)
    for name, value in (
        ("problems", f"{len(pool.problems)}"),
        ("samples", f"{some} a problem, {counts.sum():,} in all"),
        ("seeds", ", ".join(str(seed) for seed in sorted(set(pool.seed[pool.present].tolist())))),
        ("pass@1", f"{(right.sum(axis=1) / counts).mean():.1%}"),
        (f"maj@{counts.max()}", f"{majority_accuracy(pool):.1%}"),
        ("tokens", f"{lengths.sum():,}; {_mean(lengths, right)} a right sample, "
                   f"{_mean(lengths, wrong)} a wrong one"),
        *((name, str(pool.settings[name])) for name in told),
    ):  # fmt: skip
        table.add_row(name, value)
    return table


def _mean(lengths: NDArray[np.int32], chosen: NDArray[np.bool_]) -> str:
    return f"{lengths[chosen].mean():.0f}" if chosen.any() else "none"


def thinned(front: Sequence[Forecast]) -> list[Forecast]:
    """The front from its upper end down, without what is hardly less right than the one above."""
    made: list[Forecast] = []
    for point in reversed(front):
        if not made or made[-1].accuracy - point.accuracy >= STEP:
            made.append(point)
    return made[::-1]


def grid_table(tuning: Tuning, cell: Callable[[Grid, int, int], str]) -> Table:
    """N down, M across."""
    table = Table("N", *(f"M={m}" for m in tuning.rounds))
    for i, n in enumerate(tuning.samples):
        table.add_row(str(n), *(cell(tuning.every, i, j) for j in range(len(tuning.rounds))))
    return table


def share(grid: Grid, i: int, j: int) -> str:
    """A cell: accuracy in % and half of its interval."""
    half = (grid.upper[i, j] - grid.lower[i, j]) / 2
    return f"{100 * grid.accuracy[i, j]:.1f} ±{100 * half:.1f}"


def within(grid: Grid, i: int, j: int) -> str:
    """A cell: the time of 95 of 100 runs."""
    return clock(grid.time_q95_s[i, j])


def forecasts_table(forecasts: Sequence[Forecast], tuning: Tuning) -> Table:
    """Settings, what they come to and whether they fit."""
    table = Table("N", "M", "way", "right", "90%", "time", "95 of 100")
    for o in forecasts:
        fits = "" if o.time_q95_s <= tuning.planned.plan_s else " [red]too long[/]"
        table.add_row(
            str(o.candidate.samples), str(o.candidate.rounds), o.candidate.how, f"{o.accuracy:.1%}",
            _range(*o.interval, ".1%"), clock(o.time_s), clock(o.time_q95_s) + fits,
        )  # fmt: skip
    return table


def gains_table(gains: Sequence[RuleGain]) -> Table:
    """What each vote rule gains."""
    table = Table("vote", "points over the majority", "interval")
    for gain in gains:
        low, high = (100 * bound for bound in gain.interval)
        table.add_row(gain.rule, f"{100 * gain.gain:+.2f}", _range(low, high, "+.2f"))
    return table


def comparison_table(found: Sequence[Comparison], *, timed: bool) -> Table:
    """Each pair of settings and its difference."""
    title = "the second against the first, on the same problems"
    table = Table("setting", "right", "90%", "time", "95 of 100", title=title)
    for c in found:
        for o in (c.first, c.second):
            times = (clock(o.time_s), clock(o.time_q95_s)) if timed else ("", "")
            table.add_row(str(o.candidate), f"{o.accuracy:.1%}", _range(*o.interval, ".1%"), *times)
        gain, low, high = c.gain
        slower_s = c.second.time_s - c.first.time_s
        sign = "-" if slower_s < 0 else "+"
        times = (f"{sign}{clock(abs(slower_s))}", "") if timed else ("", "")
        between = _range(100 * low, 100 * high, "+.1f")
        table.add_row("[bold]difference[/]", points(gain), between, *times, end_section=True)
    return table


def _range(low: float, high: float, form: str) -> str:
    return f"{low:{form}}..{high:{form}}"
