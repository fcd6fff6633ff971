"""`aimo-submit upload`: parses, calls, prints."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

from aimo_submit.cli.console import guarded, note, patience_for, say
from aimo_submit.cli.options import Commands, notes
from aimo_submit.kaggle import upload
from aimo_submit.kaggle.client.api import SILENCE_S, connect, require_credentials
from aimo_submit.kaggle.client.kernel import EVERY_S
from aimo_submit.kaggle.client.metadata import FILE, load
from aimo_submit.kaggle.client.sources import Standing, attach
from aimo_submit.kaggle.upload.folder import File, human, left_out, survey
from aimo_submit.kaggle.upload.versions import DATASET, MODEL, Target

READY_S = 2 * 3600.0  # Kaggle unpacks and copies: minutes, for tens of gigabytes half an hour


def add_upload_command(
    commands: Commands, every_s: float = EVERY_S, silence_s: float = SILENCE_S
) -> None:
    """Adds `upload`; the times are those of `add_kernel_commands`."""
    parser = commands.add_parser(
        "upload",
        help="put a folder of weights or wheels on Kaggle, wait until it is ready",
        epilog="example: aimo-submit upload wheels/ --name you/t4-wheels --license other --attach",
    )
    parser.add_argument("source", type=Path, metavar="FOLDER", help="what to upload, all of it")
    parser.add_argument(
        "--name",
        required=True,
        metavar="REF",
        help="owner/slug, or owner/model/framework/variation",
    )
    parser.add_argument(
        "--as", dest="kind", choices=(DATASET, MODEL), help="default: as --name says"
    )
    parser.add_argument("--title", metavar="TEXT", help="where it is new (default: the slug)")
    parser.add_argument("--license", default="", metavar="NAME", help="needed where it is new")
    parser.add_argument("--public", action="store_true", help="where it is new (default: private)")
    parser.add_argument("-m", "--message", default="aimo-submit", help="the version's note")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is ready")
    parser.add_argument("--attach", action="store_true", help="write it into kernel-metadata.json")
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="folder of kernel-metadata.json (here)"
    )
    parser.set_defaults(
        run=lambda args: guarded(_upload, args), every_s=every_s, silence_s=silence_s
    )


def _upload(args: argparse.Namespace) -> int:
    goal = upload.target(args.name, args.kind, args.title, license=args.license, public=args.public)
    files = survey(args.source)
    if args.attach:
        load(args.folder / FILE)  # readable, before hours of uploading
    require_credentials(os.environ, Path.home())
    api = connect(args.silence_s)
    before = upload.standing(api, goal)
    upload.needs_license(goal, before)
    _announce(args.source, files, goal, before)
    with notes.status(f"uploading to {goal.ref}") as line:
        patience = patience_for(args, line.update)
        upload.upload(api, files, goal, before, note=args.message, patience=patience)
    if args.no_wait:
        say(f"{goal.ref} is taken, and not ready before {goal.page} says so")
        return 0
    _finish(api, goal, before, files, args)
    return 0


def _finish(
    api: Any, goal: Target, before: Standing | None, files: list[File], args: argparse.Namespace
) -> None:
    with notes.status(f"{goal.ref}: being made") as line:
        patience = dataclasses.replace(patience_for(args, line.update), limit_s=READY_S)
        try:
            reference = upload.wait(api, goal, before, files, patience)
        except KeyboardInterrupt:
            note(f"{goal.page} shows when it is ready; the same command would upload it again")
            raise
    if args.attach:
        attach(args.folder, goal.sources, reference)
    done = "is in" if args.attach else "put it into"
    say(f'"{reference}" is ready; {done} {goal.sources} of kernel-metadata.json')


def _announce(source: Path, files: list[File], goal: Target, before: Standing | None) -> None:
    size = human(sum(file.size for file in files))
    how = "public" if goal.public else "private"
    what = f"version {before.version + 1} of" if before else f"a new {how} {goal.kind}"
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    notes.print(f"{count}, {size}, as {what} {goal.ref}", soft_wrap=True, markup=False)
    for name in left_out(source):
        notes.print(f"{name} stays here", markup=False)
    for file in files:
        if file.unpacked:
            notes.print(f"{file.name}: Kaggle will unpack it", soft_wrap=True, markup=False)
