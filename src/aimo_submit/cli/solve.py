"""`aimo-submit solve`. It loads what one problem needs and nothing else."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from aimo_submit import show
from aimo_submit.cards import fits_context
from aimo_submit.cli.options import NONE_GIVEN, RunOptions, notes, out
from aimo_submit.errors import UserError
from aimo_submit.records import Problem, Trace
from aimo_submit.start import start_solver


def solve(
    problem: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    run: RunOptions = NONE_GIVEN,
) -> None:
    """Solves one problem; rounds go to stderr as they come, one sample's work to stdout.

    Args:
        problem: the problem's text, in quotes, or - for stdin
    """
    config, card = run.resolved()
    asked = Problem("problem", sys.stdin.read() if problem == "-" else problem)
    if not asked.text.strip():
        raise UserError("the problem is empty: give its text, in quotes")
    fits_context(card, [asked])

    def watch(problem: Problem, trace: Trace) -> None:
        line = show.round_line(trace)
        if line:
            notes.print(line)

    with notes.status(f"loading {card.name} on {config.engine}"):
        solver = start_solver(config, card, watch=watch).load()
    with solver:
        solution = solver.solve(asked)
    out.print(show.work(solution))
    out.print(show.solution_line(solution))
