"""Families of integer-answer problems, by field."""

from __future__ import annotations

import inspect
from types import ModuleType

from tiny.families import (
    algebra,
    combinatorics,
    counting,
    divisors,
    geometry,
    modular,
    sequences,
    stories,
)
from tiny.families.base import Family, Item


def _of(module: ModuleType) -> dict[str, Family]:
    found = inspect.getmembers(module, inspect.isfunction)
    return {n: f for n, f in found if f.__module__ == module.__name__ and not n.startswith("_")}


FAMILIES: dict[str, Family] = {
    name: family
    for module in (
        divisors, modular, combinatorics, counting, algebra, sequences, geometry, stories
    )
    for name, family in _of(module).items()
}  # fmt: skip

__all__ = ["FAMILIES", "Family", "Item"]
