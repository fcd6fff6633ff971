"""Texts to calibrate a quantisation on: whole TIR traces, in the model's own format.

What a model reads and writes at work is what its rounding errors should be small on; plain web text
lacks code, outputs and LaTeX.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from aimo_submit.errors import UserError
from aimo_submit.evaluate.problem_sets import rows_of
from aimo_submit.formats import Format
from aimo_submit.pool.reading import Index
from aimo_submit.records import Solution

HUB = "AI-MO/NuminaMath-TIR"  # what the AIMO-1 winner calibrated on
TEXTS = 256
READ = 20_000  # rows of a set that are looked at: the hub's has 70,000


class Text(NamedTuple):
    """A trace as the model saw it: what it was asked, and all that followed."""

    prompt: str
    rest: str

    @property
    def whole(self) -> str:
        """The text from its first word to its last."""
        return self.prompt + self.rest


def texts_of(source: str, format: Format, texts: int = TEXTS) -> list[Text]:
    """That many texts from a recorded pool or journal, a file of solutions or a set of the hub.

    Files and sets need the columns problem and solution. Of a pool the right samples are taken.
    """
    found = list(_recorded(Path(source), format) if _is_pool(source) else _solved(source, format))
    if not found:
        raise UserError(f"{source}: no solution in it to calibrate on")
    random.Random(0).shuffle(found)
    return found[:texts]


def _is_pool(source: str) -> bool:
    path = Path(source)
    return path.is_dir() or (path.suffix == ".jsonl" and path.is_file() and _is_journal(path))


def _is_journal(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().startswith(b'{"settings"')


def _recorded(path: Path, format: Format) -> Iterator[Text]:
    """One right sample of each problem and seed that has any."""
    index = Index(path)
    for problem in index.problems:
        for solution in index.solutions(problem):
            yield from islice(_right(solution, format), 1)


def _right(solution: Solution, format: Format) -> Iterator[Text]:
    gold = solution.problem.answer
    for trace in solution.traces:
        if trace.answer is not None and gold in (None, trace.answer):
            yield Text(format.prompt(solution.problem.text), trace.text)


def _solved(source: str, format: Format) -> Iterator[Text]:
    for where, row in islice(rows_of(source), READ):
        yield Text(format.prompt(_column(where, row, "problem")), _column(where, row, "solution"))


def _column(where: str, row: Mapping[str, Any], name: str) -> str:
    if not isinstance(row.get(name), str):
        raise UserError(f"{where} has no text in the column {name}")
    return str(row[name])
