"""The README's map of `src/aimo_submit/`, from the first sentence of each module and room.

The core's files have a line each, in the order in which they are read; a room has one for all that
it holds. `python docs/readme_map.py` writes the map, `--check` says whether it is today's.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- map: made by docs/readme_map.py -->\n", "<!-- end of map -->\n"
NAME, WIDTH = 18, 78  # columns, behind Markdown's indent of four

# What is not named here follows, by name.
CORE = (
    *("solve", "loop", "run", "records", "config", "toml", "competition", "answers", "arithmetic"),
    *("vote", "genselect", "budget", "pacing", "solver", "start", "journal", "errors", "show"),
)
ROOMS = (
    *("formats", "cards", "machines", "engines", "sandbox", "pool", "evaluate", "tune", "report"),
    *("training", "kaggle", "doctor", "cli"),
)


def main(arguments: list[str]) -> int:
    """Writes the map into the README, or with `--check` compares: 0, or 1 and the remedy."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    today = with_map(text, ROOT / "src" / "aimo_submit")
    if arguments == ["--check"]:
        if text == today:
            return 0
        print("README.md: the map is not that of the modules; run `make map`", file=sys.stderr)
        return 1
    readme.write_text(today)
    return 0


def with_map(text: str, package: Path) -> str:
    """The text with the package's map between its two marks; exits where it lacks them."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"README.md: no place for the map: put in the lines\n{BEGIN}{END}")
    drawn = "".join(f"    {line}\n" for line in (f"src/{package.name}/", *lines(package)))
    return f"{before}{BEGIN}\n{drawn}\n{END}{after}"


def lines(package: Path) -> Iterator[str]:
    """The map: the files of the core, then the rooms."""
    files = [file for file in package.glob("*.py") if file.stem != "__init__"]
    for file in sorted(files, key=lambda file: place(CORE, file.stem)):
        yield entry(1, file.name, first_sentence(file))
    yield from rooms(package, 1)


def rooms(folder: Path, depth: int) -> Iterator[str]:
    """The rooms of a folder, each followed by its own."""
    found = [file.parent for file in folder.glob("*/__init__.py")]
    for room in sorted(found, key=lambda room: place(ROOMS, room.name)):
        yield entry(depth, f"{room.name}/", first_sentence(room / "__init__.py"))
        yield from rooms(room, depth + 1)


def place(order: tuple[str, ...], name: str) -> tuple[int, str]:
    """Where a name comes in that order; what the order does not know comes last, by name."""
    return (order.index(name) if name in order else len(order), name)


def entry(depth: int, name: str, sentence: str) -> str:
    """A line of a name and its sentence; of a long one, the clauses for which there is room."""
    clauses = [match.start() for match in re.finditer(r"[,;:] | \(", sentence)]
    fitting = [end for end in (*clauses, len(sentence)) if end <= WIDTH]
    return f"{'  ' * depth}{name}".ljust(NAME) + sentence[: max(fitting, default=WIDTH)]


def first_sentence(file: Path) -> str:
    """The first sentence of the module's docstring, without its full stop."""
    paragraph, *_ = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")
    return re.split(r"(?<!\.)\.(?:\s|$)", " ".join(paragraph.split()), maxsplit=1)[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
