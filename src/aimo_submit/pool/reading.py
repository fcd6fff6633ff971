"""Recorded samples, read from journals in one pass: what a pool keeps, without the texts.

Each journal is read line by line and its token lists are counted rather than parsed, so memory
holds the numbers of a pool and one line of a journal.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aimo_submit.errors import UserError
from aimo_submit.journal import Key, counted, key_in, lines_of, settings_in
from aimo_submit.records import Solution, Trace, ended, from_json
from aimo_submit.vote import boxed, coded, logprob

log = logging.getLogger(__name__)

# Journals that differ in one of these hold samples of different kinds.
SAME = (
    *("model", "formats", "edition", "rounds", "temperature", "top_p", "max_new_tokens"),
    *("code_timeout_s", "on_failure"),
)
# Settings that end samples early; a vote over what is left would favour the short ones.
CUTTING = ("early_stop", "problem_timeout_s", "total_time_s")


_SAMPLE = b'{"sample":'  # so written it cannot stand within a string: quotes are escaped there


class Sample(NamedTuple):
    """What is kept of one sample; `tokens` and both times have an entry a round."""

    answer: int | None
    tokens: Sequence[int]
    engine_s: Sequence[float]
    code_s: Sequence[float]  # that the blocks ran: the wait for a worker is the recorder's
    logprob: float  # mean over its tokens; nan where unknown
    has_code: bool
    boxed: bool


@dataclass(slots=True)
class Entry:
    """One problem and its samples, by seed."""

    id: str
    text: str
    gold: int | None
    by_seed: dict[int, list[Sample]] = field(default_factory=dict)


@dataclass(slots=True)
class Recording:
    """All that was recorded, in the order in which problems first appear."""

    entries: dict[str, Entry] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    repeated: int = 0  # solutions that stand in more than one place, and count once

    def add(self, entry: Entry) -> None:
        """Takes in the samples; of a seed that is there already the longer recording counts."""
        known = self.entries.setdefault(entry.id, Entry(entry.id, entry.text, entry.gold))
        if (known.text, known.gold) != (entry.text, entry.gold):
            raise UserError(
                f"problem {entry.id!r} has another text or gold answer in one of the journals: "
                "give the sets' problems ids of their own, or keep the journals apart"
            )
        for seed, samples in entry.by_seed.items():
            there = known.by_seed.get(seed)
            self.repeated += there is not None
            if there is None or len(there) < len(samples):
                known.by_seed[seed] = samples


def journals_of(path: Path) -> list[Path]:
    """The journals of a pool: the file itself, or those of the folder."""
    found = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not found:
        raise UserError(
            f"{path}: no journal (*.jsonl) in it; record one: aimo-submit eval SET --out {path}/"
        )
    return found


def from_journals(files: Sequence[Path]) -> Recording:
    """What the journals hold together; a `UserError` where they do not belong together."""
    recording = Recording(settings=common_settings(files))
    for file in files:
        for entry in _entries(file):
            recording.add(entry)
    if recording.repeated:
        log.warning("%d solutions stand there more than once; each counts once", recording.repeated)
    return recording


def common_settings(files: Sequence[Path]) -> Mapping[str, Any]:
    """The settings of the first journal, checked to be those of a pool and of all the others."""
    return alike([(str(file), settings_in(file)) for file in files])


def alike(named: Sequence[tuple[str, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """The first of the settings, each named by where they come from; all must suit one pool."""
    first_name, first = named[0]
    for name, settings in named:
        for setting in CUTTING:
            if settings.get(setting) is not None:
                raise UserError(
                    f"{name} has {setting} = {settings[setting]}, so samples may have been ended "
                    "early: a pool needs all of them; record it without"
                )
        for setting in SAME:
            if (settings.get(setting) or None) != (first.get(setting) or None):
                raise UserError(
                    f"{name} has {setting} = {settings.get(setting)}, {first_name} has "
                    f"{first.get(setting)}: they make no one pool; keep them in two folders"
                )
    return first


def _entries(file: Path) -> Iterator[Entry]:
    for _, line in lines_of(file):
        try:
            row = counted(line)
            problem = row["problem"]
            samples = [
                _sample(trace)
                for trace in row["traces"]
                if ended(trace["status"], trace.get("engine_died", False))
            ]
            by_seed = {row["seed"]: samples}
            yield Entry(problem["id"], problem["text"], problem["answer"], by_seed)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} is not a journal of this kit ({error})") from error


def _sample(trace: Mapping[str, Any]) -> Sample:
    rounds = trace["rounds"]
    written = [r["completion"] for r in rounds]
    tokens = [w["tokens"] for w in written]
    total = math.fsum(w["mean_logprob"] * w["tokens"] for w in written)
    return Sample(
        trace["answer"],
        tokens,
        [r["engine_s"] for r in rounds],
        [r["execution"]["seconds"] if r["execution"] else 0.0 for r in rounds],
        total / sum(tokens) if sum(tokens) else math.nan,
        any(r["code"] is not None for r in rounds),
        bool(written) and "boxed" in written[-1]["text"],
    )


def sample_of(trace: Trace) -> Sample:
    """What is kept of a trace at hand."""
    return Sample(
        trace.answer,
        [len(r.completion.tokens) for r in trace.rounds],
        [r.engine_s for r in trace.rounds],
        [r.execution.seconds if r.execution else 0.0 for r in trace.rounds],
        logprob(trace) if trace.n_tokens else math.nan,
        coded(trace) > 0,
        boxed(trace) > 0,
    )


class Place(NamedTuple):
    """Where a solution stands."""

    file: Path
    at: int
    length: int
    text: str  # of the problem
    samples: int


class Index:
    """Where each problem's solutions stand in a pool; reads the texts of one when asked."""

    def __init__(self, path: Path) -> None:
        files = journals_of(path)
        self.settings = common_settings(files)
        self._places: dict[str, dict[int, Place]] = {}
        for file in files:
            for at, line in lines_of(file):
                problem, text, seed = key_in(file, line)
                place = Place(file, at, len(line), text, line.count(_SAMPLE))
                by_seed = self._places.setdefault(problem, {})
                if seed not in by_seed or by_seed[seed].samples < place.samples:
                    by_seed[seed] = place

    @property
    def problems(self) -> tuple[str, ...]:
        """The ids, in the order of the pool."""
        return tuple(self._places)

    def solutions(self, problem: str) -> list[Solution]:
        """What was recorded for the problem, one solution a seed."""
        lines = map(_line, self._places[problem].values())
        return [from_json(Solution, json.loads(line)) for line in lines]

    def raw(self, problem: str) -> list[Any]:
        """The same as JSON with token lists replaced by their lengths, ten times as quick."""
        return [counted(_line(place)) for place in self._places[problem].values()]

    def keys(self, samples: int) -> set[Key]:
        """The solutions that have so many samples or more."""
        return {
            (problem, place.text, seed)
            for problem, by_seed in self._places.items()
            for seed, place in by_seed.items()
            if place.samples >= samples
        }


def _line(place: Place) -> bytes:
    with place.file.open("rb") as file:
        file.seek(place.at)
        return file.read(place.length)
