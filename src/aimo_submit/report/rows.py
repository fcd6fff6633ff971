"""Each problem of a report: a row of figures, and its samples packed to be opened later.

Journals are read line by line: memory holds the rows, one problem's samples and no texts but the
problem's own.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from aimo_submit.journal import solutions_in
from aimo_submit.pool.arrays import Pool
from aimo_submit.records import Round, Solution, Trace

SHOWN = 300  # characters of a problem in the table; its samples hold all of it


@dataclass(slots=True)
class ProblemRow:
    """One problem over all its seeds; `blocks` are the numbers of its packed samples."""

    id: str
    text: str
    gold: int | None
    answers: list[int] = field(default_factory=list)  # of each seed
    votes: Counter[int] = field(default_factory=Counter)  # the earliest sample's answer first
    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    blocks: list[int] = field(default_factory=list)

    @property
    def answer(self) -> int:
        """The answer given; of several seeds that of all their samples together."""
        if len(self.answers) == 1 or not self.votes:
            return self.answers[0]
        return self.votes.most_common(1)[0][0]

    @property
    def right(self) -> bool | None:
        """True if the answer is the gold answer; None where that is unknown."""
        return None if self.gold is None else self.answer == self.gold

    @property
    def pass_1(self) -> float | None:
        """The share of right samples; None where the gold answer is unknown."""
        return None if self.gold is None else self.votes[self.gold] / max(1, self.samples)

    @property
    def first_two(self) -> tuple[int, int]:
        """The votes of the first answer and of the second."""
        first, second, *_ = (*(n for _, n in self.votes.most_common(2)), 0, 0)
        return first, second

    @property
    def margin(self) -> float:
        """The lead of the first answer over the second as a share of all votes."""
        first, second = self.first_two
        return (first - second) / (self.votes.total() or 1)

    def add(self, found: Solution, block: int) -> None:
        """Takes in the samples of one more seed."""
        self.answers.append(found.answer)
        self.votes.update(t.answer for t in found.traces if t.answer is not None)
        self.samples += len(found.traces)
        self.tokens += sum(trace.n_tokens for trace in found.traces)
        self.seconds += found.seconds
        self.blocks.append(block)


def read_rows(
    files: Sequence[Path], blocks: BinaryIO, advance: Callable[[int], None] = lambda size: None
) -> list[ProblemRow]:
    """The rows of the journals; the samples go to `blocks` as they are read, one element a seed.

    `advance` hears the bytes read. A solution that stands in two journals counts once.
    """
    rows: dict[tuple[str, str], ProblemRow] = {}
    seen: set[tuple[str, str, int]] = set()
    for found in (each for file in files for each in solutions_in(file, advance)):
        problem = found.problem
        key = problem.id, problem.text
        if (*key, found.seed) in seen:
            continue
        row = rows.setdefault(key, ProblemRow(problem.id, problem.text[:SHOWN], problem.answer))
        row.add(found, len(seen))
        blocks.write(_element(len(seen), _packed(found)))
        seen.add((*key, found.seed))
    return list(rows.values())


def rows_of_pool(pool: Pool) -> list[ProblemRow]:
    """The rows of a pool without texts: a table of votes, an export."""
    return [_row_of_pool(pool, p) for p in range(len(pool.problems))]


def row_json(row: ProblemRow) -> Mapping[str, Any]:
    """The row as the page reads it; answers are strings, since JavaScript rounds large integers."""
    return {
        "id": row.id,
        "text": row.text,
        "gold": _string(row.gold),
        "answer": str(row.answer),
        "right": row.right,
        "samples": row.samples,
        "votes": [(str(answer), n) for answer, n in row.votes.most_common()],
        "margin": round(row.margin, 4),
        "pass": row.pass_1 if row.pass_1 is None else round(row.pass_1, 4),
        "tokens": row.tokens,
        "seconds": round(row.seconds, 2),
        "blocks": row.blocks,
    }


def _row_of_pool(pool: Pool, p: int) -> ProblemRow:
    there = pool.present[p]
    row = ProblemRow(pool.problems[p], "", pool.golds[p], samples=int(there.sum()))
    row.votes.update(pool.values[p][code] for code in pool.answer[p][there] if code >= 0)
    row.answers.append(row.votes.most_common(1)[0][0] if row.votes else 0)
    row.tokens = int(pool.tokens[p].sum())
    row.seconds = float((pool.engine_s[p] + pool.code_s[p]).sum(axis=1).max(initial=0.0))
    return row


def _element(number: int, packed: str) -> bytes:
    return f'<script type="text/plain" id="b{number}">{packed}</script>\n'.encode()


def _packed(found: Solution) -> str:
    """Packs the solution as the page shows it: deflated, as base64."""
    shown = {
        "text": found.problem.text,
        "seed": found.seed,
        "answer": str(found.answer),
        "reason": found.reason,
        "samples": [_sample(trace) for trace in found.traces],
    }
    deflate = zlib.compressobj(6, wbits=-15)
    content = json.dumps(shown, separators=(",", ":")).encode()
    return base64.b64encode(deflate.compress(content) + deflate.flush()).decode()


def _sample(trace: Trace) -> Mapping[str, Any]:
    kept = {name: getattr(trace, name) for name in ("sample", "status", "reason")}
    rounds = [_turn(turn) for turn in trace.rounds]
    return {**kept, "answer": _string(trace.answer), "rounds": rounds}


def _turn(turn: Round) -> Mapping[str, Any]:
    ran = turn.execution
    return {
        "text": turn.completion.text,
        "tokens": turn.completion.n_tokens,
        "code": turn.code,
        "outcome": ran.outcome if ran else None,
        "output": ran.output if ran else "",
        "appended": turn.appended,
        "attempt": turn.attempt,
        "engine_s": round(turn.engine_s, 3),
        "sandbox_s": round(turn.sandbox_s, 3),
    }


def _string(answer: int | None) -> str | None:
    return None if answer is None else str(answer)
