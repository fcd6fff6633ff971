"""The whole traces of a pool, a problem at a time: only places in the journals are held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from aimo_submit.offline.journal import Key, counted, key_in, lines_of
from aimo_submit.offline.samples import common_settings, journals_of
from aimo_submit.records import Solution, from_json

_SAMPLE = b'{"sample":'  # so written it cannot stand within a string: quotes are escaped there


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
