"""Problem sets: bundled with the kit, from files, from the Hugging Face hub."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path
from typing import Any

from aimo_submit.competition import Competition
from aimo_submit.errors import UserError, install
from aimo_submit.records import Problem

# name -> file in aimo_submit/data
BUNDLED = {"tiny": "tiny_test.jsonl", "original": "original.jsonl"}

# Columns as AI-MO, the AIMO reference sets and the common benchmarks name them.
ID_COLUMNS = ("id", "problem_id", "unique_id", "ID")
TEXT_COLUMNS = ("problem", "question", "Problem", "Question")
ANSWER_COLUMNS = ("answer", "expected_answer", "Answer", "gold")


Row = tuple[str, Mapping[str, Any]]  # where the row stands, and its columns


def load_problems(source: str, competition: Competition) -> list[Problem]:
    """The problems of a bundled or named set, a file (.csv, .jsonl, .parquet) or a set of the hub.

    `NAME=FILE` takes a named set from a file instead of the hub. Gold answers are brought under
    the competition's rule. Whatever is malformed is a `UserError` that names row and column.
    """
    name, _, file = source.partition("=")
    named = NAMED.get(name)
    rows = named.chosen(rows_of(file or named.hub)) if named else rows_of(source)
    problems = [_problem(where, row, competition) for where, row in rows]
    if named:
        named.check(source, len(problems))
    if not problems:
        raise UserError(f"{source}: there are no problems in it")
    seen: dict[str, int] = {}
    for number, problem in enumerate(problems, 1):
        if problem.id in seen:
            first = seen[problem.id]
            raise UserError(f"{source}: rows {first} and {number} have the same id {problem.id!r}")
        seen[problem.id] = number
    return problems


def rows_of(source: str) -> Iterator[Row]:
    """The rows of a bundled set, a file or a set of the hub, each with where it stands."""
    if source in BUNDLED:
        file = resources.files("aimo_submit") / "data" / BUNDLED[source]
        return _jsonl(source, file.read_text(encoding="utf-8").splitlines())
    path = Path(source)
    if path.is_file():
        return _file(path)
    if re.fullmatch(r"\w[\w-]*/\w[\w-]*", source):
        return _hub(source)
    raise UserError(
        f"no problem set {source!r}: give one of {', '.join((*BUNDLED, *NAMED))}, a .csv, .jsonl "
        "or .parquet file, or a set of the hub such as AI-MO/aimo-validation-aime"
    )


def _file(path: Path) -> Iterator[Row]:
    if path.suffix == ".jsonl":
        try:
            return _jsonl(str(path), path.read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {path}: {error}; save it as UTF-8") from error
    if path.suffix not in (".csv", ".parquet"):
        raise UserError(f"{path}: unknown kind of file; use .csv, .jsonl or .parquet")
    try:
        import pandas as pd
    except ImportError as error:
        raise UserError(f"{path.suffix} files need: {install('data')}") from error

    try:
        if path.suffix == ".csv":
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        else:
            frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        reason = str(error).strip().splitlines()[0]
        hint = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise UserError(f"cannot read {path}: {reason}{hint}") from error
    return _numbered(str(path), frame.to_dict("records"))


def _jsonl(source: str, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{source}: row {number} is not valid JSON: {error.msg} at column {error.colno}"
            ) from error
        if not isinstance(row, dict):
            raise UserError(f"{source}: row {number} must be a JSON object with named columns")
        yield f"{source}: row {number}", row


def _hub(name: str) -> Iterator[Row]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UserError(f"sets of the hub need: {install('data')}") from error
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # it tells every retry twice
    try:
        rows = load_dataset(name, split="train")
    except Exception as error:  # the hub's client raises a dozen kinds; all mean the same to a user
        raise UserError(
            f"cannot load {name} from the hub ({type(error).__name__}); check the name and the "
            "network, or download it and give the file (of a named set as NAME=FILE)"
        ) from error
    return _numbered(name, rows)


def _numbered(source: str, rows: Iterable[Mapping[Any, Any]]) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        yield f"{source}: row {number}", {str(k): v for k, v in row.items()}


def _problem(where: str, row: Mapping[str, Any], competition: Competition) -> Problem:
    column = _column(row, TEXT_COLUMNS)
    if column is None:
        has = ", ".join(row)
        raise UserError(f"{where} has no column {' or '.join(TEXT_COLUMNS[:2])}; it has {has}")
    text = row[column]
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}, column {column}: the problem's text is empty")
    id_column = _column(row, ID_COLUMNS)
    number = where.rpartition(" ")[2]
    name = str(row[id_column]) if id_column else number
    return Problem(name, text, _gold(where, row, competition))


def _gold(where: str, row: Mapping[str, Any], competition: Competition) -> int | None:
    column = _column(row, ANSWER_COLUMNS)
    if column is None or row[column] is None or str(row[column]).strip() in ("", "nan"):
        return None
    given = str(row[column]).strip()
    try:
        value = Decimal(given)
        whole = value.is_finite() and value == value.to_integral_value()
    except InvalidOperation:
        whole = False
    if not whole:
        raise UserError(f"{where}, column {column}: the gold answer {given!r} is not an integer")
    gold = competition.answers.admit(int(value))
    if gold is None:
        raise UserError(
            f"{where}, column {column}: {given} is no answer of {competition.name} "
            f"({competition.answers}); use --edition any"
        )
    return gold


def _column(row: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((name for name in names if name in row), None)


@dataclass(frozen=True, slots=True)
class NamedSet:
    """Where a set lies on the hub, how many problems it has, and its level of MATH."""

    hub: str
    count: int
    level: int | None = None

    def chosen(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows that belong to the set, each with its answer."""
        for where, row in rows:
            if self.level is None or "level" not in row:
                yield where, row
            elif _level(row["level"]) == self.level:
                answer = _integer(row["answer"] if "answer" in row else _box(row.get("solution")))
                if answer is not None:
                    yield where, {**row, "answer": answer}

    def check(self, source: str, found: int) -> None:
        """A `UserError` unless that many problems are the whole set."""
        if found != self.count:
            raise UserError(
                f"{source}: {found} problems, but the set has {self.count}; take it from "
                f"{self.hub}, or name the file alone to evaluate what it holds"
            )


NAMED = {
    "amc": NamedSet("AI-MO/aimo-validation-amc", 83),
    "aime": NamedSet("AI-MO/aimo-validation-aime", 90),
    "math4": NamedSet("AI-MO/aimo-validation-math-level-4", 754, level=4),
    "math5": NamedSet("AI-MO/aimo-validation-math-level-5", 721, level=5),
}


def _level(value: Any) -> int | None:
    return _integer(str(value).removeprefix("Level "))  # "Level 4" upstream


def _integer(value: Any) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _box(solution: Any) -> str:
    """The content of the last box of a solution; empty without one."""
    text = str(solution)
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return ""
    depth, begin = 0, text.index("{", start)
    for brace in re.finditer(r"[{}]", text[begin:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[begin + 1 : begin + brace.start()]
    return ""
