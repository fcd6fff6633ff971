"""N and M chosen from a pool: what fits, what may be as good, and what cannot be told."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aimo_submit.cli import main
from aimo_submit.cli.tune import seconds_of
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.pool.arrays import Pool
from aimo_submit.records import Completion, Finish, Problem, Round, Solution, Status, Trace
from aimo_submit.toml import read_toml
from aimo_submit.tune import Candidate, Forecast, PlannedRun, StopRule, advice, paired
from aimo_submit.tune.advice import compare_candidates, parsed
from aimo_submit.tune.choosing import choose, length_ratio, pareto_front, shortlist, usable
from aimo_submit.tune.forecast import Forecaster
from aimo_submit.tune.tuner import Tuner, Tuning
from benchmarks.tune import MACHINE, chances, simulated

pytestmark = pytest.mark.slow

PROFILE = dataclasses.replace(MACHINE, model="tiny-tir", engine="vllm", estimated=False)
SETTINGS = {"model": "tiny-tir", "edition": "aimo-2", "temperature": 0.7, "max_new_tokens": 500}


def a_pool(problems: int = 60, samples: int = 24, rounds: int = 3, seed: int = 0) -> Pool:
    """A simulated pool."""
    rng = np.random.default_rng(seed)
    made = simulated(chances(problems, rng), samples, rounds, rng)
    return dataclasses.replace(made, settings={**SETTINGS, "rounds": rounds, "samples": samples})


@cache
def tuned(hours: float = 9.0) -> Tuning:
    """A tuning of that pool."""
    return Tuner(a_pool(), PROFILE, PlannedRun(hours * 3600)).tuning()


def forecast(name: int, scores: list[float], time_s: float) -> Forecast:
    """A forecast with N = name."""
    return Forecast(Candidate(name, 1), np.array(scores), time_s, time_s)


# --- choosing


def test_the_quickest_that_is_surely_nearly_as_good_as_the_best_is_chosen() -> None:
    good = [1.0] * 30 + [0.0] * 10
    poor = forecast(1, [0.0] * 40, 10)
    unsure = forecast(2, [*good[:29], 0.0, *good[30:]], 20)  # of 40, one less: that may be chance
    near = forecast(2, [0.99 * score for score in good], 25)
    best = forecast(3, good, 30)
    slow = forecast(4, [1.0] * 40, 40)
    assert choose([slow, best, near, unsure, poor], 35) is near
    assert choose([slow, best, unsure, poor], 35) is best
    assert choose([slow, best, near, unsure, poor], 45) is slow
    assert choose([slow], 35) is None


def test_the_front_holds_what_nothing_quicker_equals() -> None:
    a, b, c, d = (
        forecast(1, [0.0, 1.0], 10),
        forecast(2, [0.0, 0.5], 20),
        forecast(3, [1.0, 1.0], 30),
        forecast(4, [1.0, 1.0], 40),
    )
    assert pareto_front([d, c, b, a]) == (a, c)


def test_what_is_played_are_the_base_and_what_takes_longer() -> None:
    points = [forecast(n, [0.1 * n], 10 * n) for n in range(1, 10)]
    assert shortlist(points, points[4]) == [(5, 1), (6, 1), (7, 1), (8, 1), (9, 1)]
    assert (9, 1) in shortlist(points, None)
    assert len(shortlist(points, points[0])) == 5


def test_two_settings_are_compared_problem_by_problem() -> None:
    hard, easy = [0.0] * 25, [0.9] * 25
    a = forecast(1, hard + easy, 1)
    b = forecast(2, hard + [x + 0.05 for x in easy], 1)
    gain, low, high = paired(a, b)
    assert gain == pytest.approx(0.025)
    assert 0 < low < gain < high < 0.05
    assert a.interval[1] - a.interval[0] > 0.1  # either alone says far less


# --- a whole tuning


def test_a_tuning_recommends_what_fits_the_time() -> None:
    for hours in (0.6, 9.0):
        choice = tuned(hours).choice
        assert choice is not None
        assert choice.recommended.time_q95_s <= hours * 3600
        assert choice.recommended.candidate.stop is StopRule.BUDGET


def test_with_less_time_less_is_foreseen() -> None:
    short, long = tuned(0.6).choice, tuned(9.0).choice
    assert short is not None
    assert long is not None
    assert short.recommended.accuracy < long.recommended.accuracy
    assert short.recommended.time_q95_s < long.recommended.time_q95_s


def test_the_grid_holds_the_plain_figures() -> None:
    tuning, pool = tuned(), a_pool()
    right = (pool.answer == 0) & (pool.answered >= 0)
    assert tuning.every.accuracy[0, -1] == pytest.approx(right.mean())
    assert (tuning.every.lower <= tuning.every.accuracy).all()
    assert (tuning.every.accuracy <= tuning.every.upper).all()
    assert (np.diff(tuning.every.time_s, axis=0) > 0).all()
    assert (tuning.every.time_q95_s >= tuning.every.time_s).all()
    assert (tuning.pass_at >= tuning.every.accuracy - 1e-9).all()
    assert tuning.samples[-1] == 24
    assert tuning.rounds == (1, 2, 3)


def test_an_early_stop_saves_time_and_hardly_costs_accuracy() -> None:
    tuning = tuned()
    assert tuning.stopped.time_s[-1, -1] < 0.9 * tuning.every.time_s[-1, -1]
    assert abs(tuning.stopped.accuracy - tuning.every.accuracy).max() < 0.02


def test_nothing_fits_is_said_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r"nothing fits.*--limit"):
        Tuner(a_pool(), dataclasses.replace(PROFILE, load_s=4000.0), PlannedRun(3600)).tuning()


def test_a_pool_without_lengths_still_tells_accuracy() -> None:
    pool = a_pool()
    pool.tokens[:] = 0
    tuning = Tuner(pool, PROFILE, PlannedRun(3600)).tuning()
    assert tuning.choice is None
    assert tuning.every.accuracy == pytest.approx(tuned().every.accuracy)
    assert any("no time can be foreseen" in line for line in advice.warnings(tuning, SETTINGS))


def test_problems_of_too_few_samples_are_left_out() -> None:
    pool = a_pool(10)
    pool.present[3, 5:] = pool.present[4, 20:] = False
    assert "3" not in usable(pool).problems
    tuning = Tuner(pool, None, PlannedRun(3600)).tuning()
    assert (tuning.problems, tuning.left_out, tuning.recorded) == (9, 1, 20)


def test_longer_wrong_samples_are_told_from_shorter_ones() -> None:
    pool = a_pool()
    for factor, above in ((3, True), (1, False)):
        changed = pool.tokens * np.where(pool.answer > 0, factor, 2)[:, :, None]
        found = length_ratio(dataclasses.replace(pool, tokens=changed))
        assert found is not None
        assert (found.interval[0] > 1, found.interval[1] < 1) == (above, not above)


def test_a_limit_is_kept_by_the_budget_and_by_shares_but_not_by_every_sample() -> None:
    forecaster = Forecaster(a_pool(), PROFILE, PlannedRun(1800.0))
    free, shared, kept = (
        forecaster.forecast(Candidate(24, 3, stop))
        for stop in (StopRule.EVERY, StopRule.SHARES, StopRule.BUDGET)
    )
    assert free.time_q95_s > 1800
    assert shared.time_q95_s <= 1800
    assert kept.time_q95_s <= 1800
    assert 0 < kept.accuracy < free.accuracy


def test_a_rule_that_weighs_what_is_right_gains() -> None:
    pool = a_pool()
    pool.boxed[:] = pool.answer == 0
    gain = Forecaster(pool, PROFILE, PlannedRun(1.0)).rule_gain(Candidate(8, 3, vote="box"))
    assert gain.mean() > 0.01


def test_loading_counts_against_the_limit() -> None:
    slow = dataclasses.replace(PROFILE, load_s=900.0)
    found = Forecaster(a_pool(), slow, PlannedRun(1800.0)).forecast(
        Candidate(24, 3, StopRule.BUDGET)
    )
    assert 900 < found.time_q95_s <= 1800


# --- words and settings


def test_the_settings_written_run_as_they_are(tmp_path: Path) -> None:
    tuning = tuned()
    assert tuning.choice is not None
    file = tmp_path / "tuned.toml"
    file.write_text(advice.toml(tuning, tuning.choice, SETTINGS))
    config = Config.of(read_toml(file))
    chosen = tuning.choice.recommended.candidate
    assert (config.samples, config.rounds) == (chosen.samples, chosen.rounds)
    assert (config.total_time_s, config.problems) == (9 * 3600, 50)
    assert (config.temperature, config.max_new_tokens, config.engine) == (0.7, 500, "vllm")


def test_the_reason_has_two_sentences() -> None:
    tuning = tuned()
    assert tuning.choice is not None
    assert advice.reason(tuning, tuning.choice).count(". ") == 1


def warned(tuning: Tuning, **changes: Any) -> list[str]:
    """The warnings where the choice is changed so."""
    assert tuning.choice is not None
    choice = dataclasses.replace(tuning.choice, **changes)
    return advice.warnings(dataclasses.replace(tuning, choice=choice), SETTINGS)


def test_a_pool_that_is_too_small_says_how_much_more_would_tell() -> None:
    tuning = tuned()
    every = dataclasses.replace(forecast(24, [0.5] * 60, 1), candidate=Candidate(24, 3))
    assert any("record 36 to 48 samples" in line for line in warned(tuning, recommended=every))
    flip = forecast(8, [0.5, 0.6] * 30, 1)
    lines = warned(tuning, recommended=forecast(9, [0.0, 1.0] * 30, 1))
    assert any("60 problems are few, about" in line for line in lines)
    lines = warned(tuning, recommended=flip, quickest=flip, best=flip, same_problems=0.05)
    assert any("about 600 samples a problem" in line for line in lines)
    lines = warned(tuning, recommended=flip, quickest=flip, best=flip, same_problems=0.01)
    assert lines == []


def test_an_estimated_profile_and_another_model_are_named() -> None:
    tuning = dataclasses.replace(tuned(), profile=MACHINE)
    lines = advice.warnings(tuning, SETTINGS)
    assert any("estimate from data sheets" in line for line in lines)
    assert any("samples of tiny-tir" in line for line in lines)


# --- what if


def test_what_if_compares_on_the_same_problems() -> None:
    tuner = Tuner(a_pool(), PROFILE, PlannedRun(9 * 3600))
    every, budget = compare_candidates(tuner, {"samples": 2, "rounds": 1}, {"samples": 12})
    gain, low, _ = every.gain
    assert gain == pytest.approx(every.second.accuracy - every.first.accuracy)
    assert low > 0
    assert every.second.candidate == Candidate(12, 3)
    assert budget.second.candidate.stop is StopRule.BUDGET
    assert every.second.time_s > every.first.time_s


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("samples=999", "the pool holds 24 samples"),
        ("rounds=9", "the pool holds 3 rounds"),
    ],
)
def test_what_was_not_recorded_cannot_be_asked(asked: str, message: str) -> None:
    tuner = Tuner(a_pool(), PROFILE, PlannedRun(9 * 3600))
    with pytest.raises(UserError, match=message):
        compare_candidates(tuner, parsed(asked), {})


@pytest.mark.parametrize(
    "asked", ["temperature=0.5", "samples", "samples=x", "samples=0", "vote=agreement", "vote=x"]
)
def test_a_what_if_that_makes_no_sense_is_refused(asked: str) -> None:
    with pytest.raises(UserError):
        parsed(asked)


# --- the command


@pytest.mark.parametrize(("text", "seconds"), [("9h", 32400), ("90m", 5400), ("600s", 600),
                                               ("32400", 32400), ("1.5h", 5400)])  # fmt: skip
def test_limits_are_read_in_hours_minutes_or_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def journal(folder: Path, problems: int = 6, samples: int = 8) -> Path:
    """A folder with a small journal."""
    from aimo_submit.config import settings_of
    from aimo_submit.journal import Journal

    rng = np.random.default_rng(0)
    config = Config(edition="aimo-2", samples=samples, rounds=2)
    with Journal(folder / "a.jsonl", settings_of(config)) as made:
        for p in range(problems):
            traces = []
            for k in range(samples):
                tokens = (1,) * int(rng.integers(50, 90))
                written = Completion("x \\boxed{1}", tokens, Finish.EOS, 0.0)
                answer = int(rng.integers(1, 3))
                traces.append(Trace(k, [Round(written)], Status.ANSWERED, answer))
            problem = Problem(f"p{p}", f"problem {p}", 1)
            made.append(Solution(problem, 1, [], traces, 0, 1.0))
    return folder


def profile(folder: Path) -> Path:
    """A profile's file."""
    file = folder / "here.toml"
    file.write_text(PROFILE.to_toml())
    return file


