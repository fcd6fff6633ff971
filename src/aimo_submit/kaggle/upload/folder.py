"""A folder that is to be uploaded: its files, those that stay, and what speaks against it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aimo_submit.errors import UserError

# Nobody wants these on Kaggle; the official package drops some of them without a word.
_LEFT = {
    *(".git", ".gitattributes", ".cache", ".huggingface", ".ipynb_checkpoints"),
    *("__pycache__", ".DS_Store"),
}
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".bz2")
_LOCK = ".lock"
_REFUSED = "@&#\\:*?"  # in a name: after the last byte, or suspected of it (kaggle-cli #430, #524)
_UNFINISHED = (".incomplete", ".part", ".tmp", ".crdownload")


@dataclass(frozen=True, slots=True)
class File:
    """A file to upload: where it lies, and where it goes below the dataset's or model's root."""

    path: Path
    parts: tuple[str, ...]
    size: int  # bytes
    changed: int  # seconds since 1970

    @property
    def name(self) -> str:
        """The file's path below the root."""
        return "/".join(self.parts)

    @property
    def unpacked(self) -> bool:
        """True if Kaggle takes it for an archive, and unpacks it."""
        return self.parts[-1].lower().endswith(_ARCHIVES)


def files_in(folder: Path) -> list[File]:
    """Every file of the folder that goes; raises a `UserError` with all that speaks against it."""
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: give the folder that holds the model or the wheels")
    files = list(_files(folder, ()))
    against = [line for file in files for line in _against(file)]
    if not files:
        raise UserError(f"{folder} holds no files to upload: check the path")
    if against:
        raise UserError("\n  ".join([f"{folder} is not fit to be uploaded:", *against]))
    return files


def left_out(folder: Path) -> list[str]:
    """The names in the folder that stay here."""
    return sorted(path.name for path in folder.iterdir() if _stays(path))


def _stays(path: Path) -> bool:
    return path.name in _LEFT or path.suffix == _LOCK


def _files(folder: Path, above: tuple[str, ...]) -> Iterator[File]:
    for path in sorted(folder.iterdir()):
        parts = (*above, path.name)
        if _stays(path):
            continue
        if path.is_dir():
            yield from _files(path, parts)
        else:
            about = path.stat() if path.is_file() else None  # None: a dangling link, a socket
            size, changed = (about.st_size, int(about.st_mtime)) if about else (-1, 0)
            yield File(path.absolute(), parts, size, changed)


def _against(file: File) -> Iterator[str]:
    if file.size < 0:
        yield f"{file.name} is no file, or a link to nothing: fetch it again, or take it out"
        return
    odd = sorted({letter for letter in file.name if letter in _REFUSED})
    if odd:
        yield f"{file.name} has {' '.join(odd)} in its name, which Kaggle refuses: rename it"
    if file.size == 0:
        yield f"{file.name} is empty: fetch it again, or take it out"
    if file.name.endswith(_UNFINISHED):
        yield f"{file.name} is half a download: fetch it again, or take it out"
    if not os.access(file.path, os.R_OK):
        yield f"{file.name} cannot be read: chmod u+r it"
    elif file.name.endswith(".safetensors.index.json"):
        yield from _missing_shards(file)


def _missing_shards(file: File) -> Iterator[str]:
    """The weights that an index names and the folder lacks."""
    try:
        named = set(json.loads(file.path.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield f"{file.name} is no index of weights: fetch it again"
        return
    for shard in sorted(named):
        if not (file.path.parent / shard).is_file():
            yield f"{file.name} names {shard}, which is not there: fetch the model again"
