"""What a gateway hands over, and what it gets back, as plain values."""

from __future__ import annotations

from typing import Any

from aimo_submit.competition import Edition


def admitted(edition: Edition, answer: object) -> int:
    """The answer as a plain int in the edition's range and in 64 bits, else the fallback."""
    if not isinstance(answer, int):
        return edition.fallback
    value = edition.admit(int(answer))
    return edition.fallback if value is None or abs(value) >= 1 << 63 else value


def plain(value: Any) -> str:
    """The text in whatever a gateway hands over: a series of one, a string, nothing."""
    if hasattr(value, "to_list"):
        value = value.to_list()
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if value is None or value != value:  # pandas has NaN where a cell is empty
        return ""
    return str(value).encode(errors="replace").decode()  # no half of a surrogate pair