def command(*options: object) -> list[str]:
    """The command line."""
    return ["tune", *map(str, options)]


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool, machine, out = journal(tmp_path / "pool"), profile(tmp_path), tmp_path / "tuned.toml"
    args = command("--pool", pool, "--profile", machine, "--limit", "1h", "--problems", 5)
    assert main([*args, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "recommended:" in printed.splitlines()[-1]
    assert Config.of(read_toml(out)).problems == 5
    assert main([*args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recommended"]["setting"]["samples"] in found["samples"]


def test_the_command_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool, machine = journal(tmp_path / "pool"), profile(tmp_path)
    args = command("--pool", pool, "--profile", machine, "--limit", "1h", "--problems", 5)
    assert main([*args, "--what-if", "samples=2", "--what-if", "samples=8,rounds=1"]) == 0
    assert "difference" in capsys.readouterr().out
    assert main([*args, "--what-if", "samples=2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "soon"], "--limit soon: give a time"),
        (["--limit", "0h"], "give a time"),
        (["--problems", "0"], "must be at least 1"),
        (["--profile", "t5x3"], "no profile 't5x3'"),
        (["--what-if", "tokens=3"], "cannot be told from a pool"),
        (["--what-if", "samples=2"], "without --profile nothing is recommended"),
        (["--what-if", "samples=2"] * 3, "one setting, or two"),
        (["--out", "tuned.toml"], "nothing is recommended"),
    ],
)
def test_misuse_is_one_line_with_a_remedy(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = journal(tmp_path / "pool")
    assert main([*command("--pool", pool), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_votes_of_other_models_can_be_tuned_for_accuracy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "votes.csv"
    rows = [f"p{p},5,{5 if (p + k) % 3 else 4}" for p in range(8) for k in range(6)]
    table.write_text("\n".join(["problem_id,answer,logged_answer", *rows]) + "\n")
    assert main(command("--pool", table)) == 0
    assert "no time can be foreseen" in capsys.readouterr().out.replace("\n", " ")
    asked = ["--what-if", "samples=2", "--what-if", "samples=6,vote=code,early_stop=0"]
    assert main([*command("--pool", table), *asked]) == 0
    assert "difference" in capsys.readouterr().out
