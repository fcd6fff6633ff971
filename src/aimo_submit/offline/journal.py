"""A run's journal: one line a finished problem, on disk before the next one starts.

The first line says what was recorded; every other line is a `Solution`. A line that a kill tore
is cut off when the journal is opened again, so each entry stands in it whole and once.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from aimo_submit.errors import UserError
from aimo_submit.records import Problem, Solution, from_json, to_json

Key = tuple[str, str, int]  # problem id, its text, seed


def key_of(problem: Problem, seed: int) -> Key:
    """What a journal knows an entry by."""
    return problem.id, problem.text, seed


class Journal:
    """The solutions of a run so far, in `solutions`; `append` makes one more durable.

    One process at a time may hold it. Opening it with other settings than those it was recorded
    with is a `UserError`.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror}; choose another --out"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            header, self.solutions = _read(path, self._whole())
            if header is None:
                write_line(self._file, {"settings": dict(settings)})
            else:
                _check(path, header, settings)
        except BlockingIOError as error:
            self._file.close()
            raise UserError(
                f"{path} is being written by another run; choose another --out"
            ) from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, solution: Solution) -> None:
        """Writes the solution; when this returns, a power cut cannot lose it."""
        write_line(self._file, to_json(solution))
        self.solutions.append(solution)

    def _whole(self) -> bytes:
        """The journal's whole lines; what a kill left behind them is cut off."""
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        return whole


def write_line(file: BinaryIO, entry: Mapping[str, Any]) -> None:
    """Adds the entry as one line of JSON; when this returns, a power cut cannot lose it."""
    file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def read_journal(path: Path) -> tuple[Mapping[str, Any], list[Solution]]:
    """The settings and the solutions of a journal that may still be growing."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error
    header, solutions = _read(path, content[: content.rfind(b"\n") + 1])
    if header is None:
        raise UserError(f"{path} is empty: nothing has been recorded yet")
    return header, solutions


def _read(path: Path, content: bytes) -> tuple[Mapping[str, Any] | None, list[Solution]]:
    lines = content.splitlines()
    if not lines:
        return None, []
    try:
        header = json.loads(lines[0])["settings"]
        return header, [from_json(Solution, json.loads(line)) for line in lines[1:]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a journal of this kit ({error}); choose another --out"
        ) from error


def _check(path: Path, recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    wanted = json.loads(json.dumps(settings))  # as it would read back
    for name in wanted:
        if recorded.get(name) != wanted[name]:
            raise UserError(
                f"{path} was recorded with {name} = {recorded.get(name)}, this run has "
                f"{wanted[name]}: choose another --out, or the same settings to resume"
            )
