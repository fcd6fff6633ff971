"""The errors that a user can cause and mend."""

from __future__ import annotations

import sys
from pathlib import Path


class UserError(Exception):
    """Bad input. The message is one line and names the remedy; the CLI exits with code 2."""


class EngineDied(Exception):
    """The engine cannot serve any more requests; it has to be started anew."""


def install(*extras: str) -> str:
    """The command that installs these extras of the kit, from the checkout where it is one."""
    root = Path(__file__).parents[2]
    kit = f"-e '{root}" if (root / "pyproject.toml").is_file() else "'aimo-submit"
    return f"{sys.executable} -m pip install {kit}[{','.join(extras)}]'"
