"""Solves a problem set over several seeds, into a journal from which a killed run resumes."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from itertools import islice
from typing import Any, Protocol

from aimo_submit.config import Config
from aimo_submit.errors import EngineDied
from aimo_submit.journal import Journal, Key, key_of
from aimo_submit.records import Problem, Solution

# Samples in flight that keep an engine's batch full. Measured on the CPU: docs/log/engines.md.
FULL_BATCH = 64

# How often a problem under which the engine dies is begun anew.
REDONE = 2

Job = tuple[Problem, int]  # a problem and the seed to solve it with


class Solving(Protocol):
    """What solves problems: a solver in this process, or actors on a cluster."""

    def submit(self, problem: Problem, seed: int) -> Future[Solution]:
        """The solution to come."""
        ...


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that decide what a run samples, as its journal records them."""
    settings = dataclasses.asdict(config)
    for name in ("seed", "sandbox_workers"):  # seeds stand at each entry
        del settings[name]
    return settings


def remaining(problems: Sequence[Problem], seeds: Sequence[int], done: Container[Key]) -> list[Job]:
    """What has not been done yet, seed by seed."""
    return [(p, seed) for seed in seeds for p in problems if key_of(p, seed) not in done]


def evaluate(
    solver: Solving,
    jobs: Iterable[Job],
    journal: Journal,
    *,
    at_once: int = 1,
    report: Callable[[Solution], None] = lambda solution: None,
) -> None:
    """Solves the jobs, `at_once` of them together; each is on disk before another begins.

    A problem under which the engine died is redone; `EngineDied` where none of its samples ever
    ends, as then no engine can be had. What was solved stays in the journal.
    """
    queue, lost = iter(jobs), Counter[Job]()
    running = {solver.submit(*job) for job in islice(queue, at_once)}
    try:
        while running:
            done, running = concurrent.futures.wait(running, return_when=FIRST_COMPLETED)
            for solution in (future.result() for future in done):
                job = solution.problem, solution.seed
                if _is_lost(solution, lost[job]):
                    lost[job] += 1
                    running.add(solver.submit(*job))
                    continue
                journal.append(solution)
                report(solution)
                running |= {solver.submit(*job) for job in islice(queue, 1)}
    finally:
        for future in running:
            future.cancel()


def _is_lost(solution: Solution, before: int) -> bool:
    """Whether the engine took the samples along, and they may fare better if begun anew."""
    if not solution.engine_died:
        return False
    if before == REDONE and not any(trace.ended for trace in solution.traces):
        raise EngineDied(f"problem {solution.problem.id}: {solution.reason}")
    return before < REDONE


def problems_at_once(config: Config) -> int:
    """How many problems fill the engine's batch; one where each has its own deadline."""
    if config.problem_timeout_s is not None:
        return 1
    return max(1, FULL_BATCH // config.samples)
