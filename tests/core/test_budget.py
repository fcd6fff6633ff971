"""The time budget: its invariants, and that the solver keeps to it."""

from __future__ import annotations

import asyncio
import json
import math
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimo_submit import budget
from aimo_submit.budget import (
    Allotment,
    Budget,
    Stop,
    Tally,
    Terms,
    deadline,
    decided,
    effort_of,
    flip,
    stop_of,
    threshold,
)
from aimo_submit.config import Config
from aimo_submit.engines import Engine, Sampling
from aimo_submit.engines.scripted import ScriptedEngine, StepTime, simulate
from aimo_submit.errors import EngineDied
from aimo_submit.pacing import Effort, Learner, Pacing
from aimo_submit.records import Completion, Problem, Solution, Status, Trace
from aimo_submit.run import Run, seed_of
from aimo_submit.solve import solve
from tests import ROOT
from tests.core.test_solver import solver_on
from tests.scripted import ANSWER, ASK, PROBLEM, replies, run_of

SECONDS = st.floats(0, 40_000)
LEFT = st.integers(1, 200)
VOTES = st.integers(0, 40)
NOTHING = Effort(0.0, 0, [], [])


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# --- the deadline


@given(SECONDS, LEFT, SECONDS)
def test_no_problem_gets_more_than_there_is_or_than_two_and_a_half_shares(
    rem: float, left: int, share0: float
) -> None:
    assert 0 <= deadline(rem, left, share0) <= min(rem, budget.CAP * share0)


@given(SECONDS, SECONDS, LEFT, SECONDS)
def test_more_time_or_fewer_problems_left_never_shorten_a_deadline(
    rem: float, more: float, left: int, share0: float
) -> None:
    given = deadline(rem, left, share0)
    assert deadline(rem + more, left, share0) >= given - 1e-6
    assert deadline(rem, left + 1, share0) <= given + 1e-6


@settings(max_examples=50)
@given(st.data())
def test_without_overshoot_every_problem_gets_an_equal_share_whatever_earlier_ones_spent(
    data: st.DataObject,
) -> None:
    total, problems = data.draw(st.floats(600, 40_000)), data.draw(st.integers(1, 60))
    clock = Clock()
    account = Budget(Terms(total, problems), clock)
    reserve = max(min(120, total / 10), 0.02 * total)
    share0 = max(0.0, (total - reserve) / problems - budget.OVERHEAD_S)
    for spent in data.draw(st.lists(st.floats(0, 1), min_size=problems, max_size=problems)):
        given = account.begin().deadline_s
        assert given >= share0 - 1e-6
        clock.now += spent * given
        account.end(NOTHING)
        clock.now += budget.OVERHEAD_S


@settings(max_examples=50)
@given(st.data())
def test_the_total_exceeds_the_plan_by_no_more_than_one_overshoot(data: st.DataObject) -> None:
    total, problems = data.draw(st.floats(600, 40_000)), data.draw(st.integers(1, 60))
    worst = data.draw(st.floats(0, 200))
    reserve, clock = max(min(120, total / 10), 0.02 * total), Clock()
    account = Budget(Terms(total, problems), clock)
    clock.now += data.draw(st.floats(0, total / 2))  # loading
    for _ in range(problems):
        given = account.begin().deadline_s
        assert given >= 0
        late = data.draw(st.sampled_from([0.0, 0.0, worst])) if given > 0 else 0.0
        clock.now += given * data.draw(st.sampled_from([1.0, 1.0, 0.3])) + late
        account.end(NOTHING)
        clock.now += data.draw(st.floats(0, budget.OVERHEAD_S))
    assert clock.now <= total - reserve + worst + 1e-6


@given(st.lists(st.tuples(st.floats(-2e4, 2e4), st.floats(0, 1)), min_size=1, max_size=50))
def test_a_clock_that_jumps_back_harms_nothing(jumps: list[tuple[float, float]]) -> None:
    total, clock, spent = 20_000.0, Clock(), 0.0
    account = Budget(Terms(total, 50), clock)
    for jump, part in jumps:
        clock.now += jump
        spent += max(0.0, jump)
        given = account.begin().deadline_s
        assert 0 <= given <= max(0.0, total - spent)
        clock.now += part * given
        spent += part * given
        assert account.end(NOTHING).used_s == pytest.approx(part * given, abs=1e-6)


