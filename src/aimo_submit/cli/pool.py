"""`aimo-submit pool show | export | import`: parses, calls, prints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from aimo_submit.cli.options import Commands, notes, out

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aimo_submit.pool.arrays import Pool

# Settings that tell one pool from another, besides the figures.
SHOWN = (
    *("model", "engine", "edition", "temperature", "top_p", "max_new_tokens", "code_timeout_s"),
    "on_failure",
)


def add_pool_commands(commands: Commands) -> None:
    """Adds `pool` with what can be done to one."""
    pool = commands.add_parser(
        "pool",
        help="look at recorded samples, write them as a table, take in those of others",
        epilog="example: aimo-submit pool show pool/",
    )
    actions = pool.add_subparsers(required=True, metavar="ACTION")

    show = actions.add_parser("show", help="what a pool holds, and how right it is")
    show.add_argument(
        "pool", type=Path, metavar="POOL", help="folder of journals, a journal, .parquet or .csv"
    )
    show.set_defaults(run=_show)

    export = actions.add_parser(
        "export",
        help="write a pool as one table with a row a round; pool/tables.py has its columns",
        epilog="example: aimo-submit pool export pool/ pool.parquet",
    )
    export.add_argument("pool", type=Path, metavar="POOL", help="folder of journals, or a journal")
    export.add_argument("out", type=Path, metavar="OUT.parquet")
    export.set_defaults(run=_export)

    take = actions.add_parser(
        "import",
        help="write a table of other runs' answers as a journal",
        epilog="example: aimo-submit pool import votes.csv theirs/",
    )
    take.add_argument(
        "votes", type=Path, metavar="VOTES.csv",
        help="columns problem_id, answer (gold), logged_answer; if known boxed, has_code",
    )  # fmt: skip
    take.add_argument("out", metavar="OUT", help="a journal, or a folder of its own, ending in /")
    take.set_defaults(run=_import)


def print_pool(path: Path) -> None:
    """Prints what the pool of that place holds."""
    from aimo_submit.pool.arrays import load_pool

    out.print(pool_table(path, load_pool(path)))


def pool_table(path: Path, pool: Pool) -> Table:
    """The pool in figures, a row each."""
    from aimo_submit.pool.arrays import majority_accuracy

    counts = pool.present.sum(axis=1)
    some = (
        f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    )
    right, wrong = pool.present & (pool.answer == 0), pool.present & (pool.answer != 0)
    lengths = pool.tokens.sum(axis=2)
    table = Table(title=str(path), title_justify="left", show_header=False, box=None)
    for name, value in (
        ("problems", f"{len(pool.problems)}"),
        ("samples", f"{some} a problem, {counts.sum():,} in all"),
        ("seeds", ", ".join(str(seed) for seed in sorted(set(pool.seed[pool.present].tolist())))),
        ("rounds", f"{pool.tokens.shape[2]}"),
        ("pass@1", f"{(right.sum(axis=1) / counts).mean():.1%}"),
        (f"maj@{counts.max()}", f"{majority_accuracy(pool):.1%}"),
        ("tokens", f"{lengths.sum():,}; {_mean(lengths, right)} a right sample, "
                   f"{_mean(lengths, wrong)} a wrong one"),
        *((name, str(pool.settings[name])) for name in SHOWN if name in pool.settings),
    ):  # fmt: skip
        table.add_row(name, value)
    return table


def _mean(lengths: NDArray[np.int32], chosen: NDArray[np.bool_]) -> str:
    return f"{lengths[chosen].mean():.0f}" if chosen.any() else "none"


def _show(args: argparse.Namespace) -> int:
    print_pool(args.pool)
    return 0


def _export(args: argparse.Namespace) -> int:
    from aimo_submit.pool.tables import to_parquet

    rows = to_parquet(args.pool, args.out)
    notes.print(f"{rows:,} rounds are in {args.out}: pandas.read_parquet({str(args.out)!r})")
    return 0


def _import(args: argparse.Namespace) -> int:
    from aimo_submit.pool.tables import import_votes

    target = Path(args.out)
    if args.out.endswith("/") or target.is_dir():
        target = target / f"{args.votes.stem}.jsonl"
    notes.print(f"{import_votes(args.votes, target)} problems are in {target}")
    return 0
