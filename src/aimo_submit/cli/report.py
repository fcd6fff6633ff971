"""`aimo-submit report`: parses, calls, prints."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from aimo_submit.cli.options import Commands, at_least, notes, out
from aimo_submit.cli.tune import seconds_of
from aimo_submit.errors import UserError, need

if TYPE_CHECKING:
    from aimo_submit.report.panels import Panel
    from aimo_submit.report.rows import ProblemRow
    from aimo_submit.tune.advice import Advice


def add_report_command(commands: Commands) -> None:
    """Adds `report`."""
    report = commands.add_parser(
        "report",
        help="write a pool as one HTML file: plots, a table of problems, every sample to read",
        epilog="example: aimo-submit report pool/ --profile t4x2 --limit 9h --out report/",
    )
    report.add_argument(
        "pool", type=Path, metavar="POOL", help="folder of journals, a journal, .parquet or .csv"
    )
    report.add_argument(
        "--profile",
        metavar="NAME",
        help="for plots of time: a file that `profile` wrote, or t4x2, l4x4, h100 to estimate",
    )
    report.add_argument(
        "--limit", default="9h", metavar="T", help="time limit of a run: 9h, 90m, 600s (9h)"
    )
    report.add_argument(
        "--problems", type=int, default=50, metavar="K", help="problems in a run (50)"
    )
    report.add_argument(
        "--out", type=Path, default=Path("report"), metavar="FOLDER", help="default: report/"
    )
    report.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> int:
    need("matplotlib", "report")
    need("jinja2", "report")
    at_least(1, args, "problems")
    seconds_of(args.limit)  # before all samples are read
    from aimo_submit.report.page import Page, write_report

    with tempfile.TemporaryFile() as blocks, _bar() as bar:
        settings, rows = _rows(args.pool, blocks, bar)
        panels, advice = _panels(args, rows, bar)
        page = Page(args.pool.resolve().name, settings, rows, panels, advice)
        task = bar.add_task("plots", total=len(panels))
        path = write_report(page, blocks, args.out, lambda name: bar.advance(task))
    size = path.stat().st_size / 1e6
    out.print(f"{path}  {size:.1f} MB, {len(rows)} problems; open it in a browser", soft_wrap=True)
    return 0


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(30), TimeElapsedColumn()
    return Progress(*columns, console=notes, disable=not notes.is_terminal)


def _rows(
    path: Path, blocks: BinaryIO, bar: Progress
) -> tuple[Mapping[str, Any], Sequence[ProblemRow]]:
    """The settings of the recording and a row a problem; samples go to `blocks`."""
    from aimo_submit.journal import settings_in
    from aimo_submit.pool.arrays import load_pool
    from aimo_submit.pool.reading import journals_of
    from aimo_submit.report.rows import read_rows, rows_of_pool

    if path.suffix in (".csv", ".parquet"):
        pool = load_pool(path)
        return pool.settings, rows_of_pool(pool)
    files = journals_of(path)
    settings = settings_in(files[0])
    task = bar.add_task("samples", total=sum(file.stat().st_size for file in files))
    rows = read_rows(files, blocks, lambda size: bar.advance(task, size))
    if not rows:
        raise UserError(f"{path}: no problem has been solved yet")
    return settings, rows


def _panels(
    args: argparse.Namespace, rows: Sequence[ProblemRow], bar: Progress
) -> tuple[Sequence[Panel], Advice | None]:
    """The plots, and what is recommended; without a profile that is nothing."""
    from aimo_submit.pool.arrays import load_pool
    from aimo_submit.report import figures
    from aimo_submit.tune.forecast import PlannedRun
    from aimo_submit.tune.profile import MODEL, load_profile
    from aimo_submit.tune.tuner import Tuner

    try:
        pool = load_pool(args.pool)
    except UserError as error:  # no gold answers, samples ended early: the texts can still be read
        return figures.without_pool(str(error), rows), None
    if args.profile is None:
        return figures.without_profile(pool, rows, args.problems), None
    timed = bool(pool.tokens.any())  # a table of votes names no model
    profile = load_profile(args.profile, pool.settings.get("model", MODEL) if timed else MODEL)
    planned = PlannedRun(seconds_of(args.limit), args.problems)
    task = bar.add_task("tuning", total=None)
    tuner = Tuner(pool, profile, planned, lambda line: bar.update(task, description=line))
    found = figures.of_planned_run(tuner, rows)
    bar.update(task, total=1, completed=1, description="tuning")
    return found