def test_an_overshoot_once_seen_is_kept_in_reserve() -> None:
    clock = Clock()
    account = Budget(Terms(10_000, 10), clock)
    clock.now += account.begin().deadline_s + 700
    account.end(NOTHING)
    clock.now = 10_000 - 700
    assert account.begin().deadline_s == 0


def test_loading_counts_and_a_short_rehearsal_keeps_most_of_its_time() -> None:
    clock = Clock()
    account = Budget(Terms(100, 2), clock)
    clock.now = 30
    assert account.begin().deadline_s == pytest.approx((100 - 10 - 30 - 2 * 2) / 2)


def test_where_their_number_is_unknown_more_problems_are_always_reckoned_with() -> None:
    clock = Clock()
    account = Budget(Terms(9_000, expected=10), clock)
    for _ in range(30):
        given = account.begin().deadline_s
        assert 0 < given <= 2.5 * 9_000 / 10
        clock.now += given
        account.end(NOTHING)


def test_where_their_number_is_unknown_ample_time_is_kept_for_the_most_there_may_be() -> None:
    pacing = Pacing(tokens=100, s0=0.01, s1=0.0001)  # a problem takes 2 s
    ample = Budget(Terms(9_000, expected=10), Clock(), pacing).begin().deadline_s
    known = Budget(Terms(9_000, problems=20), Clock(), pacing).begin().deadline_s
    assert ample == pytest.approx(known)


# --- stopping


def exact_flip(a: int, b: int, r: int) -> Fraction:
    """`flip` in whole numbers: each of the r votes drawn from an urn of a+1 and b+1."""
    chances = {0: Fraction(1)}  # votes for the leader -> probability
    for drawn in range(r):
        after: dict[int, Fraction] = {}
        for x, p in chances.items():
            up = Fraction(a + 1 + x, a + b + 2 + drawn)
            after[x + 1] = after.get(x + 1, Fraction(0)) + p * up
            after[x] = after.get(x, Fraction(0)) + p * (1 - up)
        chances = after
    lose = sum((p for x, p in chances.items() if a + x < b + r - x), Fraction(0))
    return lose + sum((p for x, p in chances.items() if a + x == b + r - x), Fraction(0)) / 2


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 16))
def test_flip_is_the_chance_that_an_urn_turns_the_vote(lead: int, b: int, r: int) -> None:
    a = b + lead
    assert flip(a, b, r) == pytest.approx(float(exact_flip(a, b, r)), abs=1e-12)


@given(VOTES, VOTES, st.integers(0, 90))
def test_flip_is_zero_exactly_when_nothing_can_turn_the_vote(lead: int, b: int, r: int) -> None:
    a = b + lead
    assert (flip(a, b, r) == 0) == (a - b > r)
    assert flip(a + 1, b, r) <= flip(a, b, r) + 1e-12
    assert flip(a + 1, b + 1, r) >= flip(a + 1, b, r) - 1e-12


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=30),
    st.lists(st.integers(0, 4), max_size=30),
)
def test_an_exact_stop_loses_nothing(answers: list[int | None], outstanding: list[int]) -> None:
    tally = tallied(answers)
    if Allotment(eps=0.0).settles(tally, len(outstanding)):
        assert tallied([*answers, *outstanding]).leader == tally.leader


@given(st.lists(st.integers(0, 6), max_size=40), st.permutations(range(7)), st.integers(0, 48))
def test_relabelling_the_answers_changes_no_decision(
    answers: list[int], labels: list[int], outstanding: int
) -> None:
    plain, other = tallied(answers), tallied([labels[a] for a in answers])
    assert (plain.lead, plain.rival) == (other.lead, other.rival)
    allotment = Allotment(eps=0.05)
    assert allotment.settles(plain, outstanding) == allotment.settles(other, outstanding)


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=60))
def test_the_tally_counts_as_a_counter_does(answers: list[int | None]) -> None:
    tally = tallied(answers)
    counts = Counter(a for a in answers if a is not None)
    first, second, *_ = (*sorted(counts.values(), reverse=True), 0, 0)
    assert (tally.lead, tally.rival, tally.ended) == (first, second, len(answers))
    assert tally.leader is None if not counts else counts[tally.leader] == first


