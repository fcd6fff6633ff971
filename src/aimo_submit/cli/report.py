"""`aimo-submit report`: a pool as one HTML file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from aimo_submit.cli.options import notes, say
from aimo_submit.cli.tune import KAGGLES, Planned
from aimo_submit.errors import UserError, need
from aimo_submit.journal import settings_in
from aimo_submit.pool import journals_of
from aimo_submit.pool.arrays import load_pool
from aimo_submit.report import page
from aimo_submit.report.page import Page, write_report
from aimo_submit.report.panels import Panel
from aimo_submit.report.rows import ProblemRow, read_rows, rows_of_pool
from aimo_submit.tune.advice import Advice
from aimo_submit.tune.profile import MODEL
from aimo_submit.tune.tuner import Tuner


def report(pool: Path, /, *, plan: Planned = KAGGLES, out: Path = Path("report")) -> None:
    """Writes a pool as one HTML file, and each plot as a PNG.

    Args:
        pool: folder of journals, a journal, a .parquet export or a .csv of votes
        out: folder to write to
    """
    need("matplotlib", "report")
    need("jinja2", "report")
    with tempfile.TemporaryFile() as blocks, _bar() as bar:
        settings, rows = _rows(pool, blocks, bar)
        panels, advice = _panels(pool, plan, rows, bar)
        page = Page(pool.resolve().name, settings, rows, panels, advice)
        task = bar.add_task("plots", total=len(panels))
        path = write_report(page, blocks, out, lambda name: bar.advance(task))
    size = path.stat().st_size / 1e6
    say(f"{path}  {size:.1f} MB, {len(rows)} problems; open it in a browser")


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(30), TimeElapsedColumn()
    return Progress(*columns, console=notes, disable=not notes.is_terminal)


def _rows(
    path: Path, blocks: BinaryIO, bar: Progress
) -> tuple[Mapping[str, Any], Sequence[ProblemRow]]:
    """The settings of the recording and a row a problem; samples go to `blocks`."""
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
    path: Path, plan: Planned, rows: Sequence[ProblemRow], bar: Progress
) -> tuple[Sequence[Panel], Advice | None]:
    """The plots, and what is recommended; without a profile that is nothing."""
    try:
        pool = load_pool(path)
    except UserError as error:  # no gold answers, samples ended early: the texts can still be read
        return page.without_pool(str(error), rows), None
    timed = bool(pool.tokens.any())  # a table of votes names no model
    profile = plan.profile_for(pool.settings.get("model", MODEL) if timed else MODEL)
    if profile is None:
        return page.without_profile(pool, rows, plan.problems), None
    task = bar.add_task("tuning", total=None)
    tuner = Tuner(pool, profile, plan.run, lambda line: bar.update(task, description=line))
    found = page.of_planned_run(tuner, rows)
    bar.update(task, total=1, completed=1, description="tuning")
    return found
