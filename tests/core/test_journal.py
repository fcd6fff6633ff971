"""The journal: whole, once, and only ever of one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aimo_submit.config import Config, settings_of
from aimo_submit.errors import UserError
from aimo_submit.evaluate.runner import remaining
from aimo_submit.journal import Journal, solutions_in
from aimo_submit.records import Problem, Solution, to_json
from tests.scripted import ANSWER, ASK, replies, run_of, solved

SETTINGS = settings_of(Config())
PROBLEMS = [Problem("a", "first"), Problem("b", "second")]
SOLUTIONS = solved(run_of(replies(ASK, ANSWER), Config(samples=3)), PROBLEMS)


def record(path: Path, solutions: list[Solution]) -> None:
    with Journal(path, SETTINGS) as journal:
        for solution in solutions:
            journal.append(solution)


def test_what_was_appended_is_read_back_whole(tmp_path: Path) -> None:
    record(tmp_path / "j.jsonl", SOLUTIONS)
    assert list(solutions_in(tmp_path / "j.jsonl")) == SOLUTIONS


def test_a_journal_holds_the_number_of_tokens_and_not_the_tokens(tmp_path: Path) -> None:
    record(tmp_path / "j.jsonl", SOLUTIONS)
    written = [
        turn["completion"]["tokens"]
        for line in (tmp_path / "j.jsonl").read_text().splitlines()[1:]
        for trace in json.loads(line)["traces"]
        for turn in trace["rounds"]
    ]
    generated = [r.completion for s in SOLUTIONS for t in s.traces for r in t.rounds]
    assert written == [len(completion.tokens) for completion in generated]
    read = [s.traces[0].n_tokens for s in solutions_in(tmp_path / "j.jsonl")]
    assert read == [s.traces[0].n_tokens for s in SOLUTIONS]


def test_a_journal_of_before_lists_tokens_and_tells_a_lost_engine_in_words(tmp_path: Path) -> None:
    data = to_json(SOLUTIONS[0])
    for trace in data["traces"]:
        del trace["engine_died"]
        for turn in trace["rounds"]:
            turn["completion"]["tokens"] = list(range(turn["completion"]["tokens"]))
    data["traces"][1].update(status="failed", answer=None, reason="the engine died: no memory")
    lines = (json.dumps(entry, separators=(",", ":")) for entry in ({"settings": SETTINGS}, data))
    (tmp_path / "old.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (old,) = solutions_in(tmp_path / "old.jsonl")
    assert [t.n_tokens for t in old.traces] == [t.n_tokens for t in SOLUTIONS[0].traces]
    assert [t.engine_died for t in old.traces] == [False, True, False]
    with Journal(tmp_path / "old.jsonl", SETTINGS) as journal:
        assert journal.keys == {("a", "first", 0)}


def test_a_journal_torn_at_any_byte_loses_only_the_torn_line(tmp_path: Path) -> None:
    record(tmp_path / "whole.jsonl", SOLUTIONS)
    content = (tmp_path / "whole.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(0, len(content), 97):
        torn = tmp_path / "torn.jsonl"
        torn.write_bytes(content[:cut])
        with Journal(torn, SETTINGS) as journal:
            whole = sum(end <= cut for end in ends[1:])
            assert list(solutions_in(journal.path)) == SOLUTIONS[:whole]
            for solution in SOLUTIONS[whole:]:
                journal.append(solution)
        assert torn.read_bytes() == content


def test_only_what_is_missing_remains(tmp_path: Path) -> None:
    record(tmp_path / "j.jsonl", SOLUTIONS[:1])
    with Journal(tmp_path / "j.jsonl", SETTINGS) as journal:
        jobs = remaining(PROBLEMS, [0, 1], journal)
    assert [(p.id, seed) for p, seed in jobs] == [("b", 0), ("a", 1), ("b", 1)]


def test_other_settings_are_refused_and_seeds_may_be_added(tmp_path: Path) -> None:
    record(tmp_path / "j.jsonl", SOLUTIONS)
    with pytest.raises(UserError, match="recorded with samples = 48, this run has 16"):
        Journal(tmp_path / "j.jsonl", settings_of(Config(samples=16)))
    with Journal(tmp_path / "j.jsonl", settings_of(Config(seed=7))):
        pass


def test_two_runs_cannot_share_a_journal(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "j.jsonl", SETTINGS),
        pytest.raises(UserError, match="another run"),
    ):
        Journal(tmp_path / "j.jsonl", SETTINGS)


@pytest.mark.parametrize("content", ["hello\n", '{"a": 1}\n', '{"settings": {}}\n{"b": 2}\n'])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text(content)
    with pytest.raises(UserError, match="not a journal"):
        Journal(file, SETTINGS)
    assert file.read_text() == content


def test_a_journal_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --out"):
        Journal(tmp_path / "file" / "j.jsonl", SETTINGS)
    with pytest.raises(UserError, match="check the path"):
        list(solutions_in(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match="nothing has been recorded"):
        list(solutions_in(tmp_path / "file"))
