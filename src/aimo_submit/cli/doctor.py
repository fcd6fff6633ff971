"""`aimo-submit doctor`: examines, prints."""

from __future__ import annotations

import os
from pathlib import Path

from rich.markup import escape

from aimo_submit.cli.kaggle import Folder
from aimo_submit.cli.options import FAILED, out, say
from aimo_submit.cli.tables import findings_table
from aimo_submit.doctor.examine import decides, examine, to_do
from aimo_submit.doctor.kaggle import Surroundings
from aimo_submit.kaggle.runtime.mounts import input_root


def doctor(*, folder: Folder = Path()) -> int:
    """Prints what is here, what is missing for which job, and the remedies."""
    topics = examine(Surroundings(os.environ, Path.home(), folder, input_root()))
    for topic, found in topics.items():
        say(findings_table(topic, found))
    jobs = to_do(topics)
    out.print("to do" if jobs else "to do: nothing", style="bold")
    for job, fix in jobs:
        say(f"  {escape(job)}: [cyan]{escape(fix)}[/]", markup=True)
    return 0 if decides(topics) else FAILED
