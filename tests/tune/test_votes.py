"""Vote rules compared on recorded samples, and the calibration of the confidence."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from aimo_submit.cli.tables import rules_table
from aimo_submit.config import Config, settings_of
from aimo_submit.errors import UserError
from aimo_submit.journal import Journal
from aimo_submit.pool.ballots import Ballot, ballots_in, ballots_of
from aimo_submit.records import Problem, Status, Trace, Vote
from aimo_submit.tune.vote_rules import (
    VoteCounts,
    confidences,
    quality,
    quality_lines,
    score_rules,
    vote_counts,
)
from aimo_submit.vote import INTERCEPT, RULES, SLOPE, confidence, logistic
from benchmarks.votes import fit_confidence, parts
from tests import NOT_SHARED, SHARED
from tests.scripted import ANSWER, ASK, replies, run_of, solved

pytestmark = pytest.mark.slow

TABLES = sorted((SHARED / "data" / "traces").glob("*_votes.csv"))
HEADER = "problem_id,answer,logged_answer,boxed,has_code\n"


def ballot(problem: str, *answers: int | None) -> Ballot:
    """A ballot whose gold answer is 1."""
    ends = [Status.FAILED if a is None else Status.ANSWERED for a in answers]
    return Ballot(problem, 1, [Trace(k, [], ends[k], a) for k, a in enumerate(answers)])


def by_last(traces: Sequence[Trace]) -> list[Vote]:
    """A rule of one sample: the last."""
    return [Vote(t.answer, 1.0) for t in traces[-1:] if t.answer is not None]


def test_a_rule_is_scored_against_the_majority_on_the_same_problems() -> None:
    ballots = [ballot("a", 1, 1, 2), ballot("b", 2, 2, 1), ballot("c", 2, 2, 1), ballot("d", None)]
    base, last = score_rules(ballots, {"majority": RULES["majority"], "last": by_last})
    assert (base.accuracy, base.gain, base.gain_interval, base.won) == (0.25, 0, (0, 0), 0)
    assert (last.accuracy, last.gain, last.won, last.lost) == (0.5, 0.25, 2, 1)
    assert last.gain_interval[0] < 0 < last.gain_interval[1]


def test_the_interval_is_that_of_the_mean_over_problems() -> None:
    ballots = [ballot(str(k), 1 if k % 2 else 2) for k in range(400)]
    low, high = score_rules(ballots)[0].interval
    assert (low, high) == pytest.approx((0.45, 0.55), abs=0.006)


def test_seeds_of_one_problem_do_not_pass_for_more_problems() -> None:
    once = [ballot(name, 1 if name == "a" else 2) for name in "abcd"]
    rules = {"last": by_last}
    first, again = score_rules(once, rules), score_rules(once * 5, rules)
    assert again == [replace(score, ballots=20) for score in first]
    mixed = [*once, ballot("a", 1, 1, 2), ballot("a", 2, 2, 1)]  # lost and won: a gains nothing
    assert score_rules(mixed, rules)[0].gain == 0
    assert score_rules([*mixed, ballot("b", 2, 2, 1)], rules)[0].gain == pytest.approx(0.5 / 4)


def test_the_rules_keep_the_order_of_their_table() -> None:
    assert [score.rule for score in score_rules([ballot("a", 1)])] == list(RULES)


def test_a_journal_gives_the_ballots_whose_gold_answer_is_known(tmp_path: Path) -> None:
    config = Config(samples=3)
    problems = [Problem("known", "What is $6 \\cdot 7$?", 42), Problem("unknown", "And $x$?")]
    solutions = solved(run_of(replies(ASK, ANSWER), config), problems)
    with Journal(tmp_path / "run.jsonl", settings_of(config)) as journal:
        for solution in solutions:
            journal.append(solution)
    ballots = list(ballots_in(tmp_path / "run.jsonl"))
    assert ballots == list(ballots_of(solutions[:1]))
    assert all(score.accuracy == 1.0 for score in score_rules(ballots))


def test_a_table_gives_one_ballot_a_problem_with_what_it_tells_of_each_sample(
    tmp_path: Path,
) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(HEADER + "a,5,5,5,1\na,5,5.0{kg},5,1\nb,7,1.5,,0\na,5,\\frac{12}{2},,0\n")
    a, b = ballots_in(path)
    assert (a.problem, a.gold, [t.answer for t in a.traces]) == ("a", 5, [5, 5, 6])
    assert [t.sample for t in a.traces] == [0, 1, 2]
    assert [t.rounds[0].code is not None for t in a.traces] == [True, True, False]
    assert [t.rounds[0].completion.text for t in a.traces] == ["\\boxed{5}", "\\boxed{5}", ""]
    assert [t.answer for t in b.traces] == [None]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id,answer\na,5\n", "needs the columns"),
        (HEADER + "a,five,5,5,1\n", "needs the columns"),
        (HEADER, "no sample"),
    ],
)
def test_a_table_that_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, content: str, told: str
) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=told) as error:
        list(ballots_in(path))
    assert "\n" not in str(error.value)


def test_a_missing_table_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        list(ballots_in(tmp_path / "none.csv"))


def test_a_tally_counts_the_leader_its_rival_and_the_silent() -> None:
    found = vote_counts([ballot("a", 1, 2, 1, None), ballot("b", 3), ballot("c", None)])
    assert found == [VoteCounts(2, 1, 4, right=True), VoteCounts(1, 0, 1, right=False)]
    stopped = Ballot("d", 1, [Trace(0, answer=1), Trace(1, status=Status.CANCELLED)])
    assert vote_counts([stopped]) == [VoteCounts(1, 0, 1, right=True)]


def test_what_is_stated_for_a_tally_is_the_confidence_of_its_vote() -> None:
    given = ballot("a", 1, 2, 1, None)
    assert confidences(vote_counts([given])) == [confidence(given.traces, 1)]


def test_the_fit_finds_the_constants_that_made_the_outcomes() -> None:
    rng = random.Random(0)
    made = []
    for _ in range(20_000):
        votes = rng.randint(1, 10)
        sure = logistic(4.0 * votes / 11 - 1.0)
        made.append(VoteCounts(votes, 0, 10, rng.random() < sure))
    assert fit_confidence(made) == pytest.approx((4.0, -1.0), abs=0.15)


def test_a_fit_to_outcomes_that_are_all_right_stays_finite() -> None:
    slope, intercept = fit_confidence([VoteCounts(5, 1, 6, right=True)] * 50)
    assert abs(slope) < 100
    assert abs(intercept) < 100


def test_quality_tells_calibrated_from_overconfident() -> None:
    right = [True] * 75 + [False] * 25
    honest, boastful = quality([0.75] * 100, right), quality([1.0] * 100, right)
    assert honest.brier == pytest.approx(0.1875)
    assert honest.ece == pytest.approx(0)
    assert boastful.brier == boastful.ece == pytest.approx(0.25)


def test_parts_are_parts_of_each_ballot_and_the_same_every_time() -> None:
    ballots = [ballot("a", 1, 1, 1, 2, 2, None), ballot("b", None, None), ballot("c", 1)]
    drawn = list(parts(ballots, 20))
    assert drawn == list(parts(ballots, 20))
    assert [len(tallied) for tallied in drawn[1:]] == [0, 20]
    assert {t.samples for t in drawn[0]} == {2, 3, 4, 5, 6}


def test_what_is_shown_names_every_rule_and_both_probabilities() -> None:
    ballots = [ballot("a", 1, 1, 2), ballot("b", 2)]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(rules_table(score_rules(ballots)))
    shown = console.export_text()
    assert all(rule in shown for rule in RULES)
    assert [line.partition(":")[0] for line in quality_lines(vote_counts(ballots))] == [
        "share of votes",
        "confidence",
    ]
    assert quality_lines(vote_counts([ballot("a", None)])) == []


NEEDS_TABLES = pytest.mark.skipif(not TABLES, reason=NOT_SHARED)


@NEEDS_TABLES
def test_on_recorded_votes_the_default_is_within_noise_of_every_rule() -> None:
    ballots = [b for path in TABLES for b in ballots_in(path)]
    for score in score_rules(ballots):
        assert score.gain_interval[0] <= 0, score.rule


@NEEDS_TABLES
def test_on_recorded_votes_the_confidence_is_better_than_the_share_of_votes() -> None:
    for path in TABLES:
        counted = vote_counts(ballots_in(path))
        right = [t.right for t in counted]
        share = quality([t.votes / t.samples for t in counted], right)
        stated = quality(confidences(counted), right)
        assert stated.brier < share.brier
        assert stated.ece < min(share.ece, 0.1)


@NEEDS_TABLES
def test_the_constants_are_those_that_the_recorded_votes_give() -> None:
    tables = [[t for p in parts(ballots_in(path), 8) for t in p] for path in TABLES]
    weights = [1000 / len(table) for table in tables for _ in table]
    slope, intercept = fit_confidence([t for table in tables for t in table], weights)
    assert (slope, intercept) == pytest.approx((SLOPE, INTERCEPT), abs=0.06)
