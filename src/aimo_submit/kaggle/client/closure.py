"""The modules of the kit that code can come to import, found by reading it.

Followed are imports at any depth, those inside functions too, the packages around a module, and
modules named in strings, which start processes: the sandbox's fork server, for one. Not found is a
module whose name is only put together at run time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_DOTTED = re.compile(r"\w+(?:\.\w+)*")


def closure(source: str, package: Path) -> dict[str, Path]:
    """The package's modules that the source can come to import: their files by dotted names."""
    files = {_name(file, package): file for file in package.rglob("*.py")}
    found: dict[str, Path] = {}
    todo = list(named(source))
    while todo:
        for name in _around(todo.pop()):
            if name in files and name not in found:
                found[name] = files[name]
                todo.extend(named(files[name].read_text(encoding="utf-8")))
    return dict(sorted(found.items()))


def named(source: str) -> Iterator[str]:
    """The dotted names in imports and in strings; docstrings do not count."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield from _DOTTED.findall(node.value) if isinstance(node.value, str) else ()


def _around(name: str) -> Iterator[str]:
    """The name and those of the packages that hold it, outermost first."""
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _name(file: Path, package: Path) -> str:
    """The dotted name of a file of the package."""
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
