"""The search for what is mounted: models, wheels, problems, the competition's package.

Kaggle moved its mounts in 2026 (`models/<owner>/...`, `competitions/<slug>/`, ...) and kept the old
ones for older notebooks, so everything is searched for below one root. The search is bounded: a
data set of 10^5 images beside the model costs a second, not the run.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from aimo_submit.cards import Card
from aimo_submit.competition import competition_named, competition_of, names
from aimo_submit.errors import UserError

ROOT = "AIMO_SUBMIT_INPUT"  # names another root, for a rehearsal
DEPTH = 8  # models/<owner>/<model>/<framework>/<variation>/<version>/, and two more
FOLDERS = 5000  # looked into at most, the nearest first
SUBFOLDERS = 200  # of one folder
ENTRIES = 5000  # of one folder; those in _NAMED are found among any number
_MODEL = frozenset({"config.json", "tokenizer.json"})
_NAMED = (*_MODEL, "test.csv", "aimo", "kaggle_evaluation")


# What the vLLM engine needs on 2x T4: the last line built for CUDA 12. notebooks/wheels has the
# whole set; what the image already holds in a fitting version is left as it is.
REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "vllm": ("vllm==0.19.1", "transformers==4.57.6"),
}
INSTALL_S = 480.0  # the server has to be up within 15 minutes of the rerun's start
IMPORT_S = 240.0


@dataclass(frozen=True, slots=True)
class Mounts:
    """The folders below a root, the nearest first, each with the names of what it holds.

    Answers are lists, the best first; equally good ones by depth and name.
    """

    root: Path
    folders: Mapping[Path, frozenset[str]]

    def models(self, card: Card | None) -> list[Path]:
        """The folders with a model, those first whose path has most in common with the card."""
        found = [path for path, names in self.folders.items() if _MODEL <= names]
        names, places = _words(card) if card else (set(), set())

        def likeness(path: Path) -> tuple[int, int]:
            parts = self._parts(path)
            return len(names.intersection(parts)), len(places.intersection(parts))

        return sorted(found, key=likeness, reverse=True)

    def wheels(self, package: str) -> list[Path]:
        """The folders with wheels, those first that have one of the package."""

        def foreign(folder: Path) -> bool:
            return not any(n.startswith(f"{package}-") for n in self.folders[folder])

        found = [p for p, names in self.folders.items() if any(n.endswith(".whl") for n in names)]
        return sorted(found, key=foreign)

    def problems(self, edition: str) -> list[Path]:
        """The test.csv files, those of the edition's competition first."""
        found = [path for path, names in self.folders.items() if "test.csv" in names]
        own = [path for path in found if self._is_of(path, edition)]
        return [path / "test.csv" for path in (*own, *(p for p in found if p not in own))]

    def packages(self, edition: str) -> list[Path]:
        """The folders that make the competition's package importable, its own data's first."""
        package = competition_named(edition).package
        if package is None:
            return []
        found = [path for path in self.folders if path.name == package.folder]
        own = [path.parent for path in found if package.file in self.folders[path]]
        return sorted(own, key=lambda path: not self._is_of(path, edition))

    def editions(self) -> list[str]:
        """The editions whose packages are mounted."""
        return [edition for edition in names() if self.packages(edition)]

    def _is_of(self, path: Path, edition: str) -> bool:
        return any(competition_of(part).name == edition for part in self._parts(path))

    def _parts(self, path: Path) -> list[str]:
        return [part.lower() for part in path.relative_to(self.root).parts]


def input_root() -> Path:
    """The folder below which Kaggle, or a rehearsal, mounts the inputs."""
    return Path(os.environ.get(ROOT) or "/kaggle/input")


def survey(root: Path) -> Mounts:
    """The folders below the root, as far as the bounds go; none where there is no root."""
    folders: dict[Path, frozenset[str]] = {}
    todo = deque([(root, 0)])
    while todo and len(folders) < FOLDERS:
        path, depth = todo.popleft()
        folders[path], below = _look(path)
        if depth < DEPTH and not _MODEL <= folders[path]:
            todo.extend((path / name, depth + 1) for name in below)
    return Mounts(root, folders)


def _look(folder: Path) -> tuple[frozenset[str], list[str]]:
    """The names in a folder, and of those the folders that are to be looked into."""
    names, below = set(), []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, ENTRIES):
            names.add(entry.name)
            if not entry.name.startswith(".") and entry.is_dir():
                below.append(entry.name)
    if len(names) == ENTRIES:
        names.update(name for name in _NAMED if (folder / name).exists())
    return frozenset(names), sorted(below)[:SUBFOLDERS]


def _words(card: Card) -> tuple[set[str], set[str]]:
    """Parts to look for in the path of the card's model: its names, and others of its source."""
    kaggle = (card.source.kaggle or "").lower().split("/")
    hub = (card.source.hub or "").lower().split("/")
    return {card.name.lower(), hub[-1], *kaggle[1:2]} - {""}, set(kaggle) - {""}


def install_wheels(
    requirements: Sequence[str],
    folders: Sequence[Path],
    *,
    python: str = sys.executable,
    timeout_s: float = INSTALL_S,
) -> None:
    """Installs from the folders' wheels alone; raises `UserError` with what pip lacked."""
    if not folders:
        raise UserError(
            f"no wheels are mounted for {' '.join(requirements)}: attach the output of "
            "notebooks/wheels as kernel_sources in kernel-metadata.json"
        )
    links = [f"--find-links={folder}" for folder in folders]
    options = ("--no-index", "--no-input", "--disable-pip-version-check", "--no-color", "-q")
    failed = _run([python, "-m", "pip", "install", *options, *links, *requirements], timeout_s)
    if failed:
        raise UserError(
            f"the wheels in {folders[0]} cannot be installed ({failed}): build them anew with "
            "notebooks/wheels for this Python and image"
        )
    importlib.invalidate_caches()


def present(package: str) -> bool:
    """True if the package is installed, be it one that can be imported or not."""
    return find_spec(package) is not None


def import_failure(package: str, *, first: Path | None = None) -> str:
    """The reason why a process of its own cannot import the package; empty where it can.

    On this process's path, behind `first`.
    """
    path = [*([str(first)] if first else []), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    return _run([sys.executable, "-c", f"import {package}"], IMPORT_S, environment)


def _run(
    command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
) -> str:
    """The last line of a command that failed which says something; empty where it did not fail."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"not done in {timeout_s:g} s"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip() or done.stdout
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
    return errors[0][:300] if errors else f"exit code {done.returncode}"
