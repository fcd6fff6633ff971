"""`aimo-submit upload`: parses, calls, prints."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from aimo_submit.cli.kaggle import TIMES, Folder, Seam, Times, patience
from aimo_submit.cli.options import note, notes, say
from aimo_submit.kaggle import upload as uploading
from aimo_submit.kaggle.client import sources
from aimo_submit.kaggle.client.api import connect, require_credentials
from aimo_submit.kaggle.client.metadata import FILE, load
from aimo_submit.kaggle.client.sources import Standing
from aimo_submit.kaggle.upload.folder import File, human, left_out, survey
from aimo_submit.kaggle.upload.versions import Target

READY_S = 2 * 3600.0  # Kaggle unpacks and copies: minutes, for tens of gigabytes half an hour


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Goal:
    """What the folder becomes on Kaggle.

    Args:
        name: owner/slug, or owner/model/framework/variation
        kind: dataset or model [default: as --name says]
        title: where it is new [default: the slug]
        license: its name on Kaggle; needed where it is new
        public: for everybody to see, where it is new
    """

    name: str
    kind: Annotated[Literal["dataset", "model"] | None, Parameter(name="--as")] = None
    title: str | None = None
    license: str = ""
    public: bool = False


def upload(
    source: Path,
    /,
    *,
    become: Goal,
    message: Annotated[str, Parameter(alias="-m")] = "aimo-submit",
    no_wait: bool = False,
    attach: bool = False,
    folder: Folder = Path(),
    times: Seam = TIMES,
) -> None:
    """Puts a folder of weights or wheels on Kaggle, and waits until it is ready.

    Args:
        source: the folder to upload, all of it
        message: the version's note
        no_wait: do not wait until it is ready
        attach: write it into kernel-metadata.json
    """
    goal = uploading.target(**dataclasses.asdict(become))
    files = survey(source)
    if attach:
        load(folder / FILE)  # readable, before hours of uploading
    require_credentials(os.environ, Path.home())
    api = connect(times.silence_s)
    before = uploading.standing(api, goal)
    uploading.needs_license(goal, before)
    _announce(source, files, goal, before)
    with notes.status(f"uploading to {goal.ref}") as line:
        patient = patience(times, line.update)
        uploading.upload(api, files, goal, before, note=message, patience=patient)
    if no_wait:
        say(f"{goal.ref} is taken, and not ready before {goal.page} says so")
        return
    reference = _ready(api, goal, before, files, times)
    if attach:
        sources.attach(folder, goal.sources, reference)
    done = "is in" if attach else "put it into"
    say(f'"{reference}" is ready; {done} {goal.sources} of kernel-metadata.json')


def _ready(api: Any, goal: Target, before: Standing | None, files: list[File], times: Times) -> str:
    """Waits for the version; returns what names it in a kernel's sources."""
    with notes.status(f"{goal.ref}: being made") as line:
        patient = dataclasses.replace(patience(times, line.update), limit_s=READY_S)
        try:
            return uploading.wait(api, goal, before, files, patient)
        except KeyboardInterrupt:
            note(f"{goal.page} shows when it is ready; the same command would upload it again")
            raise


def _announce(source: Path, files: list[File], goal: Target, before: Standing | None) -> None:
    size = human(sum(file.size for file in files))
    how = "public" if goal.public else "private"
    what = f"version {before.version + 1} of" if before else f"a new {how} {goal.kind}"
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    note(f"{count}, {size}, as {what} {goal.ref}")
    for name in left_out(source):
        note(f"{name} stays here")
    for file in files:
        if file.unpacked:
            note(f"{file.name}: Kaggle will unpack it")
