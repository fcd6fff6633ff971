"""`aimo-submit doctor`: examines, prints."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from aimo_submit.cli.options import Commands, out
from aimo_submit.doctor import Finding


def add_doctor_command(commands: Commands) -> None:
    """Adds `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="what this machine offers, what is missing for which job, and how to mend it",
        epilog="example: aimo-submit doctor",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="folder of kernel-metadata.json (here)"
    )
    parser.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from aimo_submit.doctor.examine import decides, examine, to_do
    from aimo_submit.doctor.kaggle import Surroundings
    from aimo_submit.kaggle.runtime.mounts import input_root

    topics = examine(Surroundings(os.environ, Path.home(), args.folder, input_root()))
    for topic, found in topics.items():
        out.print(_table(topic, found))
    jobs = to_do(topics)
    out.print("to do" if jobs else "to do: nothing", style="bold")
    for job, fix in jobs:
        out.print(f"  {escape(job)}: [cyan]{escape(fix)}[/]", soft_wrap=True)
    return 0 if decides(topics) else 1


def _table(topic: str, found: list[Finding]) -> Table:
    table = Table(title=topic, title_justify="left")
    for column in ("", "found", "missing for"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(escape(one.what), escape(one.found), f"[yellow]{escape(one.job)}[/]")
    return table
