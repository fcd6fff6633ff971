"""Checks for work with Kaggle; nothing is sent, no secret is shown."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aimo_submit.doctor import Check, Job, installed
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.api import SETTINGS, credentials
from aimo_submit.kaggle.client.metadata import FILE, PLACEHOLDER, read_metadata
from aimo_submit.kaggle.runtime.mounts import survey

TESTED = ("2.2.4", "2.2.5")
_TOKEN = f"(umask 077; mkdir -p ~/.kaggle; cat > ~/.kaggle/access_token)  # from {SETTINGS}"


@dataclass(frozen=True, slots=True)
class Environment:
    """The places to look in."""

    environ: Mapping[str, str]
    home: Path
    folder: Path  # of kernel-metadata.json
    inputs: Path  # Kaggle's mounts


def kaggle_checks(places: Environment) -> Iterator[Check]:
    """Credentials, the official package, and the kernel's metadata."""
    yield _credentials(places)
    package = installed("kaggle")
    if package and package not in TESTED:  # where it is missing, the packages' check says so
        tested = " and ".join(TESTED)
        yield Check("kaggle package", f"{package}; the kit was tested with {tested}")
    yield _metadata(places.folder)


def _credentials(places: Environment) -> Check:
    try:
        where = credentials(places.environ, places.home)
    except UserError as error:
        return Check("credentials", str(error), Job.PUSH, "chmod -R u+rwX ~/.kaggle")
    fault, fix = _fault(where, places)
    if where is None or fault:
        return Check("credentials", fault or "none", Job.PUSH, fix or _TOKEN)
    return Check("credentials", f"in {where}")


def _fault(where: str | None, places: Environment) -> tuple[str, str]:
    """A fault that can be seen without asking Kaggle, and the fix, if not a new token."""
    if where == "KAGGLE_API_TOKEN":
        broken = re.search(r"\s", places.environ[where].strip())
        return ("KAGGLE_API_TOKEN holds blanks" if broken else ""), ""
    file = places.home / ".kaggle" / (where or "kaggle.json").rpartition("/")[2]
    if where and Path(where).is_absolute():
        file = Path(where)
    if not file.is_file():
        return "", ""
    if where is None:
        return f"{file} holds no username and key", ""
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        return f"{file} can be read by others", f"chmod 600 {file}"
    if file.name == "credentials.json":  # OAuth's, the package's own business
        return "", ""
    text = file.read_text(errors="replace")
    secret = str(json.loads(text).get("key")) if file.name == "kaggle.json" else text
    broken = re.search(r"\s", secret.strip())
    return (f"{file} holds more than a key or token" if broken else ""), ""


def _metadata(folder: Path) -> Check:
    if not (folder / FILE).is_file():
        return Check(FILE, "none here", Job.PUSH, "cd to the kit's folder")
    try:
        found = read_metadata(folder)
    except UserError as error:
        first, *lines = [line.strip() for line in str(error).splitlines()]
        return Check(FILE, "; ".join(lines) or first, Job.PUSH, _fix(folder / FILE, lines))
    return Check(FILE, f"{found.id}, for {found.competition or 'no competition'}")


def _fix(file: Path, wrong: list[str]) -> str:
    if any(PLACEHOLDER in line for line in wrong):
        return f"sed -i 's/{PLACEHOLDER}/YOUR NAME ON KAGGLE/' {file}"
    return "aimo-submit build" if all("build it" in line for line in wrong) else f"$EDITOR {file}"


def mount_checks(inputs: Path) -> Iterator[Check]:
    """Kaggle's mounts, or that this is another machine."""
    if not inputs.is_dir():
        yield Check(str(inputs), "not there: this is no Kaggle machine")
        return
    mounts = survey(inputs)
    for name, found in (
        ("models", mounts.models(None)),
        ("wheels", mounts.wheels("vllm")),
        ("problems", mounts.problems("any")),
        ("packages of", mounts.editions()),
    ):
        yield Check(name, ", ".join(map(str, found)) or "none")
