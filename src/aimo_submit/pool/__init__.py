"""Recorded samples at home: journals of one kind become arrays, from which all else is computed.

Begin with `arrays.py`, whose `Pool` is what tune and report work on. Here journals are read, one
solution at a time; `tables.py` writes and reads Parquet, `ballots.py` takes in others' votes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aimo_submit.config import settings_that
from aimo_submit.errors import UserError
from aimo_submit.journal import Location, locations_in, settings_in, solution_at, solutions_in
from aimo_submit.records import Problem, Solution, Trace
from aimo_submit.vote import boxed, coded, logprob

log = logging.getLogger(__name__)


def journals_of(path: Path) -> list[Path]:
    """The journals of a pool: the file itself, or those of the folder."""
    found = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not found:
        raise UserError(
            f"{path}: no journal (*.jsonl) in it; record one: aimo-submit eval SET --out {path}/"
        )
    return found


def common_settings(files: Sequence[Path]) -> Mapping[str, Any]:
    """The settings of the first journal, checked to be those of a pool and of all the others."""
    return alike([(str(file), settings_in(file)) for file in files])


def alike(named: Sequence[tuple[str, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """The first of the settings, each named by where they come from; all must suit one pool."""
    first_name, first = named[0]
    for name, settings in named:
        for setting in settings_that("cuts"):
            if settings.get(setting) is not None:
                raise UserError(
                    f"{name} has {setting} = {settings[setting]}, so samples may have been ended "
                    "early: a pool needs all of them; record it without"
                )
        for setting in settings_that("same"):
            if (settings.get(setting) or None) != (first.get(setting) or None):
                raise UserError(
                    f"{name} has {setting} = {settings.get(setting)}, {first_name} has "
                    f"{first.get(setting)}: they make no one pool; keep them in two folders"
                )
    return first


class Sample(NamedTuple):
    """The numbers kept of one sample; `tokens` and both times have an entry a round."""

    answer: int | None
    tokens: Sequence[int]
    engine_s: Sequence[float]
    code_s: Sequence[float]  # that the blocks themselves ran: the wait for a worker is no part
    logprob: float  # mean over its tokens; nan where unknown
    has_code: bool
    boxed: bool


def sample_of(trace: Trace) -> Sample:
    """Reduces a trace to the numbers that a pool keeps."""
    return Sample(
        trace.answer,
        [r.completion.n_tokens for r in trace.rounds],
        [r.engine_s for r in trace.rounds],
        [r.execution.seconds if r.execution else 0.0 for r in trace.rounds],
        logprob(trace) if trace.n_tokens else math.nan,
        coded(trace) > 0,
        boxed(trace) > 0,
    )


@dataclass(slots=True)
class ProblemSamples:
    """One problem and its samples, by seed."""

    problem: Problem
    by_seed: dict[int, list[Sample]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[int, Sample]]:
        return ((seed, sample) for seed, found in self.by_seed.items() for sample in found)


@dataclass(slots=True)
class Recording:
    """All that was recorded, in the order in which problems first appear."""

    settings: Mapping[str, Any]
    problems: dict[str, ProblemSamples] = field(default_factory=dict)

    def add(self, solution: Solution) -> bool:
        """Takes in the samples; of a seed that is there already the longer recording counts.

        Returns whether it was there. Raises UserError for another problem of the same id.
        """
        problem, seed = solution.problem, solution.seed
        known = self.problems.setdefault(problem.id, ProblemSamples(problem))
        if known.problem != problem:
            raise UserError(
                f"problem {problem.id!r} has another text or gold answer in one of the journals: "
                "give the sets' problems ids of their own, or keep the journals apart"
            )
        samples, there = [sample_of(t) for t in solution.traces if t.ended], seed in known.by_seed
        if not there or len(known.by_seed[seed]) < len(samples):
            known.by_seed[seed] = samples
        return there


def from_journals(files: Sequence[Path]) -> Recording:
    """Reads the journals as one recording; raises UserError where they do not belong together."""
    recording = Recording(common_settings(files))
    repeated = sum(recording.add(each) for file in files for each in solutions_in(file))
    if repeated:
        log.warning("%d solutions stand there more than once; each counts once", repeated)
    return recording


class Index:
    """Where each problem's solutions stand in a pool; reads the texts of one when asked."""

    def __init__(self, path: Path) -> None:
        files = journals_of(path)
        self.settings = common_settings(files)
        self._places: dict[str, dict[int, tuple[Path, Location]]] = {}
        for file in files:
            for place in locations_in(file):
                problem, _, seed = place.key
                by_seed = self._places.setdefault(problem, {})
                if seed not in by_seed or by_seed[seed][1].samples < place.samples:
                    by_seed[seed] = file, place

    @property
    def problems(self) -> tuple[str, ...]:
        """The ids, in the order of the pool."""
        return tuple(self._places)

    def solutions(self, problem: str) -> Iterator[Solution]:
        """Reads the problem's solutions, one a seed."""
        return (solution_at(*place) for place in self._places[problem].values())
