"""`aimo-submit tune`: N, M and how to stop, chosen from recorded samples."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from aimo_submit.cli.options import Count, note, notes, out, say, write
from aimo_submit.cli.tables import (
    comparison_table,
    forecasts_table,
    gains_table,
    grid_table,
    share,
    thinned,
    within,
)
from aimo_submit.errors import UserError
from aimo_submit.pool.arrays import load_pool
from aimo_submit.tune import Forecast, PlannedRun
from aimo_submit.tune.advice import (
    Comparison,
    asked_of,
    compare_candidates,
    parsed,
    reason,
    toml,
    warnings,
)
from aimo_submit.tune.profile import MODEL, Profile, load_profile
from aimo_submit.tune.tuner import Choice, Grid, Tuner, Tuning

MOST_WHAT_IFS = 2


def seconds_of(limit: str) -> float:
    """The seconds in 9h, 90m, 600s or 600."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hms]?)", limit.strip())
    if found is None or float(found[1]) <= 0:
        raise UserError(f"--limit {limit}: give a time such as 9h, 90m or 600s")
    return float(found[1]) * {"h": 3600.0, "m": 60.0}.get(found[2], 1.0)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Planned:
    """The run that is planned: how many problems, in what time, on which machine.

    Args:
        profile: a file that `profile` wrote, or a machine to estimate: t4x2, l4x4, h100
            [default: none, and nothing is said of time or recommended]
        limit: time limit of a run: 9h, 90m, 600s. Four ways of spending it are compared: every
            sample (nothing ends early), early stop at p (a problem ends once the chance that its
            vote is wrong is at most p), equal shares (each problem may take the same time), and
            the solver's budget (what easy problems leave over goes to hard ones)
        problems: problems in a run
    """

    profile: str | None = None
    limit: str = "9h"
    problems: Count = 50

    def __post_init__(self) -> None:
        """Refuses a time that is none, before a pool is read."""
        seconds_of(self.limit)

    @property
    def run(self) -> PlannedRun:
        """The limits, in seconds and problems."""
        return PlannedRun(seconds_of(self.limit), self.problems)

    def profile_for(self, model: str) -> Profile | None:
        """The profile, of that model where it is estimated; None where time is left out."""
        return None if self.profile is None else load_profile(self.profile, model)


KAGGLES = Planned()


