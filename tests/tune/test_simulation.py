"""Recorded samples simulated: the same seconds as the real loop, however they are stopped."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimo_submit.budget import Allotment, effort_of, pooled
from aimo_submit.config import Config
from aimo_submit.engines.scripted import StepTime, simulate
from aimo_submit.pool.arrays import Pool
from aimo_submit.records import Execution, Outcome, Problem, Solution, Trace
from aimo_submit.run import seed_of
from aimo_submit.solve import solve
from aimo_submit.tune import PlannedRun, vote_rules
from aimo_submit.tune.forecast import Forecaster
from aimo_submit.tune.profile import Profile
from aimo_submit.tune.simulation import Samples, simulate_problem
from aimo_submit.tune.vote_rules import draw
from aimo_submit.vote import RULES
from benchmarks.tune import MACHINE, chances, simulated
from tests.scripted import run_of

ROOMY = dataclasses.replace(MACHINE, prefill_s=0.0)
HELD_UP = dataclasses.replace(MACHINE, turn_s=0.4)
PACE = StepTime(0.045, 0.0035)


def a_pool(problems: int = 12, samples: int = 16, rounds: int = 4, seed: int = 0) -> Pool:
    """A simulated pool."""
    rng = np.random.default_rng(seed)
    return simulated(chances(problems, rng), samples, rounds, rng)


def of_lengths(*lengths: int) -> Pool:
    """A pool of one problem whose samples end after a round of that length, all alike."""
    pool = a_pool(1, len(lengths), 1)
    pool.tokens[0, :, 0], pool.answer[0], pool.answered[0] = lengths, 0, 0
    pool.prompt_tokens[0] = 0
    return pool


def seconds_of(pool: Pool, profile: Profile = ROOMY) -> float:
    """What all samples of the pool's first problem take at full depth."""
    forecaster = Forecaster(pool, profile, PlannedRun(1.0, 1))
    return float(forecaster.simulate_draws(*pool.tokens.shape[1:])[0][0])


def test_the_batch_grows_quicker_as_samples_end() -> None:
    one, two, three = (ROOMY.step_s(b) for b in (1, 2, 3))
    found = seconds_of(of_lengths(100, 250, 300))
    assert found == pytest.approx(100 * three + 150 * two + 50 * one)
    assert found == pytest.approx(ROOMY.batch_s((100, 250, 300)))


def test_a_sample_whose_code_runs_does_not_slow_the_others() -> None:
    pool = a_pool(1, 2, 2)
    pool.answered[0], pool.answer[0], pool.prompt_tokens[0] = (1, 0), 0, 0
    pool.tokens[0] = [[10, 10], [400, 0]]
    pool.code_s[0] = [[5.0, 0.0], [0.0, 0.0]]
    one, two = ROOMY.step_s(1), ROOMY.step_s(2)
    alone = 5.0 / one  # tokens of the longer sample while the code ran
    expected = 10 * two + 5.0 + 10 * two + (400 - 20 - alone) * one
    assert seconds_of(pool) == pytest.approx(expected)


def test_a_sample_that_goes_on_after_its_code_holds_all_up() -> None:
    pool = a_pool(1, 2, 2)
    pool.answered[0], pool.answer[0], pool.prompt_tokens[0] = (1, 0), 0, 0
    pool.tokens[0] = [[10, 10], [400, 0]]
    pool.code_s[0] = [[5.0, 0.0], [0.0, 0.0]]
    held = dataclasses.replace(ROOMY, turn_s=3.0)
    assert seconds_of(pool, held) == pytest.approx(seconds_of(pool) + 3.0)


def test_what_the_cache_cannot_hold_waits() -> None:
    pool = of_lengths(100, 100, 100, 100)
    tight = dataclasses.replace(ROOMY, kv_tokens=250)
    assert seconds_of(pool, tight) == pytest.approx(2 * 100 * ROOMY.step_s(2))
    none = dataclasses.replace(ROOMY, kv_tokens=1)
    assert seconds_of(pool, none) == pytest.approx(4 * 100 * ROOMY.step_s(1))


def test_the_prompt_is_read_first() -> None:
    pool = of_lengths(100)
    pool.prompt_tokens[0] = 200
    slow = dataclasses.replace(ROOMY, prefill_s=0.01)
    assert seconds_of(pool, slow) == pytest.approx(2 + 100 * ROOMY.step_s(1))


def test_fewer_rounds_and_fewer_samples_take_less_time() -> None:
    forecaster = Forecaster(a_pool(), ROOMY, PlannedRun(1.0, 1))
    few, many = (
        np.array([forecaster.simulate_draws(n, m)[0] for m in range(1, 5)]) for n in (4, 16)
    )
    assert (np.diff(many, axis=0) >= -1e-9).all()
    assert (few.mean(axis=1) < many.mean(axis=1)).all()


def test_draws_hold_every_sample_once_and_absent_ones_last() -> None:
    pool = a_pool(3, 8)
    pool.present[1, 3:6] = False
    draws = draw(pool, 2)
    assert draws.problem.tolist() == [0, 0, 1, 1, 2, 2]
    assert (np.sort(draws.order, axis=1) == np.arange(8)).all()
    assert set(draws.order[2, 5:]) == set(draws.order[3, 5:]) == {3, 4, 5}


