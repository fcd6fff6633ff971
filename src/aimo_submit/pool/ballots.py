"""Ballots, on which vote rules are compared: of a journal, or of a table of others' votes.

The table is a .csv with a row a sample. Its columns are problem_id, answer (gold), logged_answer
(the sample's) and, where they are known, boxed (the content of its box) and has_code. Rules that
weigh anything else that a sample wrote or ran cannot tell such samples apart: to them this is a
majority.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.answers import extract
from aimo_submit.errors import UserError
from aimo_submit.journal import Journal, solutions_in
from aimo_submit.pool import Recording
from aimo_submit.records import Completion, Finish, Problem, Round, Solution, Status, Trace
from aimo_submit.vote import RULES, confidence, how_won


@dataclass(frozen=True, slots=True)
class Ballot:
    """The samples of one problem in one run, and the gold answer."""

    problem: str
    gold: int
    traces: Sequence[Trace]


def ballots_in(path: Path) -> Iterator[Ballot]:
    """Reads the ballots of a table, or of a journal one at a time; none at all is a UserError."""
    found = _table(path) if path.suffix == ".csv" else ballots_of(solutions_in(path))
    first = next(found, None)
    if first is None:
        raise UserError(f"{path}: no sample has a gold answer to compare with")
    yield first
    yield from found


def ballots_of(solutions: Iterable[Solution]) -> Iterator[Ballot]:
    """The ballots of the solutions whose gold answer is known."""
    for s in solutions:
        if s.problem.answer is not None:
            yield Ballot(f"{s.problem.id} {s.problem.text}", s.problem.answer, s.traces)


def from_votes(path: Path) -> Recording:
    """The samples of a table of votes, one round each."""
    recording = Recording(_settings(path))
    for ballot in ballots_in(path):
        recording.add(_solution(ballot))
    return recording


def import_votes(path: Path, target: Path) -> int:
    """Writes a table of votes as a journal and counts its problems."""
    ballots = list(ballots_in(path))
    if target.exists():
        raise UserError(f"{target} is there already; choose another name")
    with Journal(target, _settings(path)) as journal:
        for ballot in ballots:
            journal.append(_solution(ballot))
    return len(ballots)


def _settings(path: Path) -> dict[str, Any]:
    return {"model": path.stem, "rounds": 1}


def _solution(ballot: Ballot) -> Solution:
    traces: list[Trace] = list(ballot.traces)
    votes = RULES["majority"](traces)
    answer = votes[0].answer if votes else 0
    reason = how_won(votes) if votes else "no sample answered"
    problem, sure = Problem(ballot.problem, "", ballot.gold), confidence(traces, answer)
    return Solution(problem, answer, votes, traces, 0, 0.0, reason, sure, fallback=not votes)


def _table(path: Path) -> Iterator[Ballot]:
    ballots: dict[str, tuple[int, list[Trace]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                _, traces = ballots.setdefault(row["problem_id"], (int(row["answer"]), []))
                traces.append(_trace(len(traces), row))
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(
            f"cannot read {path} ({error}); it needs the columns problem_id, answer, logged_answer"
        ) from error
    return (Ballot(name, gold, traces) for name, (gold, traces) in ballots.items())


def _trace(sample: int, row: Mapping[str, str]) -> Trace:
    box = f"\\boxed{{{row['boxed']}}}" if row.get("boxed") else ""
    answer = extract(f"\\boxed{{{row['logged_answer']}}}")
    rounds = [
        Round(Completion(box, (), Finish.EOS, 0.0), code="" if row.get("has_code") == "1" else None)
    ]
    answer = extract(box) if answer is None else answer
    return Trace(sample, rounds, Status.FAILED if answer is None else Status.ANSWERED, answer)
