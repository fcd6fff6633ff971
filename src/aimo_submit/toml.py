"""TOML: read, checked against frozen dataclasses, and written.

Unknown names and wrong types are refused.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from aimo_submit.errors import UserError

try:
    import tomllib
except ImportError:  # Python 3.10, for which AIMO-1's package is built
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]

T = TypeVar("T")


def checked(kind: type[T], where: str, table: Any) -> T:
    """Returns the table as a record of that kind, and tables in it as the records it holds.

    Raises UserError, whose message begins with `where`.
    """
    if not isinstance(table, Mapping):
        raise UserError(f"{where} must be a table")
    fields = dataclasses.fields(typing.cast(Any, kind))
    known = [f.name for f in fields]
    for name in table:
        if name not in known:
            raise UserError(f"{where} has an unknown key {name!r}: {meant(name, known)}")
    hints, values = typing.get_type_hints(kind), dict(table)
    for f in fields:
        if f.name in table and (record := _record(hints[f.name])):
            values[f.name] = checked(record, f"{where}: [{f.name}]", table[f.name])
            continue
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if not suits(table[f.name], hints[f.name]) if f.name in table else required:
            raise UserError(f"{where} needs {f.name}, of type {named(hints[f.name])}")
    return kind(**values)


def meant(name: str, known: Sequence[str]) -> str:
    """Suggests a known name for one that is not."""
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def suits(value: Any, hint: Any) -> bool:
    """True if the value is of the type; a whole number is a float too, a bool is no number."""
    kinds = _kinds(hint)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (*kinds, int) if float in kinds else kinds)


def _record(hint: Any) -> type | None:
    """Returns the dataclass among a hint's types."""
    return next((kind for kind in _kinds(hint) if dataclasses.is_dataclass(kind)), None)


def _kinds(hint: Any) -> tuple[type, ...]:
    """Returns the plain types that a hint allows."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(typing.get_origin(p) or p for p in parts)


def named(hint: Any) -> str:
    """Names the type as a user of TOML, which lacks `None`, knows it."""
    kinds = [kind for kind in _kinds(hint) if kind is not types.NoneType]
    return " or ".join("table" if kind is dict else kind.__name__ for kind in kinds)


def read_toml(path: Path) -> dict[str, Any]:
    """Returns the tables of a TOML file; raises UserError for one that cannot be read."""
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error
    except ValueError as error:  # of the TOML or its encoding
        raise UserError(f"{path} is not valid TOML: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Returns the tables of a text; raises ValueError where it is not TOML."""
    return tomllib.loads(text)


def parse_value(setting: str) -> tuple[str, Any]:
    """Returns name and value of `NAME=VALUE`; a value that is no TOML is a string."""
    name, equals, value = setting.partition("=")
    if not equals:
        raise UserError(f"{setting!r}: settings are given as NAME=VALUE")
    try:
        return name.strip(), parse_toml(f"value = {value}")["value"]
    except ValueError:
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
