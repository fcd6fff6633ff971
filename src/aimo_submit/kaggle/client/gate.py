"""The check before a push: refuses the kit's notebook unless this very version was rehearsed.

A kernel with another `code_file` is pushed as it lies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aimo_submit.competition import competition_of
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.bundle import CONFIG, SUBMISSION, TEMPLATE, digest
from aimo_submit.kaggle.client.metadata import FILE, load
from aimo_submit.toml import read_toml

MARK = Path("runs/rehearsed.json")
UNREHEARSED = "pushed without a rehearsal"
_REMEDY = "run aimo-submit rehearse, or push --unrehearsed"
FOREIGN = "not the kit's notebook: neither built nor rehearsed"


@dataclass(frozen=True, slots=True)
class Passed:
    """A notebook that may be pushed, as the ledger has it."""

    notebook: str = ""  # its digest
    config: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""  # which checks were left out


def is_ours(folder: Path) -> bool:
    """True where the folder's kernel is the kit's notebook, built from its template."""
    return _code_file(folder) == SUBMISSION and (folder / TEMPLATE).is_file()


def passed(folder: Path, *, unrehearsed: bool) -> Passed:
    """The kit's notebook, if this version was rehearsed or need not be; else a `UserError`."""
    reason = why_unrehearsed(folder)
    if reason and not unrehearsed:
        raise UserError(reason)
    config = read_toml(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    return Passed(digest(folder / SUBMISSION), config, UNREHEARSED if reason else "")


def foreign(folder: Path) -> Passed:
    """A notebook that is not the kit's, as it lies; its metadata have been checked."""
    content = (folder / _code_file(folder)).read_bytes()
    return Passed(hashlib.sha256(content).hexdigest(), note=FOREIGN)


def _code_file(folder: Path) -> Path:
    named = load(folder / FILE).get("code_file")
    return Path(named if isinstance(named, str) else ".")


def note(folder: Path, edition: str, verdict: str) -> Path:
    """Marks the folder's notebook and metadata as rehearsed; gives the file of the mark."""
    mark = {
        "notebook": digest(folder / SUBMISSION),
        "metadata": _metadata_hash(folder),
        "edition": edition,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": verdict,
    }
    file = folder / MARK
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(mark) + "\n", encoding="utf-8")
    return file


def why_unrehearsed(folder: Path) -> str | None:
    """The reason not to push the folder as it is, with the remedy; None if there is none."""
    file = folder / MARK
    mark = _json(file)
    if mark is None:
        why = "cannot be read" if file.is_file() else "is not there"
        return f"this notebook has not been rehearsed, {file} {why}: {_REMEDY}"
    notebook = folder / SUBMISSION
    if not notebook.is_file() or mark.get("notebook") != digest(notebook):
        return f"{notebook} is not what was rehearsed at {mark.get('time')}: {_REMEDY}"
    if mark.get("metadata") != _metadata_hash(folder):
        return f"{folder / FILE} has changed since the rehearsal at {mark.get('time')}: {_REMEDY}"
    wanted = edition_for(folder)
    if wanted != "any" and mark.get("edition") != wanted:
        return f"rehearsed as {mark.get('edition')}, but the competition is {wanted}: {_REMEDY}"
    return None


def edition_for(folder: Path) -> str:
    """The edition of the competition that the folder's metadata names; `any` for others."""
    named = (_json(folder / FILE) or {}).get("competition_sources")
    first = named[0] if isinstance(named, list) and named else None
    return competition_of(first if isinstance(first, str) else None).name


def _metadata_hash(folder: Path) -> str | None:
    file = folder / FILE
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _json(file: Path) -> dict[str, Any] | None:
    """The object in the file, which may be half-written or absent; its own check says so."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
