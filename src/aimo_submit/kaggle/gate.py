"""What stands between a working tree and a push: the notebook is built, and was rehearsed as it is.

Both are about the kit's own notebook; a kernel with another `code_file` is pushed as it lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aimo_submit.config import read_toml
from aimo_submit.errors import UserError
from aimo_submit.kaggle.metadata import FILE, load

NOTEBOOK = "notebooks/submission.ipynb"
TEMPLATE = "notebooks/submission.py"
CONFIG = "notebooks/config.toml"
UNREHEARSED = "pushed without a rehearsal"
FOREIGN = "not the kit's notebook: neither built nor rehearsed"


@dataclass(frozen=True, slots=True)
class Passed:
    """What goes to Kaggle, for the ledger."""

    notebook: str = ""  # its digest
    config: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""  # what was not done to it


def is_ours(folder: Path) -> bool:
    """Whether the folder's kernel is the kit's notebook, built from its template."""
    return _code_file(folder) == Path(NOTEBOOK) and (folder / TEMPLATE).is_file()


def build(folder: Path) -> None:
    """Writes the kit's notebook anew, so that what is pushed is what lies in the folder."""
    from aimo_submit.kaggle.bundle import build as bundle

    bundle(folder)


def passed(folder: Path, *, unrehearsed: bool) -> Passed:
    """What goes to Kaggle; a `UserError` where it is not what was rehearsed, unless it may."""
    from aimo_submit.kaggle.bundle import digest
    from aimo_submit.kaggle.rehearsed import unrehearsed as why_not

    reason = why_not(folder)
    if reason and not unrehearsed:
        raise UserError(reason)
    config = read_toml(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    return Passed(digest(folder / NOTEBOOK), config, UNREHEARSED if reason else "")


def foreign(folder: Path) -> Passed:
    """What goes to Kaggle of a kernel that is not the kit's, its metadata checked before."""
    content = (folder / _code_file(folder)).read_bytes()
    return Passed(hashlib.sha256(content).hexdigest(), note=FOREIGN)


def _code_file(folder: Path) -> Path:
    named = load(folder / FILE).get("code_file")
    return Path(named if isinstance(named, str) else ".")
