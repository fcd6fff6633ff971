"""`aimo-submit tune`: parses, calls, prints. Results on stdout, notes on stderr."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimo_submit.cli.options import Commands, at_least, notes, out
from aimo_submit.errors import UserError

if TYPE_CHECKING:
    from aimo_submit.tune.tuner import Choice, Tuner, Tuning

EXAMPLES = """examples:
  aimo-submit tune --pool pool/ --profile t4x2 --limit 9h --out tuned.toml
  aimo-submit tune --pool pool/ --profile t4x2 --what-if samples=16,rounds=2 --what-if samples=48

ways of spending the time, as the tables call them:
  every sample     nothing ends early
  early stop at p  a problem ends once the chance that its vote is wrong is at most p
  equal shares     each problem may take the same time
  budget           the solver's: what easy problems leave over goes to hard ones
"""
MOST_WHAT_IFS = 2


def add_tune_command(commands: Commands) -> None:
    """Adds the command."""
    tune = commands.add_parser(
        "tune",
        help="choose samples, rounds and how to stop from a recorded pool",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tune.add_argument(
        "--pool", type=Path, required=True, metavar="POOL", help="what eval recorded: a folder, a "
        "journal, a .parquet export or a .csv of votes",
    )  # fmt: skip
    tune.add_argument(
        "--profile", metavar="NAME", help="a file that `profile` wrote, or a machine to estimate: "
        "t4x2, l4x4, h100 (without: accuracy only, and nothing is recommended)",
    )  # fmt: skip
    tune.add_argument(
        "--limit", default="9h", metavar="T", help="time limit of a run: 9h, 90m, 600s (9h)"
    )
    tune.add_argument(
        "--problems", type=int, default=50, metavar="K", help="problems in a run (50)"
    )
    tune.add_argument("--out", type=Path, metavar="FILE", help="write what is recommended (TOML)")
    tune.add_argument(
        "--what-if", action="append", default=[], metavar="NAME=VALUE,...", help="compare these "
        "settings with what is recommended, or two of them with each other: samples, rounds, "
        "early_stop, vote",
    )  # fmt: skip
    tune.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    tune.set_defaults(run=_tune)


def seconds_of(limit: str) -> float:
    """The seconds in 9h, 90m, 600s or 600."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hms]?)", limit.strip())
    if found is None or float(found[1]) <= 0:
        raise UserError(f"--limit {limit}: give a time such as 9h, 90m or 600s")
    return float(found[1]) * {"h": 3600.0, "m": 60.0}.get(found[2], 1.0)


def _tune(args: argparse.Namespace) -> int:
    from aimo_submit.pool.arrays import load_pool
    from aimo_submit.tune.advice import parsed
    from aimo_submit.tune.forecast import PlannedRun
    from aimo_submit.tune.tuner import Tuner

    planned = PlannedRun(seconds_of(args.limit), args.problems)
    at_least(1, args, "problems")
    if len(args.what_if) > MOST_WHAT_IFS:
        raise UserError("--what-if: give one setting, or two to compare with each other")
    asked = [parsed(text) for text in args.what_if]
    with notes.status("reading the pool") as line:
        pool = load_pool(args.pool)
        profile = _profile(args.profile, pool.settings)
        tuner = Tuner(pool, profile, planned, line.update)
        if asked:
            return _what_if(tuner, asked, args)
        tuning = tuner.tuning()
    _report(tuning, pool.settings, args)
    return 0


def _profile(name: str | None, settings: Mapping[str, Any]) -> Any:
    from aimo_submit.tune.profile import MODEL, load_profile

    if name is None:
        return None
    return load_profile(name, settings.get("model", MODEL))


def _report(tuning: Tuning, settings: Mapping[str, Any], args: argparse.Namespace) -> None:
    from aimo_submit.cli.tables import tuning_json
    from aimo_submit.tune.advice import reason, toml, warnings

    if args.json:
        print(json.dumps(tuning_json(tuning, settings)))
    else:
        _print(tuning)
        for line in warnings(tuning, settings):
            _say(f"[yellow]warning[/]: {line}")
    choice = tuning.choice
    if args.out and choice:
        _write(args.out, toml(tuning, choice, settings))
        notes.print(
            f"{args.out} holds the settings, for notebooks/config.toml and for --config",
            soft_wrap=True,
        )
    elif args.out:
        raise UserError(f"nothing is recommended, so {args.out} was not written; see the warnings")
    if choice and not args.json:
        _say(f"[bold]recommended[/]: {reason(tuning, choice)}")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another --out") from error


def _print(tuning: Tuning) -> None:
    from aimo_submit.cli.tables import grid_table, share, within

    size = f"{tuning.problems} problems, {tuning.recorded} samples of each"
    _say(f"[bold]right, in %[/] ± half of the 90% interval, every sample taken: {size}")
    out.print(grid_table(tuning, share))
    if tuning.profile:
        name = f"{tuning.profile.name}{', estimated' if tuning.profile.estimated else ''}"
        _say(f"[bold]95 of 100 runs[/] of {tuning.planned.problems} problems on {name} end within")
        out.print(grid_table(tuning, within))
    if tuning.length_ratio:
        ratio, (low, high) = tuning.length_ratio.ratio, tuning.length_ratio.interval
        _say(
            f"wrong samples are {ratio:.2f} times as long as right ones of the same problem "
            f"({low:.2f} to {high:.2f}): early stopping "
            + ("favours them" if high < 1 else "does not favour them")
        )
    if tuning.choice:
        _print_choice(tuning, tuning.choice)


def _print_choice(tuning: Tuning, choice: Choice) -> None:
    from aimo_submit.cli.tables import forecasts_table, gains_table, thinned

    candidate = choice.recommended.candidate
    name = f"N={candidate.samples} M={candidate.rounds}"
    for title, forecasts in (
        ("more accurate than all that is quicker", thinned(tuning.pareto)),
        ("with the solver's time budget", choice.budgets),
        (f"{name}, the time spent in other ways", choice.others),
    ):
        _say(f"[bold]{title}[/]")
        out.print(forecasts_table(forecasts, tuning))
    _say(f"[bold]{name}, vote rules[/]")
    out.print(gains_table(choice.rules))


def _what_if(tuner: Tuner, asked: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> int:
    """Two settings on the same problems; one alone is compared with what is recommended."""
    from aimo_submit.cli.tables import comparison_json, comparison_table
    from aimo_submit.tune.advice import asked_of, compare_candidates

    if len(asked) == 1:
        choice = tuner.tuning().choice
        if choice is None:
            raise UserError(
                "--what-if: without --profile nothing is recommended; add it, or a second --what-if"
            )
        asked = [asked_of(choice.recommended.candidate), *asked]
    found = compare_candidates(tuner, *asked)
    if args.json:
        print(json.dumps([comparison_json(c) for c in found]))
    else:
        out.print(comparison_table(found, timed=tuner.timed))
    return 0


def _say(line: str) -> None:
    out.print(line, soft_wrap=True, highlight=False)
