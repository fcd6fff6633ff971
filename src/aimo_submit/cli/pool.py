"""`aimo-submit pool show | export | import`: recorded samples."""

from __future__ import annotations

from pathlib import Path

from aimo_submit.cli.options import note, say
from aimo_submit.cli.tables import pool_table
from aimo_submit.pool.arrays import load_pool
from aimo_submit.pool.tables import import_votes, to_parquet


def show(pool: Path, /) -> None:
    """Prints the figures of a pool.

    Args:
        pool: folder of journals, a journal, a .parquet export or a .csv of votes
    """
    say(pool_table(pool, load_pool(pool)))


def export(pool: Path, out: Path, /) -> None:
    """Writes a pool as one table.

    Args:
        pool: folder of journals, or a journal
        out: the .parquet to write
    """
    rows = to_parquet(pool, out)
    note(f"{rows:,} rounds are in {out}: pandas.read_parquet({str(out)!r})")


def take_in(votes: Path, out: str, /) -> None:
    """Writes a table of answers as a journal.

    Args:
        votes: a .csv with columns problem_id, answer (gold), logged_answer; if known boxed,
            has_code
        out: a journal, or a folder of its own, ending in /
    """
    target = Path(out)
    if out.endswith("/") or target.is_dir():
        target = target / f"{votes.stem}.jsonl"
    note(f"{import_votes(votes, target)} problems are in {target}")
