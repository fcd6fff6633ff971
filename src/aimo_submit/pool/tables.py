"""A pool as one Parquet table, which pandas reads with one call.

The table has a row a round, so that `pandas.read_parquet("pool.parquet")` is all there is to do:

    problem, statement, gold   its id, its text, its answer (null where unknown)
    seed, sample, round        which round of which sample; rounds count from 0
    attempt                    restarts before this round
    tokens, logprob            generated in this round; mean log-probability of them
    text, code, output         what the model wrote, the block in it, what that printed
    outcome                    how the block ended (ok, error, timeout, killed); null: none ran
    engine_s, sandbox_s        seconds; of the sandbox with the wait for it
    code_s                     seconds that the block itself ran
    boxed                      whether the text holds a box
    answer                     the sample's answer, in the round that gave it, else null
    status, reason             how the sample ended, the same in all its rounds
    engine_died                whether its engine died under it, likewise

A sample that failed before its first round has one row without tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from aimo_submit.errors import UserError, need
from aimo_submit.pool import Index, Recording
from aimo_submit.records import (
    Completion,
    Execution,
    Finish,
    Outcome,
    Problem,
    Round,
    Solution,
    Status,
    Trace,
)

META = b"aimo_submit"  # of the table: the settings of the recording, as JSON
INT64 = 2**63
# column -> kind; None for texts that stand in many rows
COLUMNS = {
    **{"problem": None, "statement": None, "gold": "int64"},
    **{"seed": "int64", "sample": "int32", "round": "int16", "attempt": "int16"},
    **{"tokens": "int32", "logprob": "float32", "text": "string", "code": "string"},
    **{"output": "string", "outcome": None, "engine_s": "float32", "sandbox_s": "float32"},
    **{"code_s": "float32", "boxed": "bool_", "answer": "int64", "status": None, "reason": None},
    "engine_died": "bool_",
}
UNBEGUN = Round(Completion("", (), Finish.EOS, 0.0))


class TableRow(NamedTuple):
    """The columns that a pool is made of."""

    problem: str
    statement: str
    gold: int | None
    seed: int
    sample: int
    status: str
    tokens: int
    logprob: float
    engine_s: float
    code_s: float
    code: str | None
    boxed: bool
    answer: int | None
    engine_died: bool = False


def to_parquet(path: Path, target: Path) -> int:
    """Writes the pool of a folder or a journal as one table and counts its rows."""
    pyarrow, parquet = need("pyarrow", "data"), need("pyarrow.parquet", "data")
    index = Index(path)
    schema = _schema(pyarrow, index.settings)
    new, count = target.with_name(target.name + ".new"), 0
    try:
        with parquet.ParquetWriter(new, schema, compression="zstd") as writer:
            for problem in index.problems:
                rows = [row for s in index.solutions(problem) for row in rounds_of(s)]
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                count += len(rows)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error}; choose another place") from error
    new.replace(target)
    return count


def _schema(pyarrow: Any, settings: Mapping[str, Any]) -> Any:
    kinds = {name: getattr(pyarrow, kind)() for name, kind in COLUMNS.items() if kind}
    often = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    columns = [(name, kinds.get(name, often)) for name in COLUMNS]
    return pyarrow.schema(columns, {META: json.dumps(dict(settings)).encode()})


def rounds_of(solution: Solution) -> Iterator[dict[str, Any]]:
    """The solution's rows of the table, a round each."""
    problem = solution.problem
    for trace in solution.traces:
        sample = {
            "problem": problem.id,
            "statement": problem.text,
            "gold": _bounded(problem.answer),
            "seed": solution.seed,
            "sample": trace.sample,
            "status": trace.status,
            "reason": trace.reason,
            "engine_died": trace.engine_died,
        }
        rounds = trace.rounds or [UNBEGUN]
        for number, turn in enumerate(rounds):
            answer = trace.answer if number == len(rounds) - 1 else None
            yield {**sample, **_columns(turn), "round": number, "answer": _bounded(answer)}


def _columns(turn: Round) -> dict[str, Any]:
    written, ran = turn.completion, turn.execution
    return {
        **{name: getattr(turn, name) for name in ("attempt", "code", "engine_s", "sandbox_s")},
        "tokens": written.n_tokens,
        "logprob": written.mean_logprob,
        "text": written.text,
        "boxed": "boxed" in written.text,
        "output": ran.output if ran else None,
        "outcome": ran.outcome if ran else None,
        "code_s": ran.seconds if ran else 0.0,
    }


def _bounded(value: int | None) -> int | None:
    """The value within what a column holds; of anything larger only that it is large is kept."""
    return None if value is None else max(-INT64, min(INT64 - 1, value))


def from_parquet(path: Path) -> Recording:
    """Reads the table that `to_parquet` wrote, without its texts."""
    parquet = need("pyarrow.parquet", "data")
    try:
        with parquet.ParquetFile(path) as file:
            recording = Recording(json.loads((file.schema_arrow.metadata or {})[META]))
            batches = file.iter_batches(columns=list(TableRow._fields))
            rows = (TableRow(**row) for batch in batches for row in batch.to_pylist())
            for solution in _solutions(rows):
                recording.add(solution)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"cannot read {path} as a pool ({error}); write it with: aimo-submit pool export"
        ) from error
    return recording


def _solutions(rows: Iterator[TableRow]) -> Iterator[Solution]:
    for (problem, statement, gold, seed), own in groupby(rows, itemgetter(0, 1, 2, 3)):
        traces = [_trace(list(rounds)) for _, rounds in groupby(own, itemgetter(4))]
        yield Solution(Problem(problem, statement, gold), 0, [], traces, seed, 0.0)


def _trace(turns: Sequence[TableRow]) -> Trace:
    """The trace as far as a sample's numbers go: of a text the box alone, of code that it ran."""
    rounds = [
        Round(
            Completion("boxed" if t.boxed else "", (), Finish.EOS, t.logprob, t.tokens),
            t.code,
            Execution(Outcome.OK, "", t.code_s),
            engine_s=t.engine_s,
        )
        for t in turns
    ]
    last = turns[-1]
    died = last.engine_died
    return Trace(last.sample, rounds, Status(last.status), last.answer, engine_died=died)
