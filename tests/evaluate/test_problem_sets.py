"""Problem sets: what can be read, and how a malformed one is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aimo_submit.competition import competition_named, names
from aimo_submit.errors import UserError
from aimo_submit.evaluate.problem_sets import NAMED, load_problems
from tests import NOT_SHARED, SHARED

AIMO_1, AIMO_2, ANY = map(competition_named, ("aimo-1", "aimo-2", "any"))
DATA = SHARED / "data"


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(("name", "least"), [("tiny", 100), ("original", 60)])
def test_the_bundled_sets_hold_valid_answers_for_every_edition(name: str, least: int) -> None:
    for competition in map(competition_named, names()):
        problems = load_problems(name, competition)
        assert len(problems) >= least
        assert all(p.answer is not None and 0 <= p.answer <= 999 for p in problems)


def test_csv_jsonl_and_parquet_read_alike(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"id": ["a", "b"], "question": ["1+1?", "2+2?"], "answer": [2, 4]})
    frame.to_csv(tmp_path / "set.csv", index=False)
    frame.to_json(tmp_path / "set.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "set.parquet")
    first, *others = [
        load_problems(str(tmp_path / f"set.{kind}"), AIMO_1) for kind in ("csv", "jsonl", "parquet")
    ]
    assert [(p.id, p.text, p.answer) for p in first] == [("a", "1+1?", 2), ("b", "2+2?", 4)]
    assert others == [first, first]


def test_ids_and_answers_may_be_missing(tmp_path: Path) -> None:
    problems = load_problems(write(tmp_path / "p.csv", "problem\nx?\ny?\n"), AIMO_1)
    assert [(p.id, p.answer) for p in problems] == [("1", None), ("2", None)]


@pytest.mark.parametrize(
    ("given", "gold"), [("027", 27), ("27.0", 27), ("1027", 27), ("2.7e1", 27)]
)
def test_gold_answers_are_brought_under_the_edition(tmp_path: Path, given: str, gold: int) -> None:
    file = write(tmp_path / "p.csv", f"problem,answer\nx?,{given}\n")
    assert load_problems(file, AIMO_1)[0].answer == gold


def test_digits_beyond_a_float_are_kept(tmp_path: Path) -> None:
    file = write(tmp_path / "p.csv", "problem,answer\nx?,9007199254740993\n")
    assert load_problems(file, ANY)[0].answer == 9007199254740993


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "p.csv",
            "problem,answer\nx?,1\ny?,2.5\n",
            "row 2, column answer.*'2.5' is not an integer",
        ),
        ("p.csv", "problem,answer\nx?,-1\n", "row 1, column answer.*--edition any"),
        ("p.csv", "problem,answer\n,1\n", "row 1, column problem.*empty"),
        ("p.csv", "text,answer\nx?,1\n", "row 1 has no column problem or question"),
        ("p.csv", "id,problem\na,x?\na,y?\n", "rows 1 and 2 have the same id 'a'"),
        ("p.csv", "problem,answer\n", "no problems in it"),
        ("p.csv", "", "cannot read"),
        ("p.csv", 'problem\n"x\n', "cannot read|no problems"),
        ("p.jsonl", '{"problem": "x?"}\n{"problem"\n', "row 2 is not valid JSON.*column"),
        ("p.jsonl", "[1]\n", "row 1 must be a JSON object"),
        ("p.parquet", "nonsense", "cannot read"),
        ("p.txt", "x?", "use .csv, .jsonl or .parquet"),
    ],
)
def test_a_malformed_set_is_refused_with_row_and_column(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_problems(write(tmp_path / name, content), AIMO_2)


def test_an_unknown_set_names_what_there_is() -> None:
    with pytest.raises(UserError, match="tiny, original, amc, aime, math4, math5"):
        load_problems("nowhere", AIMO_1)


@pytest.mark.skipif(not DATA.is_dir(), reason=NOT_SHARED)
def test_the_real_sets_are_read_as_they_are() -> None:
    counts = {path.name: len(load_problems(str(path), ANY)) for path in DATA.glob("*.*l")}
    assert counts["math_test_level4_int.jsonl"] == 754
    assert counts["math_test_level5_int.jsonl"] == 721
    assert len(load_problems(str(DATA / "aimo2_reference.csv"), AIMO_2)) == 10
    assert len(load_problems(str(DATA / "aimo3_reference.csv"), competition_named("aimo-3"))) == 10


def upstream(level: int, number: int, boxed: str) -> str:
    """A row as the full MATH test set has it."""
    solution = f"First $\\boxed{{0}}$, then so it is $\\boxed{{{boxed}}}$."
    row = {"problem": f"{level} {number}?", "level": f"Level {level}", "solution": solution}
    return json.dumps(row) + "\n"


def test_the_rule_leaves_of_math_the_integers_of_a_level(tmp_path: Path) -> None:
    wanted = [upstream(4, k, str(k - 5)) for k in range(754)]
    others = [
        *(upstream(5, k, str(k)) for k in range(721)),
        *(upstream(4, 1000, boxed) for boxed in ("\\frac{1}{2}", "x^{2}", "1,000", "2.0", "")),
        *(upstream(3, k, str(k)) for k in range(10)),
        json.dumps({"problem": "none?", "level": "Level ?", "solution": "no box"}) + "\n",
    ]
    file = write(tmp_path / "test.jsonl", "".join([*others, *wanted]))
    problems = load_problems(f"math4={file}", ANY)
    assert [p.answer for p in problems] == [k - 5 for k in range(754)]
    assert all(p.text.startswith("4 ") for p in problems)
    assert len(load_problems(f"math5={file}", ANY)) == 721


def test_a_named_set_of_another_size_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "amc.jsonl", '{"problem": "x?", "answer": 1}\n' * 3)
    message = "3 problems, but the set has 83; take it from AI-MO/aimo-validation-amc, or name"
    with pytest.raises(UserError, match=message):
        load_problems(f"amc={file}", ANY)
    assert len(load_problems(file, ANY)) == 3


def test_a_named_set_of_its_size_is_taken_from_its_file(tmp_path: Path) -> None:
    for name, named in NAMED.items():
        if named.level is None:
            rows = "".join(f'{{"problem": "{k}?", "answer": {k}.0}}\n' for k in range(named.count))
            file = write(tmp_path / f"{name}.jsonl", rows)
            assert len(load_problems(f"{name}={file}", ANY)) == named.count


@pytest.mark.skipif(not DATA.is_dir(), reason=NOT_SHARED)
def test_the_winners_math_sets_are_what_the_rule_leaves() -> None:
    for level in (4, 5):
        problems = load_problems(f"math{level}={DATA}/math_test_level{level}_int.jsonl", ANY)
        assert len(problems) == NAMED[f"math{level}"].count


@pytest.mark.slow
def test_without_the_hub_one_line_says_how_to_go_on() -> None:
    code = """
import os, sys
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
from aimo_submit.cli import main
sys.exit(main(["eval", "aime"]))
"""
    pytest.importorskip("datasets")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot load AI-MO/aimo-validation-aime from the hub" in done.stderr
    assert "NAME=FILE" in done.stderr
