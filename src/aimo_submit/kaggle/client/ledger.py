"""`runs/ledger.jsonl`: what was pushed and submitted, from which commit and config, with its score.

Lines are only ever added; the last one about a version and its submission counts.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from aimo_submit.errors import UserError
from aimo_submit.journal import write_line

LEDGER = Path("runs/ledger.jsonl")
PUSHED, PENDING, COMPLETE, ERROR = "PUSHED", "PENDING", "COMPLETE", "ERROR"


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of a kernel, and one submission of it where there is one."""

    kernel: str  # owner/slug
    version: int
    git: str = ""  # the commit, "+" behind it: with changes; empty: unknown
    notebook: str = ""  # the digest of what was pushed
    config: Mapping[str, Any] = field(default_factory=dict)
    ref: int | None = None  # the submission's number on Kaggle; None: not submitted
    competition: str = ""  # its slug; of a push: the one it is meant for
    message: str = ""
    status: str = PUSHED
    score: float | None = None  # public
    private: float | None = None
    note: str = ""  # why it failed; of a push: that it was not rehearsed
    time: float = field(default_factory=time.time)  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Scores:
    """The public scores of one config."""

    label: str  # what sets it apart from the others
    scores: tuple[float, ...]
    pending: int
    failed: int

    @property
    def spread(self) -> float | None:
        """Standard deviation from submission to submission; None for fewer than two."""
        return stdev(self.scores) if len(self.scores) > 1 else None


def append(entry: Entry, path: Path = LEDGER) -> None:
    """Adds the entry; when this returns, a power cut cannot lose it."""
    line = dataclasses.asdict(entry)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":  # torn by a kill
                    file.write(b"\n")
            write_line(file, line)
    except OSError as error:  # what it tells of has been done, and is not to be done twice
        raise UserError(
            f"{path} cannot be written ({error.strerror}): mend that and add this line to it: "
            f"{json.dumps(line)}"
        ) from error


def read(path: Path = LEDGER) -> list[Entry]:
    """Each version and submission as it stands, oldest first; none without a ledger."""
    if not path.is_file():
        return []
    latest: dict[tuple[str, int, int | None], Entry] = {}
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = Entry(**json.loads(line))
            latest[entry.kernel, entry.version, entry.ref] = entry
        except ValueError:  # torn by a kill
            continue
        except TypeError as error:
            raise UserError(f"{path} line {number} is no entry: take it out ({error})") from error
    return list(latest.values())


def version_of(entries: Sequence[Entry], kernel: str, version: int | None = None) -> Entry:
    """That version as it was pushed from here, or the newest; unknown ones only if named."""
    mine = [e for e in entries if e.kernel == kernel and e.ref is None]
    if version is not None:
        named = [e for e in mine if e.version == version]
        return named[0] if named else Entry(kernel, version, note="not pushed from here")
    if not mine:
        raise UserError(f"nothing was pushed as {kernel} from here: push it, or name the --version")
    return max(mine, key=lambda e: e.version)


def git_sha(folder: Path) -> str:
    """The folder's commit, with "+" where files differ from it; empty outside a repository."""
    sha = _git(folder, "rev-parse", "--short=12", "HEAD")
    return sha + "+" * bool(sha and _git(folder, "status", "--porcelain"))


def subject(folder: Path, commit: str) -> str:
    """The first line of that commit's message; empty where it is unknown."""
    return _git(folder, "log", "-1", "--format=%s", commit.rstrip("+")) if commit else ""


def by_config(entries: Iterable[Entry]) -> list[Scores]:
    """The scores of each config that was submitted, best mean first."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.ref is not None:
            groups.setdefault(str(sorted(_pairs(entry))), []).append(entry)
    common = set.intersection(*(_pairs(g[0]) for g in groups.values())) if len(groups) > 1 else None
    found = [_scores(group, common) for group in groups.values()]
    return sorted(found, key=lambda s: -mean(s.scores) if s.scores else float("inf"))


def _scores(group: Sequence[Entry], common: set[tuple[str, str]] | None) -> Scores:
    own = _pairs(group[0]) - common if common is not None else set()
    return Scores(
        label=" ".join(f"{name}={value}" for name, value in sorted(own)) or "the one config",
        scores=tuple(e.score for e in group if e.score is not None),
        pending=sum(e.status == PENDING for e in group),
        failed=sum(e.status == ERROR for e in group),
    )


def _pairs(entry: Entry) -> set[tuple[str, str]]:
    # Seeds are what the spread is over.
    return {(k, json.dumps(v, sort_keys=True)) for k, v in entry.config.items() if k != "seed"}


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
