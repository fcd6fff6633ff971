"""The process of a competition's own gateway, which on Kaggle has a container of its own.

    python real_gateway.py FOLDER MODULE CLASS CSV SPEED

Under the rerun's flag a gateway dials the host `inference_server`, which only root could make known
here. So it is made without the flag, which lets it dial this machine, and told of the rerun then,
upon which it leaves `result.json` and never raises. Its limits are divided by the speed. It runs on
the Python that the package is for: nothing of the kit is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

RERUN = "KAGGLE_IS_COMPETITION_RERUN"
START_LEAST_S = 120.0  # a kernel's start and its imports take as long at any speed


def main(folder: str, module: str, name: str, csv: str, speed: float) -> None:
    """Asks for every problem of the csv; leaves the submission in the working directory."""
    os.environ.pop(RERUN, None)
    sys.path.insert(0, folder)
    gateway = getattr(import_module(module), name)((csv,))
    _set(module, "IS_RERUN", lambda _: True)
    _set(module, "STARTUP_LIMIT_SECONDS", lambda limit_s: max(limit_s / speed, START_LEAST_S))
    gateway.client.endpoint_deadline_seconds /= speed
    gateway.run()


def _set(module: str, name: str, changed: Callable[[Any], Any]) -> None:
    """Changes the constant of that name in whichever part of the package has it."""
    package = module.partition(".")[0]
    for part in list(sys.modules.values()):
        if isinstance(part, ModuleType) and part.__name__.partition(".")[0] == package:
            if hasattr(part, name):
                setattr(part, name, changed(getattr(part, name)))


if __name__ == "__main__":
    folder, module, name, csv, speed = sys.argv[1:]
    main(folder, module, name, csv, float(speed))