def tune(
    *,
    pool: Path,
    plan: Planned = KAGGLES,
    out: Path | None = None,
    what_if: tuple[str, ...] = (),
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Prints how accurate and how slow each setting is, and recommends one.

    Args:
        pool: what eval recorded: a folder, a journal, a .parquet export or a .csv of votes
        out: write what is recommended to this .toml
        what_if: NAME=VALUE,... with samples, rounds, early_stop, vote: compare these settings with
            what is recommended, or, given twice, with each other: --what-if samples=16,rounds=2
        as_json: print JSON in place of the tables
    """
    if len(what_if) > MOST_WHAT_IFS:
        raise UserError("--what-if: give one setting, or two to compare with each other")
    asked = [parsed(text) for text in what_if]
    with notes.status("reading the pool") as line:
        recorded = load_pool(pool)
        settings = recorded.settings
        profile = plan.profile_for(settings.get("model", MODEL))
        tuner = Tuner(recorded, profile, plan.run, line.update)
        if asked:
            found = _compared(tuner, asked)
            if as_json:
                print(json.dumps([comparison_json(c) for c in found]))
            else:
                say(comparison_table(found, timed=tuner.timed))
            return
        tuning = tuner.tuning()
    if as_json:
        print(json.dumps(tuning_json(tuning, settings)))
    else:
        _print(tuning)
        for warning in warnings(tuning, settings):
            _say("warning", f": {warning}", "yellow")
    if out and tuning.choice is None:
        raise UserError(f"nothing is recommended, so {out} was not written; see the warnings")
    if out and tuning.choice:
        write(out, toml(tuning, tuning.choice, settings))
        note(f"{out} holds the settings, for notebooks/config.toml and for --config")
    if tuning.choice and not as_json:
        _say("recommended", f": {reason(tuning, tuning.choice)}")


def _say(head: str, rest: str = "", style: str = "bold") -> None:
    """Prints a line whose head stands out."""
    out.print(Text.assemble((head, style), rest), soft_wrap=True)


def _print(tuning: Tuning) -> None:
    size = f"{tuning.problems} problems, {tuning.recorded} samples of each"
    _say("right, in %", f" ± half of the 90% interval, every sample taken: {size}")
    say(grid_table(tuning, share))
    if tuning.profile:
        name = f"{tuning.profile.name}{', estimated' if tuning.profile.estimated else ''}"
        _say("95 of 100 runs", f" of {tuning.planned.problems} problems on {name} end within")
        say(grid_table(tuning, within))
    if tuning.length_ratio:
        ratio, (low, high) = tuning.length_ratio.ratio, tuning.length_ratio.interval
        favoured = "favours them" if high < 1 else "does not favour them"
        say(
            f"wrong samples are {ratio:.2f} times as long as right ones of the same problem "
            f"({low:.2f} to {high:.2f}): early stopping {favoured}"
        )
    if tuning.choice:
        _print_choice(tuning, tuning.choice)


def _print_choice(tuning: Tuning, choice: Choice) -> None:
    chosen = choice.recommended.candidate
    name = f"N={chosen.samples} M={chosen.rounds}"
    for title, forecasts in (
        ("more accurate than all that is quicker", thinned(tuning.pareto)),
        ("with the solver's time budget", choice.budgets),
        (f"{name}, the time spent in other ways", choice.others),
    ):
        _say(title)
        say(forecasts_table(forecasts, tuning))
    _say(f"{name}, vote rules")
    say(gains_table(choice.rules))


def _compared(tuner: Tuner, asked: Sequence[Mapping[str, Any]]) -> Sequence[Comparison]:
    """Two settings on the same problems; one alone is compared with what is recommended."""
    if len(asked) == 1:
        choice = tuner.tuning().choice
        if choice is None:
            raise UserError(
                "--what-if: without --profile nothing is recommended; add it, or a second --what-if"
            )
        asked = [asked_of(choice.recommended.candidate), *asked]
    return compare_candidates(tuner, *asked)


def tuning_json(tuning: Tuning, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tuning, ready for JSON."""
    choice = tuning.choice
    return {
        "samples": tuning.samples,
        "rounds": tuning.rounds,
        **{name: _grid_json(grid) for name, grid in
           (("every_sample", tuning.every), ("early_stop", tuning.stopped))},
        "pass_at": tuning.pass_at.tolist(),
        "pareto": [_forecast_json(o) for o in tuning.pareto],
        "budget": [_forecast_json(o) for o in choice.budgets] if choice else [],
        "recommended": _forecast_json(choice.recommended) if choice else None,
        "reason": reason(tuning, choice) if choice else None,
        "warnings": warnings(tuning, settings),
    }  # fmt: skip


def _grid_json(grid: Grid) -> dict[str, Any]:
    names = ("accuracy", "lower", "upper", "time_s", "time_q95_s")
    columns = {name: getattr(grid, name) for name in names}
    return {k: [[None if x != x else x for x in row] for row in v.tolist()]
            for k, v in columns.items()}  # fmt: skip


def _forecast_json(o: Forecast) -> dict[str, Any]:
    c = o.candidate
    return {
        "setting": {"samples": c.samples, "rounds": c.rounds, "way": c.stop,
                    "early_stop": c.early_stop, "vote": c.vote},
        "accuracy": o.accuracy,
        "interval": o.interval,
        "time_s": o.time_s,
        "time_q95_s": o.time_q95_s,
    }  # fmt: skip


def comparison_json(c: Comparison) -> dict[str, Any]:
    """The comparison, ready for JSON."""
    gain, low, high = c.gain
    pair = {"first": _forecast_json(c.first), "second": _forecast_json(c.second)}
    return {**pair, "gain": gain, "gain_interval": (low, high)}