def tallied(answers: Sequence[int | None]) -> Tally:
    """The tally of the answers, in that order."""
    tally = Tally()
    for answer in answers:
        tally.add(answer)
    return tally


def test_a_likely_lead_ends_a_problem_only_after_four_answers() -> None:
    assert not decided(3, 0, answered=3, outstanding=6, eps=0.5)
    assert decided(4, 0, answered=4, outstanding=6, eps=0.5)
    assert not Allotment(eps=None).settles(tallied([1] * 40), 1)


@given(st.floats(0, 2000), st.floats(0, 2000))
def test_the_less_time_the_more_risk_is_taken(share: float, more: float) -> None:
    low, high = threshold(share + more, 600), threshold(share, 600)
    assert budget.EPS_AMPLE - 1e-12 <= low <= high + 1e-12 <= budget.EPS_TIGHT + 1e-9


# --- width, starts, pacing


def test_a_problem_starts_as_many_samples_as_end_within_its_share() -> None:
    pacing, clock = Pacing(1000, 0.01, 0.001), Clock()
    account = Budget(Terms(2_400, 100), clock, pacing)  # a share of 20.8 s
    allotment = account.begin()
    assert allotment.width == 10
    assert pacing.sample_s(allotment.width) <= 20.8 < pacing.sample_s(allotment.width + 1)
    assert Budget(Terms(2_400, 2_000), Clock(), pacing).begin().width == budget.FEWEST
    assert Budget(Terms(90_000, 10, samples=16), Clock(), pacing).begin().width == 16


def test_a_sample_starts_only_with_a_place_and_time_to_end() -> None:
    allotment = Allotment(100.0, width=8, samples=20, pacing=Pacing(1000, 0.01, 0.005))
    assert allotment.may_start(49, running=7, started=10)  # 1000 tokens at 0.05 s
    assert not allotment.may_start(50, running=7, started=10)
    assert not allotment.may_start(0, running=8, started=10)
    assert not allotment.may_start(0, running=0, started=20)


@pytest.mark.parametrize("wrong", [Pacing(600), Pacing(6000), Pacing(1915, 0.2, 0.01)])
def test_the_pacing_is_learned_within_two_problems(wrong: Pacing) -> None:
    learner, rng, true = Learner(wrong), random.Random(0), Pacing(1500, 0.02, 0.001)
    for _ in range(2):
        lengths = [true.tokens * math.exp(0.6 * rng.gauss(0, 1)) for _ in range(48)]
        learner.learn(batch(lengths, true, cut_after=30))
    assert learner.pacing.tokens == pytest.approx(1500, rel=0.2)
    assert learner.pacing.sample_s(40) == pytest.approx(true.sample_s(40), rel=0.25)


def test_samples_cut_before_any_ended_still_say_that_they_are_long() -> None:
    learner = Learner(Pacing(200, 0.0, 0.01))
    learner.learn(Effort(1000.0, 48, [(1000.0, 80.0)], [1000.0] * 47))
    assert learner.pacing.tokens > 10_000


def test_where_no_sample_ends_the_next_problem_runs_fewer() -> None:
    """A machine ten times slower than assumed would otherwise never end a sample."""
    clock = Clock()
    account = Budget(Terms(7_500, 50), clock)
    widths = []
    for _ in range(6):
        allotment = account.begin()
        widths.append(allotment.width)
        clock.now += allotment.deadline_s
        unended = [allotment.deadline_s] * allotment.width
        account.end(Effort(allotment.deadline_s, allotment.width, [], unended))
    assert widths[0] > widths[-1] == budget.FEWEST


POSITIVE = st.floats(0, 1e6)


