"""Solves a problem set over several seeds, into a journal from which a killed run resumes."""

from __future__ import annotations

import concurrent.futures
from collections import Counter, deque
from collections.abc import Callable, Container, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from contextlib import closing
from typing import Protocol, TypeAlias

from aimo_submit.config import Config
from aimo_submit.errors import EngineDied
from aimo_submit.journal import Journal, Key, key_of
from aimo_submit.records import Problem, Solution

# Samples in flight that keep an engine's batch full. Measured on the CPU: docs/log/engines.md.
FULL_BATCH = 64

# How often a problem under which the engine dies is begun anew.
REDONE = 2

Job = tuple[Problem, int]  # a problem and the seed to solve it with
Solutions: TypeAlias = Generator[Solution, None, None]


class Solving(Protocol):
    """A way to solve jobs: with a solver in this process, or with actors on a cluster."""

    def __call__(self, jobs: deque[Job]) -> Solutions:
        """Yields solutions as they come, and takes jobs from the left while there are any.

        The next job is taken once the solution before it has been dealt with.
        """
        ...


class Submitting(Protocol):
    """The part of a `Solver` that is needed here."""

    def submit(self, problem: Problem, seed: int) -> Future[Solution]:
        """Begins to solve the problem."""
        ...


def remaining(problems: Sequence[Problem], seeds: Sequence[int], done: Container[Key]) -> list[Job]:
    """Returns the jobs that have not been done yet, seed by seed."""
    return [(p, seed) for seed in seeds for p in problems if key_of(p, seed) not in done]


def solving(solver: Submitting, at_once: int = 1) -> Solving:
    """Solves with a solver of this process, `at_once` problems together."""

    def solve(jobs: deque[Job]) -> Solutions:
        running: set[Future[Solution]] = set()
        try:
            while jobs or running:
                while jobs and len(running) < at_once:
                    running.add(solver.submit(*jobs.popleft()))
                done, running = concurrent.futures.wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in running:
                future.cancel()

    return solve


def evaluate(
    solve: Solving,
    jobs: Iterable[Job],
    journal: Journal,
    *,
    report: Callable[[Solution], None] = lambda solution: None,
) -> None:
    """Solves the jobs into the journal; each is on disk before another begins.

    A problem under which the engine died is redone. Raises EngineDied where none of its samples
    ever ends, as then no engine can be had; what was solved stays in the journal.
    """
    queue, lost = deque(jobs), Counter[Job]()
    with closing(solve(queue)) as solutions:
        for solution in solutions:
            job = solution.problem, solution.seed
            if _is_lost(solution, lost[job]):
                lost[job] += 1
                queue.appendleft(job)
                continue
            journal.append(solution)
            report(solution)


def _is_lost(solution: Solution, before: int) -> bool:
    """True if the engine took the samples along, and they may fare better if begun anew."""
    if not solution.engine_died:
        return False
    if before == REDONE and not any(trace.ended for trace in solution.traces):
        raise EngineDied(f"problem {solution.problem.id}: {solution.reason}")
    return before < REDONE


def problems_at_once(config: Config) -> int:
    """Returns how many problems fill the engine's batch; one where each has its own deadline."""
    if config.problem_timeout_s is not None:
        return 1
    return max(1, FULL_BATCH // config.samples)
