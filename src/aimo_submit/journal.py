"""A run's journal: one line a finished problem, on disk before the next one starts.

The first line says what was recorded; every other line is a `Solution`. A line that a kill tore
is cut off when the journal is opened again, so each entry stands in it whole and once.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from aimo_submit.errors import UserError
from aimo_submit.records import Problem, Solution, from_json, to_json

Key = tuple[str, str, int]  # problem id, its text, seed

_DECODER = json.JSONDecoder()
# Nothing that a model writes can look like these: within a JSON string the quotes are escaped.
_PROBLEM, _SEED = '{"problem":', '],"seed":'
_TOKENS = re.compile(rb'"tokens":\[([\d,]*)\]')


def key_of(problem: Problem, seed: int) -> Key:
    """What a journal knows an entry by."""
    return problem.id, problem.text, seed


class Journal:
    """What a run has solved so far, by its `keys`; `read_journal` gives the solutions.

    `append` makes one more durable. One process at a time may hold a journal. Opening it with other
    settings than those it was recorded with is a `UserError`.
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
        recorded, whole = None, 0
        for at, line in _whole_lines(self.path):
            if recorded is None:
                recorded = _header(self.path, line)
            else:
                self.keys.add(key_in(self.path, line))
            whole = at + len(line)
        if recorded is not None:
            _check(self.path, recorded, settings)
        self._file.truncate(whole)  # what a kill left behind
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


def read_journal(path: Path) -> tuple[Mapping[str, Any], list[Solution]]:
    """The settings and the solutions of a journal that may still be growing."""
    settings = settings_in(path)
    try:
        return settings, [from_json(Solution, json.loads(line)) for _, line in lines_of(path)]
    except (ValueError, KeyError, TypeError) as error:
        raise _foreign(path, error) from error


def settings_in(path: Path) -> Mapping[str, Any]:
    """The settings that a journal was recorded with; reads its first line only."""
    try:
        _, first = next(_whole_lines(path), (0, b""))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error
    if not first:
        raise UserError(f"{path} is empty: nothing has been recorded yet")
    return _header(path, first)


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a journal that hold a solution, each with the place where it begins."""
    return islice(_whole_lines(path), 1, None)


def counted(line: bytes) -> Any:
    """A line's solution as JSON with its token lists replaced by their lengths: much quicker."""
    return json.loads(_TOKENS.sub(_length, line))


def _length(tokens: re.Match[bytes]) -> bytes:
    return b'"tokens":%d' % (tokens[1].count(b",") + 1 if tokens[1] else 0)


def key_in(path: Path, line: bytes) -> Key:
    """Whose solution a line of that journal holds, without parsing the samples in between."""
    text = line.decode(errors="replace")
    try:
        problem, _ = _DECODER.raw_decode(text, len(_PROBLEM) if text.startswith(_PROBLEM) else 0)
        seed, _ = _DECODER.raw_decode(text, text.rindex(_SEED) + len(_SEED))
        return problem["id"], problem["text"], int(seed)
    except (ValueError, KeyError, TypeError) as error:
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
    except (ValueError, KeyError, TypeError) as error:
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
