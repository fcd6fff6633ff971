"""The process of a competition's own gateway, which on Kaggle has a container of its own.

    python real_gateway.py FOLDER MODULE CLASS CSV START_S SPEED

Under the rerun's flag a gateway dials the host `inference_server`, which only root could make known
here. So it is made without the flag, which lets it dial this machine, and told of the rerun then,
upon which it leaves `result.json` and never raises. It waits START_S for the server, and its limit
for an answer is divided by the speed. It runs on the Python that the package is for: nothing of the
kit is imported.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType

RERUN = "KAGGLE_IS_COMPETITION_RERUN"


def main(folder: str, module: str, name: str, csv: str, start_s: float, speed: float) -> None:
    """Asks for every problem of the csv; leaves the submission in the working directory."""
    os.environ.pop(RERUN, None)
    sys.path.insert(0, folder)
    gateway = getattr(import_module(module), name)((csv,))
    _set(module, "IS_RERUN", True)
    _set(module, "STARTUP_LIMIT_SECONDS", start_s)
    gateway.client.endpoint_deadline_seconds /= speed
    gateway.run()


def _set(module: str, name: str, value: float) -> None:
    """Changes the constant of that name in whichever part of the package has it."""
    package = module.partition(".")[0]
    for part in list(sys.modules.values()):
        if isinstance(part, ModuleType) and part.__name__.partition(".")[0] == package:
            if hasattr(part, name):
                setattr(part, name, value)


if __name__ == "__main__":
    folder, module, name, csv, start_s, speed = sys.argv[1:]
    main(folder, module, name, csv, float(start_s), float(speed))
