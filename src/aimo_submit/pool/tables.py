"""Pools in other forms: a table that pandas reads with one call, and other runs' tables of votes.

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

A sample that failed before its first round has one row without tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from aimo_submit.errors import UserError, install
from aimo_submit.journal import Journal
from aimo_submit.pool.ballots import Ballot, load_ballots
from aimo_submit.pool.reading import Entry, Index, Recording, Sample, sample_of
from aimo_submit.records import Problem, Solution, Trace, ended
from aimo_submit.vote import RULES, confidence, how_won

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
UNBEGUN: Mapping[str, Any] = {
    **{"attempt": 0, "code": None, "execution": None, "engine_s": 0.0, "sandbox_s": 0.0},
    "completion": {"text": "", "tokens": 0, "mean_logprob": 0.0},
}


class Row(NamedTuple):
    """The columns that a pool is made of."""

    problem: str
    statement: str
    gold: int | None
    seed: int
    sample: int
    status: str
    engine_died: bool
    tokens: int
    logprob: float
    engine_s: float
    code_s: float
    code: str | None
    boxed: bool
    answer: int | None


def to_parquet(path: Path, target: Path) -> int:
    """Writes the pool of a folder or a journal as one table; the number of its rows."""
    pyarrow, parquet = _pyarrow()
    index = Index(path)
    schema = _schema(pyarrow, index.settings)
    new, count = target.with_name(target.name + ".new"), 0
    try:
        with parquet.ParquetWriter(new, schema, compression="zstd") as writer:
            for problem in index.problems:
                rows = [row for s in index.raw(problem) for row in _rows(s)]
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


def _rows(solution: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    problem = solution["problem"]
    for trace in solution["traces"]:
        sample = {
            "problem": problem["id"],
            "statement": problem["text"],
            "gold": _bounded(problem["answer"]),
            "seed": solution["seed"],
            "sample": trace["sample"],
            "status": trace["status"],
            "reason": trace["reason"],
            "engine_died": trace.get("engine_died", False),
        }
        rounds = trace["rounds"] or [UNBEGUN]
        for number, turn in enumerate(rounds):
            answer = trace["answer"] if number == len(rounds) - 1 else None
            yield {**sample, **_columns(turn), "round": number, "answer": _bounded(answer)}


def _columns(turn: Mapping[str, Any]) -> dict[str, Any]:
    written, ran = turn["completion"], turn["execution"] or {}
    return {
        **{name: turn[name] for name in ("attempt", "code", "engine_s", "sandbox_s")},
        "tokens": written["tokens"],
        "logprob": written["mean_logprob"],
        "text": written["text"],
        "boxed": "boxed" in written["text"],
        "output": ran.get("output"),
        "outcome": ran.get("outcome"),
        "code_s": ran.get("seconds", 0.0),
    }


def _bounded(value: int | None) -> int | None:
    """The value within what a column holds; of anything larger only that it is large is kept."""
    return None if value is None else max(-INT64, min(INT64 - 1, value))


def from_parquet(path: Path) -> Recording:
    """What `to_parquet` wrote, without the texts."""
    _, parquet = _pyarrow()
    try:
        table = parquet.read_table(path, columns=list(Row._fields))
        settings = json.loads((table.schema.metadata or {})[META])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"cannot read {path} as a pool ({error}); write it with: aimo-submit pool export"
        ) from error
    recording = Recording(settings=settings)
    columns = [table[name].to_pylist() for name in Row._fields]
    rows = map(Row._make, zip(*columns, strict=True))
    for (problem, statement, gold), own in groupby(rows, itemgetter(0, 1, 2)):
        by_seed: dict[int, list[Sample]] = {}
        for (seed, _), rounds in groupby(own, itemgetter(3, 4)):
            turns = list(rounds)
            found = by_seed.setdefault(seed, [])
            if ended(turns[-1].status, turns[-1].engine_died):
                found.append(_sample(turns))
        recording.add(Entry(problem, statement, gold, by_seed))
    return recording


def _sample(turns: Sequence[Row]) -> Sample:
    tokens = [t.tokens for t in turns]
    total = math.fsum(t.logprob * t.tokens for t in turns)
    return Sample(
        turns[-1].answer,
        tokens,
        [t.engine_s for t in turns],
        [t.code_s for t in turns],
        total / sum(tokens) if sum(tokens) else math.nan,
        any(t.code is not None for t in turns),
        turns[-1].boxed,
    )


def from_votes(path: Path) -> Recording:
    """The samples of a table of votes (`votes.load_ballots` has its columns), one round each."""
    recording = Recording(settings=_foreign_settings(path))
    for ballot in load_ballots(path):
        samples = [sample_of(trace) for trace in ballot.traces]
        recording.add(Entry(ballot.problem, "", ballot.gold, {0: samples}))
    return recording


def import_votes(path: Path, target: Path) -> int:
    """Writes a table of votes as a journal; the number of its problems."""
    ballots = load_ballots(path)
    if target.exists():
        raise UserError(f"{target} is there already; choose another name")
    with Journal(target, _foreign_settings(path)) as journal:
        for ballot in ballots:
            journal.append(_solution(ballot))
    return len(ballots)


def _foreign_settings(path: Path) -> dict[str, Any]:
    return {"model": path.stem, "rounds": 1}


def _solution(ballot: Ballot) -> Solution:
    traces: list[Trace] = list(ballot.traces)
    votes = RULES["majority"](traces)
    answer = votes[0].answer if votes else 0
    reason = how_won(votes) if votes else "no sample answered"
    problem, sure = Problem(ballot.problem, "", ballot.gold), confidence(traces, answer)
    return Solution(problem, answer, votes, traces, 0, 0.0, reason, sure, fallback=not votes)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f".parquet files need: {install('data')}") from error
    return pyarrow, pyarrow.parquet
