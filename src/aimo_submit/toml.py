"""TOML: tables read as frozen dataclasses, unknown names and wrong types refused; and written."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
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
            raise UserError(f"{where} has an unknown key {name!r}: {meant(name, known)}")
    hints = typing.get_type_hints(kind)
    for f in fields:
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if not suits(table[f.name], hints[f.name]) if f.name in table else required:
            raise UserError(f"{where} needs {f.name}, of type {named(hints[f.name])}")
    return kind(**table)


def meant(name: str, known: Sequence[str]) -> str:
    """What may have been meant by a name that is not known."""
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def suits(value: Any, hint: Any) -> bool:
    """Whether the value is of the type; a whole number is a float too, a bool is no number."""
    kinds = _kinds(hint)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (*kinds, int) if float in kinds else kinds)


def _kinds(hint: Any) -> tuple[type, ...]:
    """The plain types that a hint allows."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(typing.get_origin(p) or p for p in parts)


def named(hint: Any) -> str:
    """The type as a user of TOML, which lacks `None`, knows it."""
    kinds = [kind for kind in _kinds(hint) if kind is not types.NoneType]
    return " or ".join("table" if kind is dict else kind.__name__ for kind in kinds)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; an unreadable or malformed one is a `UserError`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error


def parse_value(setting: str) -> tuple[str, Any]:
    """Name and value of `NAME=VALUE`; the value is read as TOML, else taken as a string."""
    name, equals, value = setting.partition("=")
    if not equals:
        raise UserError(f"{setting!r}: settings are given as NAME=VALUE")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def to_toml(data: Mapping[str, Any]) -> str:
    """Writes the data as TOML that `read_toml` gives back: plain values, then a table a mapping."""
    tables = {name: value for name, value in data.items() if isinstance(value, Mapping)}
    plain = {name: value for name, value in data.items() if name not in tables}
    parts = [_lines(plain), *(f"[{_key(name)}]\n{_lines(table)}" for name, table in tables.items())]
    return "\n".join(part for part in parts if part)


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(name)} = {toml_value(value)}\n" for name, value in table.items())


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else toml_value(name)


def toml_value(value: Any) -> str:
    """Writes one value as TOML; an array of arrays has a line for each."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            pairs = (f"{_key(name)} = {toml_value(part)}" for name, part in value.items())
            return "{ " + ", ".join(pairs) + " }"
        case list() | tuple():
            items = [toml_value(item) for item in value]
            if any(isinstance(item, (list, tuple)) for item in value):
                return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
            return "[" + ", ".join(items) + "]"
        case datetime.date() | datetime.time():
            return value.isoformat()
    return repr(value)
