"""The four validation sets of the AIMO-1 winner, by name. None of them is shipped with the kit.

The MATH subsets are what this rule leaves of the MATH test set (5,000 problems): the level, and
an answer - the content of the solution's last box - that Python's int() takes. It leaves 754
problems of level 4 and 721 of level 5; some of their answers are negative or large, so they are
evaluated with `--edition any`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aimo_submit.errors import UserError

Row = tuple[str, Mapping[str, Any]]  # where the row stands, and its columns


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
