"""The ledger: what was pushed and scored is neither lost nor mixed up."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from aimo_submit.errors import UserError
from aimo_submit.kaggle.client import ledger
from aimo_submit.kaggle.client.ledger import Entry


def scored(version: int, score: float | None, status: str = "COMPLETE", **config: Any) -> Entry:
    """A submission's entry."""
    return Entry("a/b", version, config=config, ref=version, status=status, score=score)


def test_the_last_line_about_a_submission_counts_and_a_torn_one_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "runs/ledger.jsonl"
    ledger.append(Entry("a/b", 1, git="x"), path)
    ledger.append(scored(1, None, "PENDING"), path)
    with path.open("a") as file:
        file.write('{"kernel": "a/b", "ver')
    ledger.append(scored(1, 5.0), path)
    assert [(e.ref, e.score) for e in ledger.read(path)] == [(None, None), (1, 5.0)]


def test_scores_are_averaged_over_seeds_and_kept_apart_by_config() -> None:
    entries = [
        scored(1, 10.0, samples=16, rounds=4, seed=0),
        scored(2, 14.0, samples=16, rounds=4, seed=1),
        scored(3, 20.0, samples=48, rounds=4, seed=0),
        scored(4, None, "ERROR", samples=48, rounds=4, seed=1),
        scored(5, None, "PENDING", samples=48, rounds=4, seed=2),
        Entry("a/b", 6, config={"samples": 99}),
    ]
    best, other = ledger.by_config(entries)
    assert (best.label, best.scores, best.spread) == ("samples=48", (20.0,), None)
    assert (best.pending, best.failed) == (1, 1)
    assert (other.label, other.scores) == ("samples=16", (10.0, 14.0))
    assert other.spread == pytest.approx(2.83, abs=0.01)


def test_what_cannot_be_recorded_is_told_so_that_it_can_be_added_by_hand(tmp_path: Path) -> None:
    """It has been pushed or submitted by then, and must not be so twice."""
    with pytest.raises(UserError, match="cannot be written .Is a directory.: mend") as error:
        ledger.append(scored(7, 5.0), tmp_path)
    path = tmp_path / "ledger.jsonl"
    path.write_text(str(error.value).partition("add this line to it: ")[2] + "\n")
    assert [(e.version, e.score) for e in ledger.read(path)] == [(7, 5.0)]


def test_a_line_of_rubbish_in_the_ledger_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"\xff\xfe\x00\n")
    ledger.append(scored(1, 5.0), path)
    assert [e.score for e in ledger.read(path)] == [5.0]


@pytest.mark.parametrize(
    "line", ['{"other": 1}', "[1]", "7", '{"kernel": "a/b", "version": 1, "ref": []}']
)
def test_a_strange_ledger_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(UserError, match="line 1 is no entry"):
        ledger.read(path)


def test_the_commit_is_named_and_changes_are_marked(tmp_path: Path) -> None:
    assert ledger.git_sha(tmp_path / "none") == ""
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    clean = ledger.git_sha(tmp_path)
    (tmp_path / "new").write_text("")
    assert len(clean) == 12
    assert ledger.git_sha(tmp_path) == clean + "+"
