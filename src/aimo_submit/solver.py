"""One problem, end to end. READ THIS FIRST.

problem -> prompt tokens -> N samples through up to M rounds (`loop.py`) -> vote -> solution.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from aimo_submit.competition import EDITIONS
from aimo_submit.config import Config
from aimo_submit.engines import Engine
from aimo_submit.formats import Format
from aimo_submit.loop import ENGINE_DIED, sample
from aimo_submit.records import Problem, Solution, Status, Trace
from aimo_submit.run import Run
from aimo_submit.sandbox import Sandbox
from aimo_submit.vote import RULES

log = logging.getLogger(__name__)
T = TypeVar("T")
Starter = Callable[[], Coroutine[Any, Any, T]]

GRACE_S = 5.0  # beyond its deadline, what a problem may take to be wound up
CLOSE_S = 30.0  # what engine and sandbox may take to end


async def solve(run: Run, problem: Problem, traces: list[Trace]) -> Solution:
    """The problem's solution, inside the configured time. Fills `traces` as it goes."""
    now = asyncio.get_running_loop().time
    start = now()
    prompt = run.engine.encode(run.format.prompt(problem.text), prompt=True)
    traces += [Trace(k) for k in range(run.config.samples)]
    tasks = [asyncio.create_task(sample(run, problem, trace, prompt)) for trace in traces]
    try:
        await asyncio.wait(tasks, timeout=run.config.problem_timeout_s)
    finally:
        for task in tasks:
            task.cancel()  # aborts the request in the engine, kills the code in the sandbox
        await asyncio.gather(*tasks, return_exceptions=True)
    return conclude(run.config, problem, traces, now() - start)


def conclude(config: Config, problem: Problem, traces: list[Trace], seconds: float) -> Solution:
    """The solution that the traces amount to as they stand."""
    votes = RULES[config.vote](traces)
    if votes:
        answer, reason = votes[0].answer, "vote"
    else:
        answer, reason = EDITIONS[config.edition].fallback, "fallback: no sample answered"
    return Solution(problem, answer, votes, traces, config.seed, seconds, reason)


class Solver:
    """Engine and sandbox on an event loop in a thread of their own, behind a plain call.

    `with Solver(...)` loads the engine; `solve` then always returns inside the deadline. An
    engine that died is started anew for the next problem.
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
        self._engine: asyncio.Task[Engine] | None = None
        self._sandbox: asyncio.Task[Sandbox] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="solver")
        self._thread.start()

    def __enter__(self) -> Solver:
        try:
            self._call(self._ready()).result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def solve(self, problem: Problem) -> Solution:
        """The problem's solution, from whatever there is at the deadline. Never raises for it."""
        traces: list[Trace] = []
        limit = self._config.problem_timeout_s
        future = self._call(self._solve(self._config, problem, traces))
        try:
            return future.result(None if limit is None else limit + self._grace_s)
        except Exception as error:  # the border of one problem: an answer is due all the same
            future.cancel()
            log.error("problem %s: %s: %s", problem.id, type(error).__name__, error)
            solution = conclude(self._config, problem, list(traces), limit or 0.0)
            solution.reason += f" ({type(error).__name__}: {error})"
            return solution

    def submit(self, problem: Problem, seed: int) -> concurrent.futures.Future[Solution]:
        """The solution to come, sampled from that seed; several may be under way at once."""
        config = dataclasses.replace(self._config, seed=seed)
        return self._call(self._solve(config, problem, []))

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

    async def _solve(self, config: Config, problem: Problem, traces: list[Trace]) -> Solution:
        engine, sandbox = await self._ready()
        edition = EDITIONS[config.edition]
        run = Run(config, self._format, edition, engine, sandbox, self._watch)
        solution = await solve(run, problem, traces)
        if any(t.status is Status.FAILED and t.reason.startswith(ENGINE_DIED) for t in traces):
            solution.reason += f"; {ENGINE_DIED}"
            await self._retire(engine)
        return solution

    async def _ready(self) -> tuple[Engine, Sandbox]:
        """Both, started where needed; a problem that gives up waiting leaves the start alone."""
        self._sandbox = _started(self._sandbox, self._start_sandbox)  # forks best while small
        sandbox = await asyncio.shield(self._sandbox)
        self._engine = _started(self._engine, self._start_engine)
        return await asyncio.shield(self._engine), sandbox

    async def _retire(self, engine: Engine) -> None:
        if self._engine and self._engine.done() and self._engine.result() is engine:
            log.error("%s; it is started anew for the next problem", ENGINE_DIED)
            self._engine = None
            await engine.aclose()

    async def _release(self) -> None:
        parts: list[asyncio.Task[Any]] = [p for p in (self._engine, self._sandbox) if p]
        self._engine = self._sandbox = None
        for part in await asyncio.gather(*parts, return_exceptions=True):
            if not isinstance(part, BaseException):
                await part.aclose()

    def _call(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def _started(part: asyncio.Task[T] | None, start: Starter[T]) -> asyncio.Task[T]:
    """The part's start, begun now unless it is under way or has succeeded."""
    if part is None or (part.done() and (part.cancelled() or part.exception() is not None)):
        return asyncio.create_task(start())
    return part
