"""What is there and what is missing for work with Kaggle; nothing is sent, no secret is shown."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aimo_submit.doctor import PUSH, Finding
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.api import SETTINGS, credentials
from aimo_submit.kaggle.client.metadata import FILE, PLACEHOLDER, read_metadata
from aimo_submit.kaggle.runtime.mounts import survey

TESTED = ("2.2.4", "2.2.5")
_TOKEN = f"(umask 077; mkdir -p ~/.kaggle; cat > ~/.kaggle/access_token)  # from {SETTINGS}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where to look."""

    environ: Mapping[str, str]
    home: Path
    folder: Path  # of kernel-metadata.json
    inputs: Path  # Kaggle's mounts


def kaggle_findings(around: Surroundings) -> Iterator[Finding]:
    """Credentials, the official package, and the kernel's metadata."""
    yield _credentials(around)
    try:
        installed = version("kaggle")
    except PackageNotFoundError:  # told among the packages
        installed = TESTED[0]
    if installed not in TESTED:
        tested = " and ".join(TESTED)
        yield Finding("kaggle package", f"{installed}; the kit was tested with {tested}")
    yield _metadata(around.folder)


def _credentials(around: Surroundings) -> Finding:
    try:
        where = credentials(around.environ, around.home)
    except UserError as error:
        return Finding("credentials", str(error), PUSH, "chmod -R u+rwX ~/.kaggle")
    fault, fix = credential_fault(where, around)
    if where is None or fault:
        return Finding("credentials", fault or "none", PUSH, fix or _TOKEN)
    return Finding("credentials", f"in {where}")


def credential_fault(where: str | None, around: Surroundings) -> tuple[str, str]:
    """What can be told to be wrong without asking Kaggle, and what mends it; else two blanks."""
    file = around.home / ".kaggle" / (where or "kaggle.json").rpartition("/")[2]
    if where is None:
        return (f"{file} holds no username and key", "") if file.is_file() else ("", "")
    if where == "KAGGLE_API_TOKEN":
        broken = re.search(r"\s", around.environ[where].strip())
        return ("KAGGLE_API_TOKEN holds blanks", "") if broken else ("", "")
    file = Path(where) if Path(where).is_absolute() else file
    if not file.is_file():
        return "", ""
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        return f"{file} can be read by others", f"chmod 600 {file}"
    text = file.read_text(errors="replace")
    if file.name == "credentials.json":  # OAuth's, the package's own business
        return "", ""
    secret = str(json.loads(text).get("key")) if file.name == "kaggle.json" else text
    broken = re.search(r"\s", secret.strip())
    return (f"{file} holds more than a key or token", "") if broken else ("", "")


def _metadata(folder: Path) -> Finding:
    if not (folder / FILE).is_file():
        return Finding(FILE, "none here", PUSH, "cd to the kit's folder")
    try:
        found = read_metadata(folder)
    except UserError as error:
        first, *lines = [line.strip() for line in str(error).splitlines()]
        return Finding(FILE, "; ".join(lines) or first, PUSH, _edit(folder / FILE, lines))
    return Finding(FILE, f"{found.id}, for {found.competition or 'no competition'}")


def _edit(file: Path, wrong: list[str]) -> str:
    if any(PLACEHOLDER in line for line in wrong):
        return f"sed -i 's/{PLACEHOLDER}/YOUR NAME ON KAGGLE/' {file}"
    if all("build it" in line for line in wrong):
        return "aimo-submit build"
    return f"$EDITOR {file}"


def mount_findings(inputs: Path) -> Iterator[Finding]:
    """What Kaggle has mounted, or that this is another machine."""
    if not inputs.is_dir():
        yield Finding(str(inputs), "not there: this is no Kaggle machine")
        return
    mounts = survey(inputs)
    for what, found in (
        ("models", mounts.models(None)),
        ("wheels", mounts.wheels("vllm")),
        ("problems", mounts.problems("any")),
        ("packages of", mounts.editions()),
    ):
        yield Finding(what, ", ".join(map(str, found)) or "none")