@given(
    st.lists(
        st.builds(
            Effort,
            POSITIVE,
            st.integers(0, 96),
            st.lists(st.tuples(POSITIVE, POSITIVE), max_size=10),
            st.lists(POSITIVE, max_size=10),
        ),
        max_size=5,
    )
)
def test_no_effort_however_odd_spoils_the_pacing(efforts: list[Effort]) -> None:
    learner = Learner(Pacing())
    for effort in efforts:
        learner.learn(effort)
        assert 1 <= learner.pacing.tokens < math.inf
        assert 0 < learner.pacing.step_s(1) < math.inf


def batch(lengths: Sequence[float], pacing: Pacing, cut_after: int) -> Effort:
    """The effort of samples that begin together and are cut once so many have ended."""
    seconds, position, ended = 0.0, 0.0, []
    for done, length in enumerate(sorted(lengths)[:cut_after]):
        seconds += (length - position) * pacing.step_s(len(lengths) - done)
        position = length
        ended.append((length, seconds))
    return Effort(seconds, len(lengths), ended, [seconds] * (len(lengths) - cut_after))


def test_why_a_problem_ended_is_told() -> None:
    allotment = Allotment(100.0, width=2, samples=3, eps=0.1, pacing=Pacing(10, 1.0, 0.0))
    one = (10.0, 10.0)
    assert stop_of(allotment, Effort(100.0, 2, [one], [100.0])) is Stop.DEADLINE
    assert stop_of(allotment, Effort(50.0, 2, [one], [50.0])) is Stop.DECIDED
    assert stop_of(allotment, Effort(50.0, 2, [one, one], [], lead=2)) is Stop.DECIDED
    assert stop_of(allotment, Effort(50.0, 2, [one, one, one], [])) is Stop.COMPLETE
    assert stop_of(allotment, Effort(95.0, 2, [one, one], [])) is Stop.DEADLINE


# --- the solver, on the virtual clock


def spelled(*samples: tuple[int, int]) -> Callable[[str, Sampling], str]:
    """A script by sample number: each writes so many tokens, then its answer."""
    texts = {
        seed_of(0, PROBLEM.text, k, 0): "." * tokens + f"\\boxed{{{answer}}}"
        for k, (tokens, answer) in enumerate(samples)
    }
    return lambda prompt, sampling: texts[sampling.seed]


def plain_run(script: Callable[[str, Sampling], str], **given: object) -> Run:
    """A run whose samples need no code, at 0.1 s a token."""
    config = Config.of({"max_new_tokens": 100_000, **given})
    return run_of(script, config, step_time=StepTime(0.1), format="r1_distill")


def under(run: Run, allotment: Allotment | None) -> Solution:
    """The problem's solution under the allotment, on the virtual clock."""
    return simulate(solve(run, PROBLEM, [], allotment))


def test_a_decided_vote_cancels_the_stragglers_and_saves_their_tokens() -> None:
    script = spelled(*[(100, 42)] * 8, *[(5000, 7)] * 4)
    run = plain_run(script, samples=12)
    solution = under(run, Allotment(width=12, samples=12, eps=0.02))
    assert (solution.answer, run.engine.running) == (42, 0)
    assert Counter(t.status for t in solution.traces) == {Status.ANSWERED: 8, Status.CANCELLED: 4}
    assert solution.seconds < 20
    assert under(plain_run(script, samples=12), None).seconds > 500


def test_without_a_budget_every_sample_runs_to_its_end() -> None:
    run = plain_run(spelled(*[(100 * k, 42) for k in range(1, 13)]), samples=12)
    solution = under(run, None)
    assert all(t.status is Status.ANSWERED for t in solution.traces)
    assert len(solution.traces) == 12


def test_a_pool_may_ask_for_the_lossless_stop() -> None:
    run = plain_run(spelled(*[(100 * k, 42) for k in range(1, 13)]), samples=12, early_stop=0.0)
    solution = under(run, None)
    assert sum(t.status is Status.ANSWERED for t in solution.traces) == 7  # of 12: 7 > 5
    assert solution.answer == 42


