"""`aimo-submit rehearse`: parses, calls, prints."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from aimo_submit.cli.console import FAILED, note, say
from aimo_submit.cli.options import Commands, at_least, notes, out
from aimo_submit.competition import competition_named, names
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.kaggle.rehearsal.rehearsal import SHOWN, Plan, Tell, checked, rehearse
from aimo_submit.kaggle.rehearsal.tree import LAYOUTS
from aimo_submit.kaggle.rehearsal.verdict import Result
from aimo_submit.toml import parse_value, read_toml

RUNS = {"both": (False, True), "interactive": (False,), "rerun": (True,)}


def add_rehearse_command(commands: Commands) -> None:
    """Adds `rehearse`."""
    parser = commands.add_parser(
        "rehearse",
        help="run the built notebook as Kaggle would, offline, and judge it",
        epilog="example: aimo-submit rehearse tiny --limit 5 --chaos engine-hangs disk-full",
    )
    parser.add_argument("problems", nargs="?", default="tiny", metavar="SET", help="a set (tiny)")
    parser.add_argument("--limit", type=int, default=5, metavar="K", help="first K problems (5)")
    parser.add_argument("--edition", help="a competition, or its TOML file (the kernel's)")
    parser.add_argument("--model", default="tiny-tir", metavar="CARD", help="its card (tiny-tir)")
    parser.add_argument("--engine", default="transformers", metavar="NAME", help="(transformers)")
    parser.add_argument("--scripted", action="store_true", help="a scripted engine, no model")
    parser.add_argument(
        "--speed",
        type=float,
        default=60.0,
        metavar="X",
        help="times as fast as Kaggle's clock goes (60)",
    )
    parser.add_argument("--layout", choices=LAYOUTS, default="new", help="of the mounts (new)")
    parser.add_argument(
        "--package",
        type=Path,
        metavar="DIR",
        help="the downloaded kaggle_evaluation (default: in the folder, else a stand-in)",
    )
    parser.add_argument("--run", dest="runs", choices=RUNS, default="both", help="which (both)")
    parser.add_argument(
        "--chaos", nargs="+", default=[], metavar="CASE", help="what goes wrong: names, A+B, or all"
    )
    parser.add_argument(
        "-c",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other setting: -c samples=8",
    )
    parser.add_argument("--notebook", type=Path, metavar="FILE", help="this one, as it is")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to keep what runs leave")
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="folder of kernel-metadata.json (here)"
    )
    parser.set_defaults(run=_rehearse)  # fmt: skip


def _rehearse(args: argparse.Namespace) -> int:
    from aimo_submit.kaggle.rehearsal.faults import cases_of

    plan = checked(_plan(args))
    cases = cases_of(args.chaos, args.engine) or [""]
    results = [
        _watched(plan, rerun=rerun, case=case) for case in cases for rerun in RUNS[args.runs]
    ]
    out.print(_table(results))
    for result in results:
        for line in _lines(result):
            say(line)
    passed = sum(result.passed for result in results)
    verdict = f"{passed} of {len(results)} runs passed"
    say(f"{verdict}; what they left is in {args.keep}" if args.keep else verdict)
    if passed < len(results):
        return FAILED
    if not args.chaos and not args.scripted and args.runs == "both" and not args.notebook:
        _mark(args.folder, plan, verdict)
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    from aimo_submit.cards import load_card
    from aimo_submit.evaluate.problem_sets import load_problems

    at_least(1, args, "limit")
    if args.speed <= 0:
        raise UserError(f"--speed {args.speed}: must be more than 0")
    if args.notebook and not args.notebook.is_file():
        raise UserError(f"no notebook {args.notebook}; make one: aimo-submit build")
    if args.keep and args.keep.exists() and not args.keep.is_dir():
        raise UserError(f"--keep {args.keep}: is a file; name a folder")
    edition = args.edition or _edition(args.folder)
    settings = {"engine": args.engine} | dict(parse_value(given) for given in args.settings)
    Config.of(settings)
    return Plan(
        notebook=args.notebook or _built(args.folder),
        edition=edition,
        problems=load_problems(args.problems, competition_named(edition))[: args.limit],
        card=load_card(args.model),
        layout=args.layout,
        package=_package(args.package, args.folder, edition),
        speed=args.speed,
        settings=settings,
        scripted=args.scripted,
        keep=args.keep,
    )


def _edition(folder: Path) -> str:
    """The edition of the kernel's competition, else that of the notebook's settings."""
    from aimo_submit.kaggle.client.bundle import CONFIG
    from aimo_submit.kaggle.client.gate import edition_for

    known = edition_for(folder)
    if known != "any":
        return known
    file = folder / CONFIG
    edition = Config.of(read_toml(file)).edition if file.is_file() else Config().edition
    if competition_named(edition).package is None:
        known = ", ".join(name for name in names() if competition_named(name).package)
        raise UserError(f"{edition} has no gateway: name one of {known} with --edition")
    return edition


def _built(folder: Path) -> Path:
    """The folder's notebook, built anew where the tree has changed."""
    from aimo_submit.kaggle.client.bundle import SUBMISSION, build, stale

    return build(folder) if stale(folder) else folder / SUBMISSION


