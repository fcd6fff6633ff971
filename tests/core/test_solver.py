"""One problem, end to end: the vote, the deadline, and an engine that dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from aimo_submit.config import Config
from aimo_submit.engines import Engine, Sampling
from aimo_submit.engines.failover import Failover
from aimo_submit.engines.scripted import ScriptedEngine, ScriptedSandbox, StepTime
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.formats.families import FORMATS
from aimo_submit.records import (
    Completion,
    Execution,
    Outcome,
    Problem,
    Solution,
    Status,
    from_json,
    to_json,
)
from aimo_submit.run import seed_of
from aimo_submit.sandbox import Sandbox
from aimo_submit.solve import solve
from aimo_submit.solver import Solver
from tests.scripted import ANSWER, ASK, PROBLEM, replies, run_of, solved


def solver_on(engines: Sequence[Engine], config: Config, grace_s: float = 5.0) -> Solver:
    """A real solver that starts each of the engines in turn."""
    rest = iter(engines)

    async def start() -> Engine:
        try:
            return next(rest)
        except StopIteration:
            raise EngineDied("there is none left") from None

    async def engine() -> Engine:
        return await Failover.start([start])

    async def sandbox() -> Sandbox:
        return ScriptedSandbox(lambda code: Execution(Outcome.OK, "42", 0.0))

    return Solver(config, FORMATS["numina_tir"], engine, sandbox, grace_s=grace_s)


class Dying(ScriptedEngine):
    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        if sampling.seed != seed_of(0, PROBLEM.text, 0, 0) and b"```output" not in bytes(prompt):
            raise EngineDied("lost its worker")
        return await super().complete(prompt, sampling)


def test_the_majority_of_the_samples_wins() -> None:
    def script(prompt: str, sampling: Sampling) -> str:
        if "```output" not in prompt:
            return ASK
        odd = sampling.seed in {seed_of(0, PROBLEM.text, k, 1) for k in (0, 3)}
        return "It is $\\boxed{7}$." if odd else ANSWER

    solution = solved(run_of(script, Config(samples=5)))[0]
    assert solution.answer == 42
    assert [(v.answer, v.weight) for v in solution.votes] == [(42, 3.0), (7, 2.0)]
    assert solution.correct


def test_without_any_vote_the_edition_fallback_is_the_answer() -> None:
    solution = solved(run_of(replies("I give up."), Config(samples=3)))[0]
    assert solution.answer == 0
    assert solution.reason.startswith("fallback")


def test_the_deadline_cuts_the_slow_samples_and_keeps_the_votes_so_far() -> None:
    def script(prompt: str, sampling: Sampling) -> str:
        slow = sampling.seed == seed_of(0, PROBLEM.text, 0, 0)
        return replies("." * 10_000 * slow + ASK, ANSWER)(prompt, sampling)

    config = Config(samples=3, problem_timeout_s=500, max_new_tokens=20_000)
    run = run_of(script, config, step_time=StepTime(s0=1.0))
    solution = solved(run)[0]
    assert solution.seconds == pytest.approx(500)
    assert [t.status for t in solution.traces] == [Status.CANCELLED] + [Status.ANSWERED] * 2
    assert solution.answer == 42
    assert run.engine.running == 0


def test_fifty_problems_of_nine_hours_are_simulated_in_seconds() -> None:
    start = time.monotonic()
    config = Config(samples=48, problem_timeout_s=600)
    run = run_of(replies("." * 900 + ASK, ANSWER), config, step_time=StepTime(0.045, 0.0035))
    solutions = solved(run, [Problem(str(k), f"problem {k}") for k in range(50)])
    assert sum(s.seconds for s in solutions) > 2 * 3600
    assert time.monotonic() - start < 30


def test_a_stuck_event_loop_cannot_hold_the_answer_back() -> None:
    """A library that blocks the loop would otherwise hang the whole submission."""

    def blocking(prompt: str, sampling: Sampling) -> str:
        if sampling.seed == seed_of(0, PROBLEM.text, 1, 0):
            time.sleep(4)
        return replies(ASK, ANSWER)(prompt, sampling)

    config = Config(samples=2, problem_timeout_s=1)
    with solver_on([ScriptedEngine(blocking)], config, grace_s=0.2) as solver:
        start = time.monotonic()
        solution = solver.solve(PROBLEM)
        assert time.monotonic() - start < 3
    assert "TimeoutError" in solution.reason


def test_a_dead_engine_is_replaced_and_its_samples_go_on() -> None:
    engines = [Dying(replies(ASK, ANSWER)), ScriptedEngine(replies(ASK, ANSWER))]
    with solver_on(engines, Config(samples=4)) as solver:
        solutions = [solver.solve(PROBLEM) for _ in range(2)]
    assert [(s.votes[0].weight, s.reason) for s in solutions] == [(4.0, "vote")] * 2


def test_when_no_engine_can_be_started_again_the_answer_is_the_fallback_in_time() -> None:
    config = Config(samples=3, problem_timeout_s=1)
    with solver_on([Dying(replies(ASK, ANSWER))], config) as solver:
        began = time.monotonic()
        solutions = [solver.solve(PROBLEM) for _ in range(2)]
        assert time.monotonic() - began < 8
    assert [(s.answer, s.votes) for s in solutions] == [(0, [])] * 2


def test_a_start_that_outlasts_a_problem_is_awaited_by_the_next_not_begun_twice() -> None:
    """Two models loading at once do not fit a GPU."""
    begun: list[float] = []

    async def start() -> Engine:
        begun.append(time.monotonic())
        if len(begun) == 1:
            return Dying(replies("I give up."))
        await asyncio.sleep(2.5)
        return ScriptedEngine(replies(ASK, ANSWER))

    async def engine() -> Engine:
        return await Failover.start([start])

    async def sandbox() -> Sandbox:
        return ScriptedSandbox(lambda code: Execution(Outcome.OK, "42", 0.0))

    config = Config(samples=2, problem_timeout_s=1)
    with Solver(config, FORMATS["numina_tir"], engine, sandbox, grace_s=0.2) as solver:
        answers = [solver.solve(PROBLEM).answer for _ in range(4)]
    assert len(begun) == 2
    assert (answers[0], answers[-1]) == (0, 42)


def test_an_engine_that_cannot_start_is_an_error_at_the_door() -> None:
    async def engine() -> Engine:
        raise UserError("no such model")

    async def sandbox() -> Sandbox:
        return ScriptedSandbox(lambda code: Execution(Outcome.OK, "", 0.0))

    solver = Solver(Config(), FORMATS["numina_tir"], engine, sandbox)
    with pytest.raises(UserError, match="no such model"):
        solver.load()


def test_a_cancelled_problem_leaves_nothing_in_the_engine() -> None:
    run = run_of(replies("." * 1000 + ASK, ANSWER), step_time=StepTime(s0=0.01))

    async def work() -> int:
        task = asyncio.create_task(solve(run, PROBLEM, []))
        await asyncio.sleep(0.05)
        before = run.engine.running
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return before - run.engine.running

    assert asyncio.run(work()) == 1


def test_a_solution_survives_the_journal_whole() -> None:
    solution = solved(run_of(replies(ASK, ANSWER), Config(samples=2)))[0]
    assert from_json(Solution, to_json(solution)) == solution