def test_a_pool_gets_all_its_samples_unless_the_vote_is_decided() -> None:
    """The pacing assumed for an unknown machine must not keep a sample from starting."""
    script = spelled(*[(100, k % 2) for k in range(12)])
    run = plain_run(script, samples=12, early_stop=0.0, problem_timeout_s=50)
    solution = under(run, None)
    assert [t.status for t in solution.traces] == [Status.ANSWERED] * 12
    assert solution.seconds == pytest.approx(2 * 11, rel=0.1)  # six at once


class Watched(ScriptedEngine):
    """Notes the most requests that were ever under way."""

    most = 0

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        self.most = max(self.most, self.running + 1)
        return await super().complete(prompt, sampling)


def test_an_undecided_problem_is_refilled_without_ever_running_wider() -> None:
    run = plain_run(spelled(*[(100 + k, k % 2) for k in range(96)]))
    engine = Watched(spelled(*[(100 + k, k % 2) for k in range(96)]), StepTime(0.1))
    allotment = Allotment(1e6, width=10, samples=30, eps=0.02, pacing=Pacing(100, 0.1, 0.0))
    solution = under(replace(run, engine=engine), allotment)
    assert len(solution.traces) == 30
    assert engine.most == 10
    assert [t.answer for t in solution.traces] == [k % 2 for k in range(30)]  # k's own, refilled


def test_nothing_is_started_that_is_unlikely_to_end_in_time() -> None:
    run = plain_run(spelled(*[(100, k) for k in range(20)]))
    allotment = Allotment(15.0, width=4, samples=20, eps=0.02, pacing=Pacing(100, 0.1, 0.0))
    solution = under(run, allotment)  # the first four end at 10.x s
    assert len(solution.traces) == 4
    effort = effort_of(solution.traces, solution.seconds, 4)
    assert stop_of(allotment, effort) is Stop.DEADLINE


def test_a_problem_that_gets_no_time_is_answered_at_once() -> None:
    solution = under(plain_run(spelled((100, 42))), Allotment(0.0))
    assert (solution.answer, solution.traces, solution.seconds) == (0, [], 0)


def test_a_dead_engine_is_not_refilled() -> None:
    class Dead(ScriptedEngine):
        async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
            raise EngineDied("lost its worker")

    run = replace(plain_run(spelled()), engine=Dead(replies("")))
    assert len(under(run, Allotment(100.0, width=4, samples=8, eps=0.02)).traces) == 4


def contest(
    total_s: float, order: Sequence[int], stalls: Sequence[float] = ()
) -> tuple[dict[str, Solution], float]:
    """Problems solved in that order under one budget, stalls after some; and when it was over."""
    texts = {seed_of(0, str(i), k, 0): essay(i, k) for i in order for k in range(48)}
    run = run_of(
        lambda prompt, sampling: texts[sampling.seed],
        Config(samples=24, rounds=1, max_new_tokens=10_000),
        step_time=StepTime(0.02, 0.002),
        format="r1_distill",
    )

    async def work() -> tuple[dict[str, Solution], float]:
        now, solutions = asyncio.get_running_loop().time, {}
        terms = Terms(total_s, len(order), samples=24)
        account = Budget(terms, now, Pacing(1000, 0.02, 0.002))
        for i, stall in zip(order, [*stalls, *[0.0] * len(order)], strict=False):
            start, allotment, traces = now(), account.begin(), list[Trace]()
            solutions[str(i)] = await solve(run, Problem(str(i), str(i)), traces, allotment)
            seconds = now() - start
            await asyncio.sleep(stall if seconds > 0 else 0)
            account.end(effort_of(traces, seconds, allotment.width))
        await run.engine.aclose()
        return solutions, now()

    return simulate(work())


def outcomes(solution: Solution) -> list[tuple[int | None, Status, int]]:
    """What became of each sample; its seconds differ in the last digit."""
    return [(t.answer, t.status, t.n_tokens) for t in solution.traces]


def essay(problem: int, sample: int) -> str:
    """What a sample writes: its length and answer are its own, right half of the time."""
    rng = random.Random(f"{problem} {sample}")
    answer = problem if rng.random() < 0.5 else rng.randint(0, 9)
    return "." * rng.randint(200, 2500) + f"\\boxed{{{answer}}}"


