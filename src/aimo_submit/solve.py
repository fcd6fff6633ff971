"""One problem, end to end. READ THIS FIRST.

problem -> prompt tokens -> N samples through up to M rounds (`loop.py`) -> vote -> solution.
How long that may take, and how many samples it takes, is `budget.py`'s to say; `solver.py` puts
the whole behind a plain call that always returns in time.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from aimo_submit.budget import Allotment, Tally, pooled
from aimo_submit.competition import competition_named
from aimo_submit.config import Config
from aimo_submit.genselect import select
from aimo_submit.loop import sample
from aimo_submit.records import Problem, Solution, Trace
from aimo_submit.run import Run
from aimo_submit.vote import RULES, confidence, how_won

BEFORE_SELECTION = 0.8  # of a problem's time is for sampling, where a selection may follow


async def solve(
    run: Run, problem: Problem, traces: list[Trace], allotment: Allotment | None = None
) -> Solution:
    """Solves the problem inside its allotment, filling `traces` as it goes."""
    now = asyncio.get_running_loop().time
    start, picks = now(), run.config.picks
    allotment = allotment or whole(run.config)
    sampling_s = allotment.deadline_s * (BEFORE_SELECTION if picks else 1)
    await _sample(run, problem, traces, replace(allotment, deadline_s=sampling_s))
    solution = conclude(run.config, problem, traces, now() - start)
    if picks and not solution.engine_died:
        solution = await select(run, solution, picks, start + allotment.deadline_s)
        solution.seconds = now() - start
    return solution


async def _sample(run: Run, problem: Problem, traces: list[Trace], allotment: Allotment) -> None:
    """Starts samples, and more as they end, until the vote is decided or the time is up."""
    now = asyncio.get_running_loop().time
    start = now()
    samples = InFlight(run, problem, traces)
    try:
        samples.start(allotment.width if allotment.deadline_s > 0 else 0)
        while await samples.some_end(start + allotment.deadline_s - now()):
            if allotment.settles(samples.tally, len(samples)):
                break
            while allotment.may_start(now() - start, len(samples), len(traces)):
                if any(trace.engine_died for trace in traces):
                    break
                samples.start(1)
    finally:
        await samples.cancel()


class InFlight:
    """The samples of one problem that are under way, and the tally of those that have ended."""

    def __init__(self, run: Run, problem: Problem, traces: list[Trace]) -> None:
        self._run, self._problem, self._traces = run, problem, traces
        self._prompts: dict[str, list[int]] = {}  # by format
        self._tasks: dict[asyncio.Task[None], Trace] = {}
        self.tally = Tally()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, count: int) -> None:
        """Starts that many more samples."""
        for _ in range(count):
            trace = Trace(len(self._traces))
            self._traces.append(trace)
            run = self._run.for_sample(trace.sample)
            work = sample(run, self._problem, trace, self._prompt(run))
            self._tasks[asyncio.create_task(work)] = trace

    def _prompt(self, run: Run) -> list[int]:
        format = run.format
        if format.name not in self._prompts:
            text = format.prompt(self._problem.text)
            self._prompts[format.name] = run.engine.encode(text, prompt=True)
        return self._prompts[format.name]

    async def some_end(self, seconds: float) -> bool:
        """Waits until a sample has ended; returns False after the seconds, or if there is none."""
        if not self._tasks:
            return False
        limit, first = None if math.isinf(seconds) else seconds, asyncio.FIRST_COMPLETED
        ended, _ = await asyncio.wait(self._tasks, timeout=limit, return_when=first)
        for trace in sorted(map(self._tasks.pop, ended), key=lambda t: t.sample):
            self.tally.add(trace.answer)
        return bool(ended)

    async def cancel(self) -> None:
        """Aborts what is under way: the requests in the engine, the code in the sandbox."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def whole(config: Config) -> Allotment:
    """Allots all samples, to their end, where no budget is kept."""
    limit = math.inf if config.problem_timeout_s is None else config.problem_timeout_s
    return pooled(config.samples, limit, config.early_stop)


def conclude(config: Config, problem: Problem, traces: list[Trace], seconds: float) -> Solution:
    """Votes on the traces as they stand; without a vote the answer is the fallback."""
    votes = RULES[config.vote](traces)
    answers = competition_named(config.edition).answers
    answer = votes[0].answer if votes else answers.fallback
    return Solution(
        problem,
        answer,
        votes,
        traces,
        config.seed,
        seconds,
        reason=how_won(votes) if votes else "fallback: no sample answered",
        confidence=confidence(traces, answer),
        fallback=not votes,
    )
