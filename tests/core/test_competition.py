"""Competitions as data: their facts, a user's own file, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimo_submit.competition import Answers, competition_named, competition_of, names
from aimo_submit.config import Config
from aimo_submit.errors import UserError

OWN = """
slug = "next-prize"
hours = 12.0
problems = 110
[answers]
lowest = -10
highest = 10
fallback = 1
[private]
runs = 3
points = [0.0, 0.25, 0.5, 1.0]
[package]
module = "kaggle_evaluation.next_inference_server"
name = "NextInferenceServer"
"""


@pytest.mark.parametrize(
    ("name", "value", "answer"),
    [
        ("aimo-1", 2034, 34), ("aimo-2", 2034, 34), ("aimo-3", 2034, 2034),
        ("aimo-1", -1, None), ("aimo-3", 100_000, None), ("any", -2034, -2034),
    ],
)  # fmt: skip
def test_each_competition_reads_an_integer_by_its_own_rule(
    name: str, value: int, answer: int | None
) -> None:
    assert competition_named(name).answers.admit(value) == answer


def test_the_submission_file_and_the_private_runs_are_facts_of_the_competition() -> None:
    assert [competition_named(name).submission for name in ("aimo-1", "aimo-2", "aimo-3")] == [
        "submission.csv",
        "submission.parquet",
        "submission.parquet",
    ]
    assert competition_named("aimo-3").private.points == [0.0, 0.5, 1.0]
    assert competition_named("aimo-2").private.points == [0.0, 1.0]


def test_a_competition_is_known_by_its_slug_and_any_other_is_any() -> None:
    for name in names():
        slug = competition_named(name).slug
        assert competition_of(slug or None).name == name
    assert competition_of("titanic").name == "any"


def test_a_file_of_ones_own_works_wherever_a_name_does(tmp_path: Path) -> None:
    file = tmp_path / "next.toml"
    file.write_text(OWN)
    config = Config.of({"edition": str(file)})
    found = competition_named(config.edition)
    assert (found.name, found.problems, found.answers.admit(-3)) == ("next", 110, -3)
    assert str(found.answers) == "-10..10"
    assert found.package is not None
    assert found.package.folder == "kaggle_evaluation"
    assert found.package.file == "next_inference_server.py"


def test_a_path_that_is_not_there_is_looked_up_among_those_that_came_with_the_kit() -> None:
    """In the notebook on Kaggle, the file that the settings name lies inside the kit."""
    assert competition_named("competitions/aimo-3.toml") == competition_named("aimo-3")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("hours = 12.0", 'hours = "12"'), "needs hours, of type float"),
        (("hours = 12.0", ""), "needs hours"),
        (("hours = 12.0", "hours = 0.0"), "hours must be more than 0"),
        (("problems = 110", "problems = 0"), "problems must be at least 1"),
        (("slug", "slugg"), "unknown key 'slugg': did you mean slug?"),
        (("lowest", "least"), "[answers] has an unknown key 'least'"),
        (("fallback = 1", "fallback = 11"), "fallback must be an answer"),
        (("runs = 3", "runs = 2"), "points must have a number for each of 0 to `runs`"),
        (('name = "Next', 'interface = "grpc"\nname = "Next'), "interface must be one of"),
        (("[answers]", "[answers"), "is not valid TOML"),
    ],
)
def test_a_file_with_a_mistake_is_refused_in_a_line_that_names_it(
    change: tuple[str, str], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "next.toml"
    file.write_text(OWN.replace(*change))
    with pytest.raises(UserError) as error:
        competition_named(str(file))
    assert words in str(error.value)
    assert str(file) in str(error.value)


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match=r"no competition 'aimo-4': did you mean aimo-3\?"):
        Config(edition="aimo-4")


def test_answers_without_bounds_are_all_integers() -> None:
    assert str(Answers()) == "any integer"
    assert Answers().admit(-(10**30)) == -(10**30)