def test_with_ample_time_the_answers_do_not_depend_on_the_order_of_problems() -> None:
    orders = [random.Random(k).sample(range(12), 12) for k in range(3)]
    first, *others = [contest(50_000, order)[0] for order in orders]
    for other in others:
        for name, solution in first.items():
            assert other[name].votes == solution.votes
            assert outcomes(other[name]) == outcomes(solution)


@pytest.mark.parametrize("seed", range(3))
def test_stalls_and_deadlines_together_never_exceed_the_limit(seed: int) -> None:
    rng = random.Random(seed)
    stalls = [120.0 * (rng.random() < 0.3) for _ in range(12)]
    solutions, seconds = contest(1500, range(12), stalls)
    assert seconds <= 1500
    assert sum(s.answer == int(name) for name, s in solutions.items()) >= 4


# --- the solver as a submission calls it, in real time


def test_the_budget_counts_loading_and_every_problem_and_logs_where_the_time_went() -> None:
    config = Config(samples=4, total_time_s=60, problems=2)
    began = time.monotonic()
    with solver_on([ScriptedEngine(replies(ASK, ANSWER))], config) as solver:
        solutions = [solver.solve(PROBLEM) for _ in range(2)]
    assert time.monotonic() - began < 20
    assert [s.answer for s in solutions] == [42, 42]
    first, second = solver.paces
    assert (first.problem, second.problem) == (0, 1)
    assert first.given_s <= (60 - 6) / 2 - budget.OVERHEAD_S
    assert second.given_s >= first.given_s  # what the first left is banked
    assert (first.stopped, first.finished) == (Stop.DECIDED, first.started)
    assert "samples ended" in str(first)


def test_a_stuck_loop_is_answered_for_within_the_budget() -> None:
    """A library that blocks the loop would otherwise hang the whole submission."""
    over = threading.Event()

    def blocking(prompt: str, sampling: Sampling) -> str:
        if sampling.seed == seed_of(0, PROBLEM.text, 1, 0):
            over.wait(60)
        return replies(ASK, ANSWER)(prompt, sampling)

    engine: Engine = ScriptedEngine(blocking)
    config = Config(samples=4, total_time_s=8, problems=3)
    with solver_on([engine], config, grace_s=0.2) as solver:
        start = time.monotonic()
        solution = solver.solve(PROBLEM)
        assert time.monotonic() - start < 30
        over.set()
    assert "TimeoutError" in solution.reason
    assert solver.paces[0].stopped is Stop.DEADLINE
    assert solver.paces[0].used_s > solver.paces[0].given_s


def test_once_the_time_is_used_up_every_problem_is_answered_at_once() -> None:
    config = Config(samples=2, total_time_s=1)
    with solver_on([ScriptedEngine(replies(ASK, ANSWER))], config) as solver:
        solutions = [solver.solve(PROBLEM) for _ in range(20)]
    assert {(s.answer, len(s.traces)) for s in solutions} == {(0, 0)}
    assert sum(pace.used_s for pace in solver.paces) < 10  # not a second each


# --- the simulator


def simulator(*options: str) -> subprocess.CompletedProcess[str]:
    """The benchmark's run with those options."""
    command = [sys.executable, str(ROOT / "benchmarks" / "budget.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_the_simulators_shortcut_agrees_with_the_loop() -> None:
    names = ["R", "AIMO-2 second place", "fixed N=48, guard at T"]
    sizes = ["--sets", "1", "--orders", "1", "--ratios", "0.4"]
    done = simulator(*sizes, "--check", "--json", "--policies", *names)
    assert done.returncode == 0, done.stderr
    cells = {cell["policy"]: cell for cell in json.loads(done.stdout)}
    assert cells["R"]["exceeded"] == 0
    assert cells["R"]["correct"] > cells["fixed N=48, guard at T"]["correct"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [["--sets", "0"], ["--ratios", "-1"], ["--policies", "Q"], ["--votes", "nowhere"]],
)
def test_the_simulator_refuses_what_makes_no_sense_in_one_line(options: list[str]) -> None:
    done = simulator(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
