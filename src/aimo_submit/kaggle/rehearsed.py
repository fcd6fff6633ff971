"""The mark of a passed rehearsal, `runs/rehearsed.json`, and whether it still holds."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aimo_submit.kaggle.bundle import digest
from aimo_submit.kaggle.metadata import FILE
from aimo_submit.kaggle.output import edition_of

MARK = Path("runs/rehearsed.json")
NOTEBOOK = "notebooks/submission.ipynb"
_REMEDY = "run aimo-submit rehearse, or push --unrehearsed"


def note(folder: Path, edition: str, verdict: str) -> Path:
    """Marks the folder's notebook and metadata as rehearsed; where that is written."""
    mark = {
        "notebook": digest(notebook_of(folder)),
        "metadata": _metadata_hash(folder),
        "edition": edition,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": verdict,
    }
    file = folder / MARK
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(mark) + "\n", encoding="utf-8")
    return file


def unrehearsed(folder: Path) -> str | None:
    """Why the folder must not be pushed as it is, with the remedy; None where it may be."""
    file = folder / MARK
    mark = _json(file)
    if mark is None:
        why = f"there is no {file}" if not file.is_file() else f"{file} cannot be read"
        return f"this notebook has not been rehearsed, {why}: {_REMEDY}"
    notebook = notebook_of(folder)
    if not notebook.is_file() or mark.get("notebook") != digest(notebook):
        return f"{notebook} is not what was rehearsed at {mark.get('time')}: {_REMEDY}"
    if mark.get("metadata") != _metadata_hash(folder):
        return f"{folder / FILE} has changed since the rehearsal at {mark.get('time')}: {_REMEDY}"
    wanted = edition_for(folder)
    if wanted != "any" and mark.get("edition") != wanted:
        return f"rehearsed as {mark.get('edition')}, but the competition is {wanted}: {_REMEDY}"
    return None


def notebook_of(folder: Path) -> Path:
    """The notebook that the folder's metadata names."""
    named = (_json(folder / FILE) or {}).get("code_file")
    return folder / (named if isinstance(named, str) else NOTEBOOK)


def edition_for(folder: Path) -> str:
    """The edition of the competition that the folder's metadata names; `any` for others."""
    named = (_json(folder / FILE) or {}).get("competition_sources")
    first = named[0] if isinstance(named, list) and named else None
    return edition_of(first if isinstance(first, str) else None).name


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