def _package(given: Path | None, folder: Path, edition: str) -> Path | None:
    """The competition's own package, where it is given or lies in the folder."""
    facts = competition_named(edition).package
    assert facts  # `_edition` has seen to that
    name, file = facts.file
    for place in (given,) if given else (folder,):
        for package in (place, place / name):
            if package.resolve().name == name and (package / file).is_file():
                return package.resolve()
    if given:
        raise UserError(f"{given} holds no {name}/{file}: give the folder that was downloaded")
    return None


def _mark(folder: Path, plan: Plan, verdict: str) -> None:
    from aimo_submit.kaggle.client import gate

    package = "the competition's package" if plan.package else "the stand-in"
    model = plan.card.name
    why = f"{verdict}: {len(plan.problems)} problems, {model}, {package}"
    gate.note(folder, plan.edition, why)
    say("next: aimo-submit push")


def _watched(plan: Plan, *, rerun: bool, case: str) -> Result:
    kind = "rerun" if rerun else "interactive run"
    with _progress(f"{kind}, {case}" if case else kind, plan, rerun) as tell:
        return rehearse(plan, rerun=rerun, case=case, tell=tell)


@contextmanager
def _progress(name: str, plan: Plan, rerun: bool) -> Iterator[Tell]:
    """Shows problem i of n, the time used, and the limit."""
    total = len(plan.problems) if rerun else min(SHOWN, len(plan.problems))
    limit = TextColumn(f"of {plan.limit_s:.0f} s")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    quiet = not notes.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), limit, console=notes, transient=True, disable=quiet
    ) as bar:
        task = bar.add_task(name, total=total)

        def tell(event: Mapping[str, Any]) -> None:
            if "answered" in event:
                bar.update(task, completed=event["answered"])
            if "answered" in event and quiet:
                note(f"{name}: {event['answered']} of {total}")

        yield tell


def _table(results: list[Result]) -> Table:
    """What came out, a line a run."""
    table = Table(title="rehearsal")
    for name in ("case", "run", "answers", "fallbacks", "seconds", "limit", ""):
        table.add_column(name, justify="right" if name in _NUMBERS else "left")
    for result in results:
        table.add_row(
            result.case or "plain",
            result.run,
            f"{result.rows}/{result.problems}",
            "-" if result.fallbacks is None else str(result.fallbacks),
            f"{result.used_s:.0f}",
            f"{result.limit_s:.0f}",
            _word(result),
        )
    return table


_NUMBERS = ("answers", "fallbacks", "seconds", "limit")


def _word(result: Result) -> str:
    if not result.passed:
        return "FAILED"
    return "stopped" if result.stopped else "passed"


def _lines(result: Result) -> Iterator[str]:
    """What there is to say beside the table."""
    name = f"{result.case or 'plain'}, {result.run}"
    if result.stopped and result.passed:
        yield f"{name}: rightly stopped: {result.stopped}"
    for line in result.injected:
        yield f"{name}: {line}"
    for line in result.against:
        yield f"{name}: FAILED: {line}"
