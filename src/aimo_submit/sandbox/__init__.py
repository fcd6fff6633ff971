"""Runs model-written Python: code in, `Execution` out, whatever the code does.

The rooms are named after the process in which they run: client/ is the kit's own, server/ the fork
server and a warden for each worker, block/ the model's code. linux/ holds the kernel's calls,
protocol.py what crosses between the processes.
"""

from __future__ import annotations

from typing import Protocol

from aimo_submit.records import Execution, Scope


class Session(Protocol):
    """The blocks of one sample, one after another."""

    async def run(self, code: str, timeout_s: float) -> Execution:
        """What the code did. Never raises for what the code does; cancelling kills the code."""
        ...

    async def aclose(self) -> None:
        """Forgets the blocks so far and lets go of what they held; the next one begins anew."""
        ...


class Sandbox(Protocol):
    """The seam between the loop and whatever runs code."""

    def session(self, scope: Scope) -> Session:
        """A session for one sample; until its first block it costs nothing."""
        ...

    async def aclose(self) -> None:
        """Ends every process of the sandbox."""
        ...
