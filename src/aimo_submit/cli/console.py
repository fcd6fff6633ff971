"""What the commands about Kaggle share: results on stdout, notes on stderr, errors in a line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from aimo_submit.cli.options import notes, out
from aimo_submit.kaggle.client.api import KaggleFailed
from aimo_submit.kaggle.client.kernel import Patience

FAILED = 1


def guarded(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """The command's exit code; what failed on Kaggle is told, the end of its log first."""
    try:
        return run(args)
    except KaggleFailed as error:
        for line in error.log_end:
            print(f"  | {line}", file=sys.stderr)
        print(f"aimo-submit: {error}", file=sys.stderr)
        return FAILED


def say(line: str) -> None:
    """Prints a result."""
    out.print(line, soft_wrap=True, markup=False)


def note(line: str) -> None:
    """Prints a note."""
    notes.print(line, soft_wrap=True, markup=False)


def patience_for(args: argparse.Namespace, update: Callable[[str], None]) -> Patience:
    """How to wait: with a line that is overwritten on a terminal, and with few lines elsewhere."""
    return Patience(update if notes.is_terminal else _news(), every_s=args.every_s)


def _news() -> Callable[[str], None]:
    """Prints a line once, whatever the minutes behind it, where no terminal can overwrite it."""
    told: set[str] = set()

    def tell(line: str) -> None:
        what = line.rpartition(" (")[0]
        if what not in told:
            told.add(what)
            note(line)

    return tell
