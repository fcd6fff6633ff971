"""Solves a problem set over several seeds, into a journal from which a killed run resumes."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from aimo_submit.config import Config
from aimo_submit.offline.journal import Journal, key_of
from aimo_submit.records import Problem, Solution
from aimo_submit.solver import Solver

# Samples in flight that keep an engine's batch full. Measured on the CPU: docs/LOG.md.
FULL_BATCH = 64

Job = tuple[Problem, int]  # a problem and the seed to solve it with


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that decide what a run samples, as its journal records them."""
    settings = dataclasses.asdict(config)
    for name in ("seed", "sandbox_workers"):  # seeds stand at each entry
        del settings[name]
    return settings


def remaining(problems: Sequence[Problem], seeds: Sequence[int], journal: Journal) -> list[Job]:
    """What the journal does not hold yet, seed by seed."""
    done = {key_of(s.problem, s.seed) for s in journal.solutions}
    return [(p, seed) for seed in seeds for p in problems if key_of(p, seed) not in done]


def evaluate(
    solver: Solver,
    jobs: Iterable[Job],
    journal: Journal,
    *,
    at_once: int = 1,
    report: Callable[[Solution], None] = lambda solution: None,
) -> None:
    """Solves the jobs, `at_once` of them together; each is on disk before another begins.

    Raises what made the engine impossible to start again; what was solved stays in the journal.
    """
    queue = iter(jobs)
    running = {solver.submit(*job) for job in islice(queue, at_once)}
    try:
        while running:
            done, running = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                solution = future.result()
                journal.append(solution)
                report(solution)
                running |= {solver.submit(*job) for job in islice(queue, 1)}
    finally:
        for future in running:
            future.cancel()


def problems_at_once(config: Config) -> int:
    """How many problems fill the engine's batch; one where each has its own deadline."""
    if config.problem_timeout_s is not None:
        return 1
    return max(1, FULL_BATCH // config.samples)
