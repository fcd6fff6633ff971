"""Where commands write: results on stdout, notes on stderr."""

from __future__ import annotations

from rich.console import Console

out = Console()
notes = Console(stderr=True)
