"""The stand-in as a package folder among the inputs, where a notebook finds the competition's own.

Two files of a line each: what they stand for is read from `stand_in.json` beside them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from aimo_submit.competition import competition_named
from aimo_submit.kaggle.rehearsal.fake_gateway import StandIn, Verdict

SETTINGS = "stand_in.json"
_CODE = """from pathlib import Path

from aimo_submit.kaggle.rehearsal.fake_package import open_package

{name} = open_package(Path(__file__).parent).{name}
"""


def write_package(parent: Path, edition: str, csv: Path, verdict: Path, speed: float) -> Path:
    """The package's folder, made below the parent; its runs leave their verdict in that file."""
    package = competition_named(edition).package
    assert package  # a plan without one is refused before
    name, module = package.file
    folder = parent / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / module).write_text(_CODE.format(name=package.name), encoding="utf-8")
    settings = {"edition": edition, "csv": str(csv), "verdict": str(verdict), "speed": speed}
    (folder / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
    return folder


def open_package(folder: Path) -> StandIn:
    """The stand-in that the folder's settings describe; it writes into the working directory."""
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    verdict = Path(settings["verdict"])
    return StandIn(
        settings["edition"],
        Path(settings["csv"]),
        Path(),
        speed=settings["speed"],
        report=lambda v: _write(verdict, v),
    )


def read_verdict(file: Path) -> Verdict | None:
    """How the run went; None where its gateway did not come to its end."""
    try:
        given: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Verdict(**given)


def _write(file: Path, verdict: Verdict) -> None:
    file.write_text(json.dumps(dataclasses.asdict(verdict)), encoding="utf-8")
