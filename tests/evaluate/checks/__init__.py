"""Worked checks of the original problems: `CHECKS` maps a problem's id to its function.

A check reaches the answer by a route of its own (enumeration, exact arithmetic, coordinates);
its docstring gives the derivation by hand. The test asks both to agree with the data file.
"""

from __future__ import annotations

from collections.abc import Callable

from . import algebra, combinatorics, geometry, number_theory

PREFIX = "check_"

CHECKS: dict[str, Callable[[], int]] = {
    name.removeprefix(PREFIX).replace("_", "-"): check
    for module in (number_theory, combinatorics, algebra, geometry)
    for name, check in vars(module).items()
    if name.startswith(PREFIX)
}
