"""`aimo-submit build`: writes the notebooks, or says whether they correspond to the tree."""

from __future__ import annotations

import argparse
from pathlib import Path

from aimo_submit.options import Commands

STALE = 1


def add_notebook_commands(commands: Commands) -> None:
    """Adds the command that builds the notebooks."""
    build = commands.add_parser(
        "build",
        help="build the notebooks, the kit inside the submission's",
        epilog="example: aimo-submit build --config my.toml",
    )
    build.add_argument(
        "--folder", type=Path, default=Path(), help="folder of kernel-metadata.json (here)"
    )
    build.add_argument(
        "--config", type=Path, metavar="FILE", help="settings as TOML (notebooks/config.toml)"
    )
    build.add_argument(
        "--check", action="store_true", help="write nothing; fail where a notebook is out of date"
    )
    build.set_defaults(run=_build)


def _build(args: argparse.Namespace) -> int:
    from aimo_submit.kaggle import bundle

    if args.check:
        old = bundle.stale(args.folder, args.config)
        for path in old:
            print(f"{path} does not correspond to the tree: run aimo-submit build")
        return STALE if old else 0
    path = bundle.build(args.folder, args.config)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB, digest {bundle.digest(path)[:16]}")
    return 0
