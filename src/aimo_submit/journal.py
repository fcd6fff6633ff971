"""A run's journal: one line a finished problem, on disk before the next one starts.

The first line says what was recorded; every other line is a `Solution`. A line that a kill tore
is cut off when the journal is opened again, so each entry stands in it whole and once. Readers go
line by line: memory holds one solution, or nothing but the keys.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from aimo_submit.errors import UserError
from aimo_submit.records import Problem, Solution, from_json, to_json

Key = tuple[str, str, int]  # problem id, its text, seed

_DECODER = json.JSONDecoder()
# Nothing that a model writes can look like these: within a JSON string the quotes are escaped.
_PROBLEM, _SEED, _SAMPLE = '{"problem":', b'],"seed":', b'{"sample":'
# Journals of before: a list of tokens for their number, a lost engine told by the reason alone.
_TOKENS = re.compile(rb'"tokens":\[([\d,]*)\]')
_DIED = "the engine died"
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError)  # whatever JSON may hold instead


def key_of(problem: Problem, seed: int) -> Key:
    """The key by which a journal knows an entry."""
    return problem.id, problem.text, seed


class Journal:
    """The journal that a run writes, opened to be gone on with; `keys` tell what it holds.

    `append` makes one more solution durable. One process at a time may hold a journal. Opening it
    with other settings than those it was recorded with is a `UserError`.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.keys: set[Key] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror}; choose another --out"
            ) from error
        try:
            self._open(settings)
        except BlockingIOError as error:
            self._file.close()
            raise UserError(
                f"{path} is being written by another run; choose another --out"
            ) from error
        except BaseException:
            self._file.close()
            raise

    def _open(self, settings: Mapping[str, Any]) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _, first = next(_whole_lines(self.path), (0, b""))
        recorded, end = _header(self.path, first) if first else None, len(first)
        for found in locations_in(self.path):
            self.keys.add(found.key)
            end = found.at + found.length
        if recorded is not None:
            _check(self.path, recorded, settings)
        self._file.truncate(end)  # what a kill left behind
        if recorded is None:
            write_line(self._file, {"settings": dict(settings)})

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def __contains__(self, key: object) -> bool:
        return key in self.keys

    def append(self, solution: Solution) -> None:
        """Writes the solution; when this returns, a power cut cannot lose it."""
        write_line(self._file, to_json(solution))
        self.keys.add(key_of(solution.problem, solution.seed))


def write_line(file: BinaryIO, entry: Mapping[str, Any]) -> None:
    """Adds the entry as one line of JSON; when this returns, a power cut cannot lose it."""
    file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def replace_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Replaces a file as a whole: a kill leaves the old text or the new one. Raises OSError."""
    new = path.with_name(path.name + ".new")
    new.touch(mode)
    with new.open("w", encoding="utf-8", errors="replace", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def settings_in(path: Path) -> Mapping[str, Any]:
    """The settings that a journal was recorded with; reads its first line only."""
    try:
        _, first = next(_whole_lines(path), (0, b""))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error
    if not first:
        raise UserError(f"{path} is empty: nothing has been recorded yet")
    return _header(path, first)


def solutions_in(
    path: Path, advance: Callable[[int], None] = lambda size: None
) -> Iterator[Solution]:
    """Reads the solutions of a journal, which may still be growing, one at a time.

    `advance` hears the bytes read.
    """
    settings_in(path)
    for at, line in islice(_whole_lines(path), 1, None):
        yield _solution(path, at, line)
        advance(len(line))


class Location(NamedTuple):
    """One solution's place in a journal."""

    key: Key
    samples: int
    at: int  # the byte where its line begins
    length: int


def locations_in(path: Path) -> Iterator[Location]:
    """Finds the solutions of a journal by their keys; all that samples wrote is passed over."""
    for at, line in islice(_whole_lines(path), 1, None):
        yield Location(_key_in(path, line), line.count(_SAMPLE), at, len(line))


def solution_at(path: Path, place: Location) -> Solution:
    """Reads one solution of a journal."""
    with path.open("rb") as file:
        file.seek(place.at)
        return _solution(path, place.at, file.read(place.length))


def _solution(path: Path, at: int, line: bytes) -> Solution:
    try:
        data = json.loads(_TOKENS.sub(_count, line))
        for trace in data["traces"]:
            trace.setdefault("engine_died", trace["reason"].startswith(_DIED))
        return from_json(Solution, data)
    except _MALFORMED as error:
        raise _foreign(path, f"at byte {at}: {error}") from error


def _count(tokens: re.Match[bytes]) -> bytes:
    return b'"tokens":%d' % (tokens[1].count(b",") + 1 if tokens[1] else 0)


def _key_in(path: Path, line: bytes) -> Key:
    """The key of the solution that a line holds: the problem begins it, the seed ends it."""
    try:
        text = line.decode()
        problem, _ = _DECODER.raw_decode(text, len(_PROBLEM) if text.startswith(_PROBLEM) else 0)
        seed, _ = _DECODER.raw_decode(line[line.rindex(_SEED) + len(_SEED) :].decode())
        return problem["id"], problem["text"], int(seed)
    except _MALFORMED as error:
        raise _foreign(path, error) from error


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that were written to their end, each with the place where it begins."""
    at = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield at, line
            at += len(line)


def _header(path: Path, line: bytes) -> Mapping[str, Any]:
    try:
        settings = json.loads(line)["settings"]
    except _MALFORMED as error:
        raise _foreign(path, error) from error
    if not isinstance(settings, dict):
        raise _foreign(path, "no settings in its first line")
    return settings


def _foreign(path: Path, error: object) -> UserError:
    return UserError(f"{path} is not a journal of this kit ({error}); choose another file")


def _check(path: Path, recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    wanted = json.loads(json.dumps(settings))  # as it would read back
    for name in wanted:
        if recorded.get(name) != wanted[name]:
            raise UserError(
                f"{path} was recorded with {name} = {recorded.get(name)}, this run has "
                f"{wanted[name]}: choose another --out, or the same settings to resume"
            )
