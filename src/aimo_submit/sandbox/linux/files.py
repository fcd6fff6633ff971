"""Removes whatever a block left in its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove_tree(top: Path) -> None:
    """Removes a folder with all that is in it."""
    empty_folder(top, lambda: False)
    top.rmdir()


def empty_folder(top: Path, stop: Callable[[], bool]) -> bool:
    """Empties the folder, of any depth; False if told to stop before. Follows no link.

    It walks with one descriptor: neither recursion, nor path length, nor open files can run out.
    Nobody may change the folder meanwhile.
    """
    if not top.is_symlink():
        top.chmod(0o700)  # so that one who is not root may open it
    here = os.open(top, OPEN)
    os.chmod(here, 0o700)  # noqa: PTH101 - the folder opened, whatever now bears its name
    todo = [_unlink_files(here)]  # per level, from the top to `here`: the folders still to enter
    path: list[str] = []
    try:
        while (todo[-1] or path) and not stop():
            if todo[-1]:
                path.append(todo[-1].pop())
                here = _move(here, path[-1])
                todo.append(_unlink_files(here))
            else:
                todo.pop()
                here = _move(here, "..")
                os.rmdir(path.pop(), dir_fd=here)
    finally:
        os.close(here)
    return not (todo[-1] or path)


def _move(here: int, name: str) -> int:
    if name != "..":
        os.chmod(name, 0o700, dir_fd=here)  # noqa: PTH101 - relative to the folder opened
    there = os.open(name, OPEN, dir_fd=here)
    os.close(here)
    return there


def _unlink_files(folder: int) -> list[str]:
    """Unlinks all but the folders, and returns those."""
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=folder)
    return [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
