"""The bundled original problems: each answer is confirmed by a check of its own."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests import NOT_SHARED, ROOT, SHARED
from tests.evaluate.checks import CHECKS

FIELDS = {"number theory", "combinatorics", "algebra", "geometry"}
DATA = SHARED / "data"
LINES = (ROOT / "src" / "aimo_submit" / "data" / "original.jsonl").read_text().splitlines()
PROBLEMS: list[dict[str, Any]] = [json.loads(line) for line in LINES]


def letters_and_digits(text: str) -> str:
    """Text as compared between files that escape and break lines differently."""
    return re.sub(r"[^a-z0-9]", "", text.replace(r"\n", " ").lower())


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem["id"])
def test_check_confirms_the_answer(problem: dict[str, Any]) -> None:
    assert CHECKS[problem["id"]]() == problem["answer"]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem["id"])
def test_record_is_well_formed(problem: dict[str, Any]) -> None:
    assert set(problem) == {"id", "problem", "answer", "field", "level"}
    assert type(problem["answer"]) is int
    assert 0 <= problem["answer"] <= 999
    assert problem["field"] in FIELDS
    assert problem["level"] in range(1, 6)
    assert problem["problem"].count("$") % 2 == 0


def test_problems_and_checks_match_one_to_one() -> None:
    ids = [problem["id"] for problem in PROBLEMS]
    assert ids == [f"orig-{number:03d}" for number in range(1, len(ids) + 1)]
    assert set(CHECKS) == set(ids)


def test_every_check_gives_its_derivation() -> None:
    assert [name for name, check in CHECKS.items() if not check.__doc__] == []


def test_statements_differ() -> None:
    assert len({letters_and_digits(problem["problem"]) for problem in PROBLEMS}) == len(PROBLEMS)


def test_the_set_is_large_and_covers_every_field_and_level() -> None:
    assert len(PROBLEMS) >= 60
    per_field = Counter(problem["field"] for problem in PROBLEMS)
    assert min(per_field[field] for field in FIELDS) >= 15
    assert {problem["level"] for problem in PROBLEMS} == set(range(1, 6))


@pytest.mark.skipif(not DATA.is_dir(), reason=NOT_SHARED)
def test_no_statement_appears_in_the_shared_data() -> None:
    texts = {
        path.name: letters_and_digits(path.read_text())
        for path in DATA.rglob("*")
        if path.is_file()
    }
    assert texts
    found = [
        (problem["id"], name)
        for problem in PROBLEMS
        for name, text in texts.items()
        if letters_and_digits(problem["problem"]) in text
    ]
    assert found == []
