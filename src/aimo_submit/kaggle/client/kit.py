"""The kit that travels: the modules that a notebook can come to import, and the data they read.

Modules are found by reading the code. Followed are imports at any depth, those inside functions
too, the packages around a module, and modules named in strings, which start processes: the
sandbox's fork server, for one. A name that is only put together at run time is not found.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import lzma
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import aimo_submit

PACKAGE = Path(aimo_submit.__file__).parent
# In the package or beside src/; their TOML files travel.
COMPETITIONS, CARDS = "data/competitions", "models"
READABLE = 'KIT["'  # begins a cell that holds one file as plain text
_WIDTH = 100
_DOTTED = re.compile(r"\w+(?:\.\w+)*")


def kit_files(code: str, edition: str = "any") -> dict[str, str]:
    """The kit's files that the code needs, by their paths below the folder they are unpacked in.

    An edition that is a user's own file goes among the kit's own, where it is looked up by name.
    """
    modules = closure(code, PACKAGE).values()
    files = {f"{PACKAGE.name}/{file.relative_to(PACKAGE).as_posix()}": file for file in modules}
    for name in (COMPETITIONS, CARDS):
        for home in (PACKAGE, PACKAGE.parents[1]):
            found = (home / name).glob("*.toml")
            files |= {f"{PACKAGE.name}/{name}/{file.name}": file for file in found}
    if edition.endswith(".toml") and (own := Path(edition)).is_file():
        files[f"{PACKAGE.name}/{COMPETITIONS}/{own.name}"] = own
    return {name: file.read_text(encoding="utf-8") for name, file in sorted(files.items())}


def package_hash(files: Mapping[str, str]) -> str:
    """A hash of the files' names and contents."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:16]


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


def packed(files: Mapping[str, str]) -> str:
    """Code that makes KIT of a text that is short, and not to be read."""
    data = lzma.compress(json.dumps(files).encode(), preset=9)
    text = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), _WIDTH))
    return (
        "import base64, json, lzma\n\n"
        f'KIT = json.loads(lzma.decompress(base64.b64decode("""\n{text}\n""")))'
    )


def texts(files: Mapping[str, str]) -> list[str]:
    """Code that fills KIT with the files as they are, a piece for each."""
    return [f'{READABLE}{name}"] = {_quoted(text)}' for name, text in files.items()]


def _quoted(text: str) -> str:
    return repr(text) if "'''" in text or not text.endswith("\n") else f"r'''{text}'''"
