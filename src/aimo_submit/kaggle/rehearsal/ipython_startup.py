"""Runs at the start of a rehearsed kernel, copied there as one file: nothing of the kit is loaded.

The kit comes from the notebook and never from the environment that the rehearsal runs in, as on
Kaggle, where none is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from typing import Any

OURS = {p for p in sys.path if p and os.path.realpath(p) != os.path.realpath(".")}


class Finder:
    """Finds the kit where the notebook has put it."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if name != "aimo_submit":
            return None
        spec = PathFinder.find_spec(name, [p for p in sys.path if p not in OURS])
        if spec is None:
            raise ModuleNotFoundError("the notebook has not unpacked its kit", name=name)
        return spec


sys.meta_path.insert(0, Finder)
