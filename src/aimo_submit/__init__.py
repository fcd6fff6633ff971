"""The kit for the AI Mathematical Olympiad Progress Prizes: solve, evaluate, tune, submit.

Read `solve.py` (one problem), then `loop.py` (one sample).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aimo_submit.cards import Card, config_for, load_card
    from aimo_submit.config import Config
    from aimo_submit.errors import UserError
    from aimo_submit.records import Problem, Solution, Trace
    from aimo_submit.solver import Solver
    from aimo_submit.start import start_solver

__all__ = [
    "Card",
    "Config",
    "Problem",
    "Solution",
    "Solver",
    "Trace",
    "UserError",
    "config_for",
    "load_card",
    "start_solver",
]
_HOMES = {
    "Card": "cards", "config_for": "cards", "load_card": "cards", "Config": "config",
    "Problem": "records", "Solution": "records", "Trace": "records", "UserError": "errors",
    "Solver": "solver", "start_solver": "start",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Imports a name when it is first asked for: `aimo-submit --help` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
