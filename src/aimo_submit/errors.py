"""The errors that a user can cause and mend."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any


class UserError(Exception):
    """Bad input. The message is one line and names the remedy; the CLI exits with code 2."""


class Failed(Exception):
    """What was asked for, rightly, could not be done; the message is one line, the exit code 1.

    `log_end` holds the last lines of a log where there is one.
    """

    log_end: tuple[str, ...] = ()


class EngineDied(Exception):
    """The engine cannot serve any more requests; it has to be started anew."""


def install(*extras: str) -> str:
    """The command that installs these extras of the kit, from the checkout where it is one."""
    root = Path(__file__).parents[2]
    kit = f"-e '{root}" if (root / "pyproject.toml").is_file() else "'aimo-submit"
    return f"{sys.executable} -m pip install {kit}[{','.join(extras)}]'"


def need(package: str, extra: str) -> Any:
    """Imports a package of one of the kit's extras; raises `UserError` with what installs it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise UserError(f"{error}: {install(extra)}") from error
