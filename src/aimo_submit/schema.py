"""Tables of a TOML file as frozen dataclasses: unknown names and wrong types are refused."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from aimo_submit.errors import UserError

T = TypeVar("T")


def checked(kind: type[T], where: str, table: Any) -> T:
    """The table as a record of that kind; `where` begins the message of a `UserError`."""
    if not isinstance(table, Mapping):
        raise UserError(f"{where} must be a table")
    fields = dataclasses.fields(typing.cast(Any, kind))
    known = [f.name for f in fields]
    for name in table:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise UserError(f"{where} has an unknown key {name!r}: {hint}")
    hints = typing.get_type_hints(kind)
    for f in fields:
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if f.name in table and not _is(table[f.name], hints[f.name]):
            raise UserError(f"{where} needs {f.name}, of type {_words(hints[f.name])}")
        if required and f.name not in table:
            raise UserError(f"{where} needs {f.name}, of type {_words(hints[f.name])}")
    return kind(**table)


def _is(value: Any, hint: Any) -> bool:
    kinds = _kinds(hint)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (*kinds, int) if float in kinds else kinds)


def _kinds(hint: Any) -> tuple[type, ...]:
    """The plain types that a hint allows, `None` (which TOML lacks) left out."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(typing.get_origin(p) or p for p in parts if p is not types.NoneType)


def _words(hint: Any) -> str:
    return " or ".join("table" if kind is dict else kind.__name__ for kind in _kinds(hint))
