"""pool.ballots"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aimo_submit.answers import extract
from aimo_submit.errors import UserError
from aimo_submit.journal import read_journal
from aimo_submit.records import Completion, Finish, Round, Solution, Status, Trace


@dataclass(frozen=True, slots=True)
class Ballot:
    """The samples of one problem in one run, and the gold answer."""

    problem: str
    gold: int
    traces: Sequence[Trace]


def load_ballots(path: Path) -> list[Ballot]:
    """The ballots of a journal, or of a .csv with a row a sample.

    The table's columns are problem_id, answer (gold), logged_answer (the sample's) and, where they
    are known, boxed (the content of its box) and has_code. Rules that weigh anything else that a
    sample wrote or ran cannot tell such samples apart: to them this is a majority.
    """
    ballots = _table(path) if path.suffix == ".csv" else ballots_of(read_journal(path)[1])
    if not ballots:
        raise UserError(f"{path}: no sample has a gold answer to compare with")
    return ballots


def ballots_of(solutions: Sequence[Solution]) -> list[Ballot]:
    """The ballots of the solutions whose gold answer is known."""
    return [
        Ballot(f"{s.problem.id} {s.problem.text}", s.problem.answer, s.traces)
        for s in solutions
        if s.problem.answer is not None
    ]


def _table(path: Path) -> list[Ballot]:
    ballots: dict[str, tuple[int, list[Trace]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                _, traces = ballots.setdefault(row["problem_id"], (int(row["answer"]), []))
                traces.append(_recorded(len(traces), row))
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(
            f"cannot read {path} ({error}); it needs the columns problem_id, answer, logged_answer"
        ) from error
    return [Ballot(name, gold, traces) for name, (gold, traces) in ballots.items()]


def _recorded(sample: int, row: Mapping[str, str]) -> Trace:
    box = f"\\boxed{{{row['boxed']}}}" if row.get("boxed") else ""
    answer = extract(f"\\boxed{{{row['logged_answer']}}}")
    written = Completion(box, (), Finish.EOS, 0.0)
    rounds = [Round(written, code="" if row.get("has_code") == "1" else None)]
    answer = extract(box) if answer is None else answer
    return Trace(sample, rounds, Status.FAILED if answer is None else Status.ANSWERED, answer)
