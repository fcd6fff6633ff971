"""`solve` behind a plain call that returns in time, on an event loop in a thread of its own.

The story of a problem is in `solve.py`; the budget of a run, in `budget.py`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aimo_submit.budget import Allotment, Budget, Pace, Terms, effort_of
from aimo_submit.competition import competition_named
from aimo_submit.config import Config
from aimo_submit.engines import Engine
from aimo_submit.formats import Format
from aimo_submit.records import Problem, Solution, Trace
from aimo_submit.run import Run
from aimo_submit.sandbox import Sandbox
from aimo_submit.solve import conclude, solve, whole

log = logging.getLogger(__name__)
T = TypeVar("T")
Starter = Callable[[], Coroutine[Any, Any, T]]

GRACE_S = 5.0  # beyond its deadline, what a problem may take to be wound up
CLOSE_S = 30.0  # what engine and sandbox may take to end


class Solver:
    """Engine and sandbox on an event loop in a thread of their own, behind a plain call.

    `load`, or `with Solver(...)`, loads the engine; `solve` then always returns inside the
    deadline. With `total_time_s`, the time runs from the making of the solver; `paces` tells where
    it went.
    """

    def __init__(
        self,
        config: Config,
        format: Format,
        start_engine: Starter[Engine],
        start_sandbox: Starter[Sandbox],
        *,
        watch: Callable[[Problem, Trace], None] = lambda problem, trace: None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._config, self._format, self._watch, self._grace_s = config, format, watch, grace_s
        self._start_engine, self._start_sandbox = start_engine, start_sandbox
        self._budget = budget_of(config)
        self.paces: list[Pace] = []
        self._engine: asyncio.Task[Engine] | None = None
        self._sandbox: asyncio.Task[Sandbox] | None = None
        self._solving: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._turn, daemon=True, name="solver")
        self._thread.start()

    def load(self) -> Solver:
        """Starts the engine and waits until its model is loaded; closes what failed, and raises."""
        try:
            self._call(self._ready()).result()
        except BaseException:
            self.close()
            raise
        return self

    def __enter__(self) -> Solver:
        return self.load()

    def solve(self, problem: Problem) -> Solution:
        """Solves the problem with whatever there is at the deadline. Never raises for it.

        Problems are solved one at a time: the budget has one clock.
        """
        began = time.monotonic()
        traces: list[Trace] = []
        allotment = self._budget.begin() if self._budget else whole(self._config)
        solution = self._within(allotment, problem, traces)
        if self._budget:
            seconds = time.monotonic() - began
            effort = effort_of(list(traces), seconds, allotment.width)
            self.paces.append(self._budget.end(effort))
            log.info("%s", self.paces[-1])
        return solution

    def _within(self, allotment: Allotment, problem: Problem, traces: list[Trace]) -> Solution:
        """Waits for the solution outside the event loop, which may be stuck."""
        if allotment.deadline_s <= 0:
            return conclude(self._config, problem, traces, 0.0)
        limit = allotment.deadline_s + self._grace_s
        future = self._call(self._solve(self._config, problem, traces, allotment))
        try:
            return future.result(None if math.isinf(limit) else limit)
        except Exception as error:  # the border of one problem: an answer is due all the same
            future.cancel()
            log.error("problem %s: %s: %s", problem.id, type(error).__name__, error)
            seconds = 0.0 if math.isinf(limit) else allotment.deadline_s
            solution = conclude(self._config, problem, list(traces), seconds)
            solution.reason += f" ({type(error).__name__}: {error})"
            return solution

    def submit(self, problem: Problem, seed: int) -> concurrent.futures.Future[Solution]:
        """Begins a solution, sampled from that seed; several may be under way at once.

        Outside the budget of the run: this is for pools, which need every sample.
        """
        config = dataclasses.replace(self._config, seed=seed)
        return self._call(self._solve(config, problem, [], whole(config)))

    def responds(self, within_s: float) -> bool:
        """True if the event loop still turns."""
        turned = threading.Event()
        try:
            self._loop.call_soon_threadsafe(turned.set)
        except RuntimeError:  # closed
            return False
        return turned.wait(within_s)

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends engine, sandbox and thread."""
        if self._loop.is_closed():
            return
        try:
            self._call(self._release()).result(CLOSE_S)
        except Exception as error:  # on the way out: what does not end by itself is left behind
            log.warning("closing: %s: %s", type(error).__name__, error)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _solve(
        self, config: Config, problem: Problem, traces: list[Trace], allotment: Allotment
    ) -> Solution:
        now = asyncio.get_running_loop().time
        asked = now()
        if task := asyncio.current_task():
            self._solving.add(task)
            task.add_done_callback(self._solving.discard)
        engine, sandbox = await self._ready()
        competition = competition_named(config.edition)
        run = Run(config, self._format, competition, engine, sandbox, self._watch)
        left = allotment.deadline_s - (now() - asked)
        solution = await solve(
            run, problem, traces, dataclasses.replace(allotment, deadline_s=left)
        )
        if solution.engine_died:
            solution.reason += "; the engine died"
        return solution

    async def _ready(self) -> tuple[Engine, Sandbox]:
        """Both, started where needed; a problem that gives up waiting leaves the start alone."""
        self._sandbox = _started(self._sandbox, self._start_sandbox)  # forks best while small
        sandbox = await asyncio.shield(self._sandbox)
        self._engine = _started(self._engine, self._start_engine)
        return await asyncio.shield(self._engine), sandbox

    def _turn(self) -> None:
        """Runs the event loop until it is stopped."""
        while True:
            try:
                return self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:  # asyncio lets these out of a task
                log.error("a task ended in %s; the others go on", type(error).__name__)

    async def _release(self) -> None:
        parts: list[asyncio.Task[Any]] = [p for p in (self._engine, self._sandbox) if p]
        for task in self._solving:
            task.cancel()
        self._engine = self._sandbox = None
        for part in await asyncio.gather(*parts, return_exceptions=True):
            if not isinstance(part, BaseException):
                await part.aclose()

    def _call(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def budget_of(config: Config) -> Budget | None:
    """Makes the budget of a run that starts now; None where its time has no limit."""
    if config.total_time_s is None:
        return None
    terms = Terms(
        total_s=config.total_time_s,
        problems=config.problems,
        expected=competition_named(config.edition).problems,
        samples=config.samples,
        longest_s=math.inf if config.problem_timeout_s is None else config.problem_timeout_s,
        eps=config.early_stop,
    )
    return Budget(terms, time.monotonic)


def _started(part: asyncio.Task[T] | None, start: Starter[T]) -> asyncio.Task[T]:
    """Begins the part's start, unless it is under way or has succeeded."""
    if part is None or (part.done() and (part.cancelled() or part.exception() is not None)):
        return asyncio.create_task(start())
    return part
