"""solve"""

from __future__ import annotations

import asyncio
import dataclasses
import math

from aimo_submit.budget import Allotment, Tally, pooled
from aimo_submit.competition import EDITIONS
from aimo_submit.config import Config
from aimo_submit.genselect import select
from aimo_submit.loop import sample
from aimo_submit.records import Problem, Solution, Trace, died
from aimo_submit.run import Run
from aimo_submit.vote import RULES, confidence, how_won

BEFORE_SELECTION = 0.8  # of a problem's time is for sampling, where a selection may follow


async def solve(
    run: Run, problem: Problem, traces: list[Trace], allotment: Allotment | None = None
) -> Solution:
    """The problem's solution, inside its allotment. Fills `traces` as it goes."""
    now = asyncio.get_running_loop().time
    start, picks = now(), run.config.picks
    allotment = allotment or whole(run.config)
    sampling_s = allotment.deadline_s * (BEFORE_SELECTION if picks else 1)
    await _sample(run, problem, traces, dataclasses.replace(allotment, deadline_s=sampling_s))
    solution = conclude(run.config, problem, traces, now() - start)
    if picks and not died(traces):
        solution = await select(run, solution, picks, start + allotment.deadline_s)
        solution.seconds = now() - start
    return solution


async def _sample(run: Run, problem: Problem, traces: list[Trace], allotment: Allotment) -> None:
    """Starts samples, and more as they end, until the vote is decided or the time is up."""
    now = asyncio.get_running_loop().time
    start = now()
    crew = Crew(run, problem, traces)
    try:
        crew.start(allotment.width if allotment.deadline_s > 0 else 0)
        while await crew.some_end(start + allotment.deadline_s - now()):
            if allotment.settles(crew.tally, crew.size):
                break
            while allotment.may_start(now() - start, crew.size, len(traces)) and not died(traces):
                crew.start(1)
    finally:
        await crew.dismiss()


class Crew:
    """The samples of one problem that are under way, and the tally of those that have ended."""

    def __init__(self, run: Run, problem: Problem, traces: list[Trace]) -> None:
        self._run, self._problem, self._traces = run, problem, traces
        self._prompts: dict[str, list[int]] = {}  # by format
        self._tasks: dict[asyncio.Task[None], Trace] = {}
        self.tally = Tally()

    @property
    def size(self) -> int:
        """How many samples are under way."""
        return len(self._tasks)

    def start(self, samples: int) -> None:
        """Starts so many more samples."""
        for _ in range(samples):
            trace = Trace(len(self._traces))
            self._traces.append(trace)
            run = self._run.speaking(trace.sample)
            work = sample(run, self._problem, trace, self._prompt(run))
            self._tasks[asyncio.create_task(work)] = trace

    def _prompt(self, run: Run) -> list[int]:
        format = run.format
        if format.name not in self._prompts:
            text = format.prompt(self._problem.text)
            self._prompts[format.name] = run.engine.encode(text, prompt=True)
        return self._prompts[format.name]

    async def some_end(self, seconds: float) -> bool:
        """Whether a sample has ended, which was waited for no longer than the seconds."""
        if not self._tasks:
            return False
        limit, first = None if math.isinf(seconds) else seconds, asyncio.FIRST_COMPLETED
        ended, _ = await asyncio.wait(self._tasks, timeout=limit, return_when=first)
        for trace in sorted(map(self._tasks.pop, ended), key=lambda t: t.sample):
            self.tally.add(trace.answer)
        return bool(ended)

    async def dismiss(self) -> None:
        """Aborts what is under way: the requests in the engine, the code in the sandbox."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def whole(config: Config) -> Allotment:
    """What a problem may use where no budget is kept: all its samples, to their end."""
    limit = math.inf if config.problem_timeout_s is None else config.problem_timeout_s
    return pooled(config.samples, limit, config.early_stop)


def conclude(config: Config, problem: Problem, traces: list[Trace], seconds: float) -> Solution:
    """The solution that the traces amount to as they stand."""
    votes = RULES[config.vote](traces)
    if votes:
        answer, reason = votes[0].answer, how_won(votes)
    else:
        answer, reason = EDITIONS[config.edition].fallback, "fallback: no sample answered"
    sure = confidence(traces, answer)
    return Solution(problem, answer, votes, traces, config.seed, seconds, reason, sure)