def test_every_sample_scores_as_the_plain_vote() -> None:
    forecaster = Forecaster(a_pool(), HELD_UP, PlannedRun(1.0, 1))
    _, scores = forecaster.simulate_draws(9, 3)
    assert scores == pytest.approx(vote_rules.scores(forecaster.pool, forecaster.draws, 9, 3))


def test_a_tie_counts_in_part_and_the_earliest_sample_decides_it() -> None:
    samples = Samples([3, 0, 0, 3, None], [(50,), (40,), (30,), (60,), (9,)], [()] * 5)
    tied = simulate_problem(samples, pooled(5, math.inf, None), PACE)
    assert (tied.answer, tied.leaders, tied.score) == (3, [3, 0], 0.5)
    silent = simulate_problem(Samples([None], [(50,)], [()]), pooled(1, math.inf, None), PACE)
    assert (silent.answer, silent.score) == (None, 0.0)


# --- against the real loop

lives = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(40, 400), st.sampled_from([0.0, 0.7, 9.0])), max_size=3),
        st.integers(40, 400),
        st.sampled_from([None, 1, 1, 2, 3]),
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=40, deadline=None)
@given(lives, st.sampled_from([None, 0.0, 0.15]), st.sampled_from([math.inf, 30.0]))
def test_a_problem_is_simulated_as_the_real_loop_solves_it(
    samples: list[tuple[list[tuple[int, float]], int, int | None]],
    eps: float | None,
    deadline_s: float,
) -> None:
    """Rounds, code, stopping, starting, the deadline and what the budget learns from it."""
    allotment = pooled(len(samples), deadline_s, eps)
    recorded = Samples(
        answers=[answer for _, _, answer in samples],
        tokens=[[n + 1 for n, _ in rounds] + [last + 1] for rounds, last, _ in samples],
        code_s=[[s for _, s in rounds] for rounds, _, _ in samples],
    )
    found = simulate_problem(recorded, allotment, PACE)
    solution, traces = really(samples, allotment)
    assert found.effort.seconds == pytest.approx(solution.seconds, abs=1e-3)
    assert found.answer == (solution.answer if solution.votes else None)
    real = effort_of(traces, solution.seconds, allotment.width)
    assert len(found.effort.ended) == len(real.ended)
    assert found.effort.lead == real.lead
    assert sum(s for _, s in found.effort.ended) == pytest.approx(
        sum(s for _, s in real.ended), abs=1e-2
    )


def really(
    samples: list[tuple[list[tuple[int, float]], int, int | None]], allotment: Allotment
) -> tuple[Solution, list[Trace]]:
    """The same samples through the solver, on the virtual clock."""
    texts = {}
    for k, (rounds, last, answer) in enumerate(samples):
        for r, (length, seconds) in enumerate(rounds):
            texts[seed_of(0, "p", k, r)] = block(length, seconds)
        end = "" if answer is None else f"\\boxed{{{answer}}}"
        texts[seed_of(0, "p", k, len(rounds))] = "." * (last - len(end)) + end
    run = run_of(
        lambda prompt, sampling: texts[sampling.seed],
        Config(edition="any", samples=len(samples), rounds=4, max_new_tokens=9999),
        execute=lambda code: Execution(Outcome.OK, "", float(code.split("#")[1])),
        step_time=PACE,
    )
    run = dataclasses.replace(run, format=dataclasses.replace(run.format, needs_code=False))
    traces: list[Trace] = []
    return simulate(solve(run, Problem("p", "p"), traces, allotment)), traces


def block(length: int, seconds: float) -> str:
    """A completion of that many tokens whose code takes those seconds."""
    end = f"```python\n#{seconds}#\n```\n```output\n"
    return "." * (length - len(end)) + end


# --- rules


@pytest.mark.parametrize("rule", ["majority", "rounds", "code", "box", "code+box", "logprob"])
def test_rules_on_arrays_are_those_on_traces(rule: str) -> None:
    """A pool has no traces, so the rules are written twice: they must say the same."""
    from aimo_submit.records import Completion, Finish, Round, Status

    pool = a_pool(10, 14, 3, seed=5)
    draws = draw(pool, 1)
    found = vote_rules.scores(pool, draws, 14, 3, rule)
    for row, problem in enumerate(draws.problem):
        traces = []
        for k in draws.order[row]:
            answered = int(pool.answered[problem, k])
            text = "boxed" if pool.boxed[problem, k] else ""
            written = Completion(text, (1,), Finish.EOS, float(pool.logprob[problem, k]))
            ran = Execution(Outcome.OK, "", 0.0)
            code = "1" if pool.has_code[problem, k] else None
            rounds = [Round(written, code, ran) for _ in range(answered)] + [Round(written, code)]
            answer = int(pool.answer[problem, k]) if answered >= 0 else None
            traces.append(Trace(len(traces), rounds, Status.ANSWERED, answer))
        votes = RULES[rule](traces)
        if found[row] in (0.0, 1.0):
            assert bool(votes and votes[0].answer == 0) == bool(found[row])
