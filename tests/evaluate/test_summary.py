"""The summary: figures a competitor decides by."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from aimo_submit.cli import main
from aimo_submit.cli.tables import seeds_table
from aimo_submit.config import Config
from aimo_submit.evaluate.summary import compare, submission, summarise
from aimo_submit.journal import Journal
from aimo_submit.records import Problem, Solution, Status, Trace, Vote
from tests.scripted import ANSWER, ASK, replies, run_of, solved


def solution(name: str, answers: list[int | None], seed: int = 0, gold: int = 1) -> Solution:
    traces = [
        Trace(k, status=Status.FAILED if a is None else Status.ANSWERED, answer=a)
        for k, a in enumerate(answers)
    ]
    final = next((a for a in answers if a is not None), 0)
    return Solution(Problem(name, name, gold), final, [Vote(final, 1.0)], traces, seed, 1.0, "vote")


def test_pass_1_counts_samples_and_maj_n_counts_problems() -> None:
    summary = summarise([solution("a", [1, 1, 2, None]), solution("b", [2, 1, 2, 2])])
    assert summary.pass_1
    assert summary.maj_n
    assert summary.pass_1.mean == pytest.approx(3 / 8)
    assert summary.maj_n.mean == pytest.approx(1 / 2)
    assert summary.maj_n.interval == (0.0, 1.0)
    assert summary.maj_n.over_seeds is None


def test_the_deviation_over_seeds_is_that_of_the_runs() -> None:
    runs = [[1, 1], [1, 2], [2, 2]]
    solutions = [
        solution(name, [first], seed)
        for seed, firsts in enumerate(runs)
        for name, first in zip("ab", firsts, strict=True)
    ]
    accuracy = summarise(solutions).maj_n
    assert accuracy
    assert accuracy.mean == pytest.approx(0.5)
    assert accuracy.over_seeds == pytest.approx(0.5)


def test_an_unfinished_seed_does_not_distort_the_deviation() -> None:
    whole = [solution(name, [1], seed) for seed in (0, 1) for name in "ab"]
    accuracy = summarise([*whole, solution("a", [2], 2)]).maj_n
    assert accuracy
    assert accuracy.over_seeds == 0.0


def test_two_runs_are_compared_on_the_problems_that_both_have() -> None:
    ours = [solution("a", [1, 1]), solution("b", [1, 2]), solution("c", [1, 1])]
    theirs = [solution("d", [1, 1]), solution("b", [2, 1]), solution("a", [1, 2])]
    both, pass_1, maj_n = compare(ours, theirs)
    assert pass_1
    assert maj_n
    assert (both, pass_1.mean, maj_n.mean) == (2, 0.25, 0.5)
    assert maj_n.interval == (0.0, 1.0)
    assert compare(ours, [solution("e", [1])]) == (0, None, None)


def test_the_command_tells_how_far_a_run_is_ahead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tmp_path / name) for name in ("ours.jsonl", "theirs.jsonl")]
    for path, answers in zip(paths, ([1, 1], [1, 2]), strict=True):
        with Journal(Path(path), {}) as journal:
            journal.append(solution("a", answers))
    assert main(["summary", paths[0], "--against", paths[1]]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "ahead on 1 problems of both, paired, in points: pass@1 +50.0" in told
    assert "maj +0.0" in told


def test_without_gold_answers_no_accuracy_is_claimed() -> None:
    run = run_of(replies(ASK, ANSWER), Config(samples=2))
    summary = summarise(solved(run, [Problem("a", "x?")]))
    assert summary.pass_1 is None
    assert summary.maj_n is None


def test_time_in_engine_sandbox_and_idle_adds_up_to_the_samples_lifetime() -> None:
    run = run_of(replies(ASK, ASK, ANSWER), Config(samples=2))
    solutions = solved(run)
    summary = summarise(solutions)
    total = summary.engine_s + summary.sandbox_s + summary.idle_s
    assert total == pytest.approx(2 * solutions[0].seconds)
    assert summary.sandbox_s == pytest.approx(0.4)
    assert summary.second_round == 1.0
    assert summary.endings == {"answered": 2}


def test_one_submission_varies_by_its_problems_and_by_its_seed() -> None:
    # Half of the problems are always right, half are right in every second run.
    runs = [
        solution(f"{kind}{k}", [1 if kind == "sure" or (seed + k) % 2 else 2], seed)
        for seed in range(4)
        for kind in ("sure", "even")
        for k in range(20)
    ]
    expected = submission(runs, problems=50)
    assert expected
    assert expected.mean == pytest.approx(50 * 0.75)
    assert expected.deviation == pytest.approx((50 * 0.75 * 0.25) ** 0.5)
    assert expected.over_seeds == pytest.approx((50 * (0 + 1 / 3) / 2) ** 0.5)
    once = submission([s for s in runs if s.seed == 0])
    assert once
    assert once.over_seeds is None
    assert submission([]) is None


def test_the_runs_are_shown_one_by_one_with_their_deviation() -> None:
    firsts = [[1, 1], [1, 2], [2, 2]]
    runs = [
        solution(name, [first], seed)
        for seed, answers in enumerate(firsts)
        for name, first in zip("ab", answers, strict=True)
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(seeds_table([*runs, solution("a", [1], 3)]))
    shown = console.export_text()
    assert "1.0 ± 1.0 of 2 over 3 seed(s)" in shown
    assert "1 (unfinished)" in shown
    assert "one submission of 50 such problems:" in shown
    assert seeds_table(runs[:2]) is None, "one run has no deviation"
