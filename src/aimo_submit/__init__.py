"""The kit for the AI Mathematical Olympiad Progress Prizes: solve, evaluate, tune, submit.

Read `solver.py` (one problem), then `loop.py` (one sample).
"""

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
