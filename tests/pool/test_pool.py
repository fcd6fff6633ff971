"""The pool: every figure is that of a recorded sample, merging is putting files together."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aimo_submit.cli import main
from aimo_submit.config import Config, settings_of
from aimo_submit.engines import Sampling
from aimo_submit.errors import UserError
from aimo_submit.journal import Journal, locations_in
from aimo_submit.pool import Index
from aimo_submit.pool.arrays import CACHE, Pool, load_pool, majority_accuracy
from aimo_submit.pool.ballots import ballots_in
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
from tests import NOT_SHARED, SHARED
from tests.scripted import ANSWER, ASK, run_of, solved

TABLES = sorted((SHARED / "data" / "traces").glob("*_votes.csv"))
CONFIG = Config(samples=3)


def turn(text: str, tokens: int, *, code: str | None = None, logprob: float = -0.5) -> Round:
    """A round; where it has code, that ran for 0.2 s and waited a little for its worker."""
    ran = Execution(Outcome.OK, "1\n", 0.2) if code else None
    written = Completion(text, tuple(range(tokens)), Finish.STOP, logprob)
    return Round(written, code, ran, engine_s=tokens / 10, sandbox_s=0.25 if code else 0.0)


def trace(sample: int, answer: int | None, rounds: Sequence[Round] = ()) -> Trace:
    """A sample that came to its end."""
    status = Status.FAILED if answer is None else Status.ANSWERED
    return Trace(sample, list(rounds), status, answer)


def solution(name: str, answers: Sequence[int | None], seed: int = 0, gold: int | None = 1) -> Any:
    """A solution of which only the answers matter, each given at once."""
    traces = [trace(k, a, [turn(f"\\boxed{{{a}}}", 3)]) for k, a in enumerate(answers)]
    return Solution(Problem(name, f"text of {name}", gold), 1, [], traces, seed, 1.0)


def record(path: Path, solutions: Sequence[Solution], config: Config = CONFIG) -> Path:
    """A journal of these solutions."""
    with Journal(path, settings_of(config)) as journal:
        for each in solutions:
            journal.append(each)
    return path


def same(a: Pool, b: Pool) -> bool:
    """Whether two pools hold the same."""
    names = [f.name for f in dataclasses.fields(Pool)]
    return all(_equal(getattr(a, name), getattr(b, name)) for name in names)


def _equal(x: object, y: object) -> bool:
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
    return x == y


def test_every_figure_is_that_of_its_sample(tmp_path: Path) -> None:
    coded = [turn("```python", 4, code="print(1)", logprob=-1.0), turn("so \\boxed{7}", 2)]
    traces = [
        trace(0, 7, coded),
        trace(1, None, [turn("no idea", 5)]),
        Trace(2, [turn("half", 9)], Status.CANCELLED, reason="stopped before its end"),
        Trace(3, [turn("half", 9)], Status.FAILED, reason="out of memory", engine_died=True),
        trace(4, 1, [turn("it is 1", 3)]),
    ]
    given = Solution(Problem("p", "What?", 1), 1, [], traces, 5, 1.0)
    pool = load_pool(record(tmp_path / "j.jsonl", [given]))
    assert (pool.problems, pool.golds, pool.values) == (("p",), (1,), ((1, 7),))
    assert pool.present.tolist() == [[True, True, True]], "what was cut off tells nothing"
    assert pool.answer.tolist() == [[1, -1, 0]]
    assert pool.answered.tolist() == [[1, -1, 0]]
    assert pool.tokens[0].tolist() == [[4, 2, 0, 0], [5, 0, 0, 0], [3, 0, 0, 0]]
    assert pool.engine_s[0, 0].tolist() == pytest.approx([0.4, 0.2, 0, 0])
    assert pool.code_s[0, 0].tolist() == pytest.approx([0.2, 0, 0, 0])
    assert pool.logprob[0].tolist() == pytest.approx([-5 / 6, -0.5, -0.5])
    assert pool.has_code.tolist() == [[True, False, False]]
    assert pool.boxed.tolist() == [[True, False, False]]
    assert pool.seed.tolist() == [[5, 5, 5]]
    assert pool.prompt_tokens[0] > 10, "the bundled model's tokenizer counts the prompt"
    assert pool.settings["rounds"] == 4


def test_cutting_at_a_depth_is_what_a_run_with_fewer_rounds_samples(tmp_path: Path) -> None:
    def script(prompt: str, sampling: Sampling) -> str:
        if sampling.seed % 3:
            return ASK
        return ANSWER if sampling.seed % 2 else "\nThe answer is $\\boxed{6}$."

    problems = [Problem(str(k), f"What is {k}?", 42) for k in range(6)]
    config = Config(samples=20, rounds=5)
    solutions = solved(run_of(script, config), problems)
    pool = load_pool(record(tmp_path / "j.jsonl", solutions, config))
    for depth in range(1, 6):
        fewer = solved(run_of(script, dataclasses.replace(config, rounds=depth)), problems)
        for p, shallow in enumerate(fewer):
            counts = (pool.answered[p] >= 0) & (pool.answered[p] < depth)
            codes = np.where(counts, pool.answer[p], -1)
            assert [None if c < 0 else pool.values[p][c] for c in codes] == [
                t.answer for t in shallow.traces
            ]
            assert pool.tokens[p, :, :depth].sum(axis=1).tolist() == [
                t.n_tokens for t in shallow.traces
            ]


def test_journals_of_a_folder_are_one_pool_and_copies_count_once(tmp_path: Path) -> None:
    first = [solution("a", [1, 2]), solution("b", [3, None])]
    second = [solution("b", [1, 1, 1], seed=1)]
    record(tmp_path / "one.jsonl", first)
    record(tmp_path / "two.jsonl", second)
    pool = load_pool(tmp_path)
    assert pool.problems == ("a", "b")
    assert pool.present.sum(axis=1).tolist() == [2, 5]
    assert pool.seed[1].tolist() == [0, 0, 1, 1, 1]
    record(tmp_path / "copy.jsonl", first)
    assert same(load_pool(tmp_path), pool)


def test_of_the_same_seed_the_longer_recording_counts(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", [solution("a", [1, 2])])
    record(tmp_path / "b.jsonl", [solution("a", [1, 2, 3, 4])])
    record(tmp_path / "c.jsonl", [solution("a", [1])])
    assert load_pool(tmp_path).present.sum() == 4
    assert sum(len(s.traces) for s in Index(tmp_path).solutions("a")) == 4


@pytest.mark.parametrize(
    ("setting", "value"),
    [("rounds", 6), ("temperature", 0.5), ("edition", "aimo-2"), ("max_new_tokens", 100)],
)
def test_journals_of_another_kind_are_refused_by_name(
    tmp_path: Path, setting: str, value: Any
) -> None:
    record(tmp_path / "a.jsonl", [solution("a", [1])])
    other = dataclasses.replace(CONFIG, **{setting: value})
    record(tmp_path / "b.jsonl", [solution("b", [1])], other)
    with pytest.raises(UserError, match=rf"b\.jsonl has {setting} = {value}, .*a\.jsonl has"):
        load_pool(tmp_path)


def test_numbers_of_samples_and_machines_may_differ(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", [solution("a", [1])])
    config = Config(samples=96, engine="vllm", engine_options={"dtype": "half"}, vote="box")
    record(tmp_path / "b.jsonl", [solution("b", [1])], config)
    assert len(load_pool(tmp_path).problems) == 2


@pytest.mark.parametrize("setting", ["early_stop", "problem_timeout_s", "total_time_s"])
def test_a_recording_that_ended_samples_early_is_no_pool(tmp_path: Path, setting: str) -> None:
    config = dataclasses.replace(CONFIG, **{setting: 0.5 if setting == "early_stop" else 60.0})
    path = record(tmp_path / "a.jsonl", [solution("a", [1])], config)
    with pytest.raises(UserError, match=f"{setting} = .* record it without"):
        load_pool(path)


def test_one_name_for_two_problems_is_refused(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", [solution("1", [1])])
    record(tmp_path / "b.jsonl", [solution("1", [1], seed=1, gold=2)])
    with pytest.raises(UserError, match="problem '1' has another text or gold answer"):
        load_pool(tmp_path)


def test_what_is_no_pool_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no journal .* record one: aimo-submit eval"):
        load_pool(tmp_path)
    with pytest.raises(UserError, match="check the path"):
        load_pool(tmp_path / "none.jsonl")
    (tmp_path / "x.jsonl").write_text("hello\n")
    with pytest.raises(UserError, match="not a journal"):
        load_pool(tmp_path / "x.jsonl")
    (tmp_path / "x.parquet").write_text("hello\n")
    with pytest.raises(UserError, match="cannot read .* as a pool"):
        load_pool(tmp_path / "x.parquet")


def test_problems_without_a_gold_answer_are_left_out(tmp_path: Path) -> None:
    known, unknown = solution("a", [1]), solution("b", [1], gold=None)
    assert load_pool(record(tmp_path / "a.jsonl", [unknown, known])).problems == ("a",)
    with pytest.raises(UserError, match="no sample in it has a gold answer"):
        load_pool(record(tmp_path / "b.jsonl", [unknown]))


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", [solution("a", [1]), solution("b", [1])])
    path.write_bytes(path.read_bytes()[:-10])
    assert load_pool(path).problems == ("a",)
    assert Index(path).problems == ("a",)


def test_what_a_folder_keeps_for_speed_is_never_stale(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", [solution("a", [1, 5])])
    first = load_pool(tmp_path)
    assert (tmp_path / CACHE).is_file()
    assert same(load_pool(tmp_path), first)
    record(tmp_path / "a.jsonl", [solution("b", [1])])
    assert load_pool(tmp_path).problems == ("a", "b")
    (tmp_path / CACHE).write_bytes(b"PK\x03\x04 torn by a kill")
    assert load_pool(tmp_path).problems == ("a", "b")


def test_memory_holds_the_numbers_and_one_line(tmp_path: Path) -> None:
    long = [trace(k, 1, [turn("word " * 2000, 2000)]) for k in range(24)]
    with Journal(tmp_path / "a.jsonl", settings_of(CONFIG)) as journal:
        for k in range(60):
            journal.append(Solution(Problem(str(k), "x?", 1), 1, [], long, 0, 1.0))
    assert (tmp_path / "a.jsonl").stat().st_size > 14e6
    tracemalloc.start()
    load_pool(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6


def test_the_traces_of_a_problem_are_read_when_asked_for(tmp_path: Path) -> None:
    a, b, more = solution("a", [1, 2]), solution("b", [3]), solution("a", [4], seed=1)
    record(tmp_path / "one.jsonl", [a, b])
    record(tmp_path / "two.jsonl", [more])
    index = Index(tmp_path)
    assert index.problems == ("a", "b")
    assert list(index.solutions("a")) == [a, more]
    assert [t for s in Index(tmp_path).solutions("b") for t in s.traces] == b.traces


def test_a_model_that_writes_json_does_not_confuse_the_reader(tmp_path: Path) -> None:
    hostile = '{"problem":{"id":"x"}} "tokens":[1,2,3],"seed":9, ],"seed":7,\n{"sample":1}'
    given = Solution(
        Problem(hostile, hostile, 1), 1, [], [trace(0, 1, [turn(hostile, 4)])], 3, 1.0, hostile
    )
    path = record(tmp_path / "a.jsonl", [given])
    pool, index = load_pool(path), Index(path)
    assert (pool.problems, pool.tokens.sum(), pool.seed.tolist()) == ((hostile,), 4, [[3]])
    assert [(at.key, at.samples) for at in locations_in(path)] == [((hostile, hostile, 3), 1)]
    assert list(index.solutions(hostile)) == [given]


def test_a_table_that_pandas_reads_holds_the_pool(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    coded = [turn("```python", 4, code="print(1)"), turn("so \\boxed{7}", 2)]
    traces = [trace(0, 7, coded), trace(1, 1), Trace(2, [], Status.CANCELLED)]
    record(tmp_path / "a.jsonl", [Solution(Problem("p", "What?", 7), 7, [], traces, 5, 1.0)])
    record(tmp_path / "b.jsonl", [solution("q", [2**70, None, -4], seed=1)])
    assert main(["pool", "export", str(tmp_path), str(tmp_path / "pool.parquet")]) == 0
    frame = pandas.read_parquet(tmp_path / "pool.parquet")
    first = frame[frame.problem == "p"]
    assert first["text"].tolist() == ["```python", "so \\boxed{7}", "", ""]
    assert first["code"].isna().tolist() == [False, True, True, True]
    assert first["tokens"].tolist() == [4, 2, 0, 0]
    assert first.groupby("sample").answer.max().fillna(-1).tolist() == [7, 1, -1]
    assert first["status"].tolist() == ["answered", "answered", "answered", "cancelled"]
    ours, theirs = load_pool(tmp_path), load_pool(tmp_path / "pool.parquet")
    assert theirs.values == ((7, 1), (1, 2**63 - 1, -4)), "beyond 64 bits only the size is kept"
    clipped = dataclasses.replace(ours, values=theirs.values)
    assert theirs.tokens[0, 1].tolist() == [0, 0, 0, 0]
    assert same(dataclasses.replace(theirs, logprob=clipped.logprob), clipped)
    assert theirs.logprob == pytest.approx(ours.logprob, nan_ok=True)


def test_only_a_table_of_ours_is_read_as_a_pool(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"answer": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(UserError, match="aimo-submit pool export"):
        load_pool(tmp_path / "x.parquet")


def test_foreign_votes_are_a_pool_as_they_are_and_as_a_journal(tmp_path: Path) -> None:
    table = tmp_path / "votes.csv"
    table.write_text(
        "problem_id,answer,logged_answer,boxed,has_code\n"
        "a,5,5,5,1\na,5,\\frac{12}{2},,0\na,5,nothing,,0\nb,7,7,,1\n"
    )
    pool = load_pool(table)
    assert pool.values == ((5, 6), (7,))
    assert pool.answer.tolist() == [[0, 1, -1], [0, -1, -1]]
    assert pool.answered.tolist() == [[0, 0, -1], [0, -1, -1]]
    assert pool.present.tolist() == [[True, True, True], [True, False, False]]
    assert pool.has_code[0].tolist() == [True, False, False]
    assert pool.boxed[0].tolist() == [True, False, False]
    assert np.isnan(pool.logprob).all()
    assert main(["pool", "import", str(table), f"{tmp_path}/theirs/"]) == 0
    imported = load_pool(tmp_path / "theirs")
    assert same(imported, pool)
    assert next(ballots_in(tmp_path / "theirs" / "votes.jsonl")).gold == 5


def test_an_import_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "votes.csv"
    table.write_text("problem_id,answer,logged_answer\na,5,5\n")
    assert main(["pool", "import", str(table), str(table)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not TABLES, reason=NOT_SHARED)
@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_recorded_votes_of_others_give_every_sample(table: Path) -> None:
    pool, ballots = load_pool(table), list(ballots_in(table))
    assert pool.problems == tuple(b.problem for b in ballots)
    assert pool.present.sum() == sum(len(b.traces) for b in ballots)
    right = [sum(t.answer == b.gold for t in b.traces) for b in ballots]
    assert (pool.answer == 0).sum(axis=1).tolist() == right


def test_a_tie_for_the_majority_is_split_evenly(tmp_path: Path) -> None:
    votes = [solution("a", [1, 2]), solution("b", [1, 1, 2]), solution("c", [2, 2, 1])]
    silent = solution("d", [None])
    pool = load_pool(record(tmp_path / "a.jsonl", [*votes, silent]))
    assert majority_accuracy(pool) == pytest.approx(1.5 / 4)


def test_show_names_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.jsonl", [solution("a", [1, 2]), solution("b", [1], seed=3)])
    assert main(["pool", "show", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for part in ("1 to 2 a problem, 3 in all", "0, 3", "75.0%", "tiny-tir", "maj@2"):
        assert part in shown


def test_the_header_alone_gives_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"settings": {}}) + "\nnot json\n")
    with pytest.raises(UserError, match="not a journal"):
        load_pool(path)
