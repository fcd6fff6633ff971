"""A tuning as tables for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from aimo_submit.offline.advice import clock, points, reason, warnings
from aimo_submit.offline.compare import Comparison
from aimo_submit.offline.outlook import Outlook
from aimo_submit.offline.tune import Grid, RuleGain, Tuning

STEP = 0.005  # of accuracy: what lies closer on the front is not printed


def thinned(front: Sequence[Outlook]) -> list[Outlook]:
    """The front from its upper end down, without what is hardly less right than the one above."""
    made: list[Outlook] = []
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


def outlooks_table(outlooks: Sequence[Outlook], tuning: Tuning) -> Table:
    """Settings, what they come to and whether they fit."""
    table = Table("N", "M", "way", "right", "90%", "time", "95 of 100")
    for o in outlooks:
        fits = "" if o.time_q95_s <= tuning.terms.plan_s else " [red]too long[/]"
        table.add_row(
            str(o.setting.samples), str(o.setting.rounds), o.setting.how, f"{o.accuracy:.1%}",
            _range(*o.interval, ".1%"), clock(o.time_s), clock(o.time_q95_s) + fits,
        )  # fmt: skip
    return table


def rules_table(gains: Sequence[RuleGain]) -> Table:
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
            table.add_row(str(o.setting), f"{o.accuracy:.1%}", _range(*o.interval, ".1%"), *times)
        gain, low, high = c.gain
        slower_s = c.second.time_s - c.first.time_s
        sign = "-" if slower_s < 0 else "+"
        times = (f"{sign}{clock(abs(slower_s))}", "") if timed else ("", "")
        between = _range(100 * low, 100 * high, "+.1f")
        table.add_row("[bold]difference[/]", points(gain), between, *times, end_section=True)
    return table


def comparison_json(c: Comparison) -> dict[str, Any]:
    """The comparison, ready for JSON."""
    gain, low, high = c.gain
    pair = {"first": _outlook_json(c.first), "second": _outlook_json(c.second)}
    return {**pair, "gain": gain, "gain_interval": (low, high)}


def _range(low: float, high: float, form: str) -> str:
    return f"{low:{form}}..{high:{form}}"


def tuning_json(tuning: Tuning, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tuning, ready for JSON."""
    choice = tuning.choice
    return {
        "samples": tuning.samples,
        "rounds": tuning.rounds,
        **{name: _grid_json(grid) for name, grid in
           (("every_sample", tuning.every), ("early_stop", tuning.stopped))},
        "pass_at": tuning.pass_at.tolist(),
        "pareto": [_outlook_json(o) for o in tuning.pareto],
        "budget": [_outlook_json(o) for o in choice.budgets] if choice else [],
        "recommended": _outlook_json(choice.recommended) if choice else None,
        "reason": reason(tuning, choice) if choice else None,
        "warnings": warnings(tuning, settings),
    }  # fmt: skip


def _grid_json(grid: Grid) -> dict[str, Any]:
    names = ("accuracy", "lower", "upper", "time_s", "time_q95_s")
    columns = {name: getattr(grid, name) for name in names}
    return {k: [[None if x != x else x for x in row] for row in v.tolist()]
            for k, v in columns.items()}  # fmt: skip


def _outlook_json(o: Outlook) -> dict[str, Any]:
    return {
        "setting": {name: getattr(o.setting, name) for name in o.setting.__slots__},
        "accuracy": o.accuracy,
        "interval": o.interval,
        "time_s": o.time_s,
        "time_q95_s": o.time_q95_s,
    }
