"""The files that a docstring, a comment or a page names are there."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT

# Files of other repositories, which are cited.
FOREIGN = {
    *("run_tool_integrated_eval.py", "math_eval.py", "local_eval.py", "inference.py"),
    *("prompt_format.md", "format.md", "evaluation.md"),
}
ROOMS = ("src", "tests", "benchmarks", "models", "notebooks", "docs")
CODE = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
PAGES = [
    *(ROOT / name for name in ("README.md", "Makefile", "pyproject.toml", "docs/ARCHITECTURE.md")),
    *sorted((ROOT / "models").rglob("*.md")),
    *sorted((ROOT / "models").rglob("*.toml")),
]
NAMED = re.compile(r"(?<![\w*{}/.-])(?:[\w.-]+/)*[\w-]+\.(?:py|md)\b")
FILES = {
    *(f"/{file.relative_to(ROOT)}" for file in CODE),
    *(f"/{file.relative_to(ROOT)}" for file in ROOT.glob("*.md")),
    *(f"/{page.relative_to(ROOT)}" for room in ROOMS for page in (ROOT / room).rglob("*.md")),
}


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page; of code, its docstrings and comments; each with the line's number."""
    text = file.read_text()
    if not NAMED.search(text):
        return
    if file.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


def test_every_file_that_prose_names_exists() -> None:
    missing = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in (*CODE, *PAGES)
        for line, text in prose(file)
        for name in NAMED.findall(text)
        if name.rpartition("/")[2] not in FOREIGN
        and not any(known.endswith(f"/{name}") for known in FILES)
    ]
    assert not missing, "named, but not there:\n" + "\n".join(missing)
