"""Runs model-written Python: code in, `Execution` out, whatever the code does."""

from __future__ import annotations

from typing import Protocol

from aimo_submit.records import Execution


class Sandbox(Protocol):
    """The seam between the loop and whatever runs code."""

    async def run(self, code: str, timeout_s: float) -> Execution:
        """What the code did. Never raises for what the code does; cancelling kills the code."""
        ...

    async def aclose(self) -> None:
        """Ends every process of the sandbox."""
        ...
