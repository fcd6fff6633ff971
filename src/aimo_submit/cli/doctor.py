"""`aimo-submit doctor`: examines, prints."""

from __future__ import annotations

import os
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from aimo_submit.cli.options import FAILED, Folder, out, say
from aimo_submit.doctor import Check
from aimo_submit.doctor.examine import Environment, decides, examine, to_do
from aimo_submit.kaggle.runtime.mounts import input_root


def doctor(*, folder: Folder = Path()) -> int:
    """Prints what is here, what is missing for which job, and the remedies."""
    topics = examine(Environment(os.environ, Path.home(), folder, input_root()))
    for topic, found in topics.items():
        say(checks_table(topic, found))
    jobs = to_do(topics)
    out.print("to do" if jobs else "to do: nothing", style="bold")
    for job, fix in jobs:
        say(f"  {escape(job)}: [cyan]{escape(fix)}[/]", markup=True)
    return 0 if decides(topics) else FAILED


def checks_table(topic: str, found: list[Check]) -> Table:
    """Makes a table of what was found about a topic, and what is missing for which job."""
    table = Table(title=topic, title_justify="left")
    for column in ("", "found", "missing for"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(escape(one.name), escape(one.found), f"[yellow]{escape(one.job)}[/]")
    return table
