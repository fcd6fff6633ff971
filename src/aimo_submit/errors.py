"""The errors that a user can cause and mend."""

from __future__ import annotations


class UserError(Exception):
    """Bad input. The message is one line and names the remedy; the CLI exits with code 2."""


class EngineDied(Exception):
    """The engine cannot serve any more requests; it has to be started anew."""
