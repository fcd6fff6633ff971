"""The record of a run: every trace, a table to read first, and lines of progress for programs.

Files are written by a thread of its own, so that a full or hung disk can neither fail nor delay an
answer.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import logging
import queue
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from aimo_submit.journal import Journal, replace_text
from aimo_submit.records import Solution

log = logging.getLogger(__name__)

WAIT_S = 5.0  # that an answer may be held back for its traces to be on disk
_ANSWERED = '{"answered": '  # begins a line of progress


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One problem's line in the table."""

    problem: str
    answer: int
    votes: str  # answer:weight, best first
    margin: float
    confidence: float | None
    given_s: float | None
    used_s: float
    stopped: str
    reason: str


def row_of(solution: Solution, given_s: float | None, used_s: float, stopped: str) -> SummaryRow:
    """The line of a solution in the table."""
    sure = solution.confidence
    return SummaryRow(
        problem=solution.problem.id,
        answer=solution.answer,
        votes=" ".join(f"{vote.answer}:{vote.weight:g}" for vote in solution.votes),
        margin=round(solution.margin, 3),
        confidence=None if sure is None else round(sure, 3),
        given_s=None if given_s is None else round(given_s, 1),
        used_s=round(used_s, 1),
        stopped=stopped,
        reason=solution.reason,
    )


def progress(answered: int, row: SummaryRow) -> str:
    """A line that tells programs how many problems are answered, and the last one's answer."""
    told = {
        "answered": answered,
        "problem": row.problem,
        "answer": row.answer,
        "used_s": row.used_s,
    }
    return json.dumps(told)


def read_progress(line: str) -> int | None:
    """The number of answered problems in a line of progress; None for any other line."""
    if not line.startswith(_ANSWERED):
        return None
    with suppress(ValueError, KeyError, TypeError):
        return int(json.loads(line)["answered"])
    return None


class Recorder:
    """`traces-K.jsonl`, a journal, and `summary-K.csv` in a folder; K is the first free number."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder, self._settings = folder, settings
        self._number: int | None = None
        self._rows: list[SummaryRow] = []
        self._entries: queue.SimpleQueue[tuple[Solution, SummaryRow, threading.Event] | None]
        self._entries = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="recorder")
        self._thread.start()

    def record(self, solution: Solution, row: SummaryRow, wait_s: float = WAIT_S) -> bool:
        """True once the solution was dealt with; False after the wait: it will be later."""
        done = threading.Event()
        self._entries.put((solution, row, done))
        return done.wait(wait_s)

    def close(self) -> None:
        """Writes what is outstanding, if that is possible."""
        self._entries.put(None)
        self._thread.join(WAIT_S)

    def _serve(self) -> None:
        journal: Journal | None = None
        while entry := self._entries.get():
            solution, row, done = entry
            self._rows.append(row)
            try:
                journal = journal or self._open()
                self._write(journal, solution)
            except Exception as error:  # whatever the disk does: the answers are worth more
                log.error("problem %s is not recorded: %s", row.problem, error)
                _close(journal)
                journal = None  # opened again, it cuts off what was torn
            finally:
                done.set()
        _close(journal)

    def _open(self) -> Journal:
        if self._number is None:
            self._number = next(k for k in count(1) if not self._path(k).exists())
        return Journal(self._path(self._number), self._settings)

    def _path(self, number: int) -> Path:
        return self._folder / f"traces-{number}.jsonl"

    def _write(self, journal: Journal, solution: Solution) -> None:
        journal.append(solution)
        write_table(self._folder / f"summary-{self._number}.csv", self._rows)


def write_table(path: Path, rows: list[SummaryRow]) -> None:
    """Replaces the table, so that a kill leaves the old one or the new one."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(field.name for field in dataclasses.fields(SummaryRow))
    writer.writerows(dataclasses.astuple(row) for row in rows)
    replace_text(path, text.getvalue())


def _close(journal: Journal | None) -> None:
    try:
        if journal is not None:
            journal.close()
    except OSError as error:
        log.error("closing %s: %s", journal and journal.path, error)
