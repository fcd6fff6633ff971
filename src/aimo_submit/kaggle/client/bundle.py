"""The notebooks, built from templates: the submission, with and without the kit; wheels; analysis.

A template is a Python file with a cell to each `# %%` (jupytext's percent format). Lines such as
`# @KIT@` are where something is put in; a cell titled `home` or `kaggle` is for that place alone.
With the kit inside, one uploaded file is the whole submission, but for the weights.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import lzma
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aimo_submit
from aimo_submit.cards import all_cards
from aimo_submit.config import Config
from aimo_submit.errors import UserError, need
from aimo_submit.kaggle.client.ledger import git_sha
from aimo_submit.toml import read_toml

SUBMISSION = Path("build/submission.ipynb")  # for Kaggle; as `code_file` in kernel-metadata.json
TEMPLATE = Path("notebooks/submission.py")
CONFIG = Path("notebooks/config.toml")
AT_HOME = TEMPLATE.with_suffix(".ipynb")  # what a person opens
OTHERS = (Path("notebooks/wheels/wheels.ipynb"), Path("notebooks/analysis.ipynb"))
MOST_BYTES = 1_000_000  # of the submission's notebook; beyond, something heavy has slipped in

OWN = "aimo_submit"  # of a notebook's metadata
_STAMP = "COMMIT = "
_READ_ME = """# Each of the hidden cells below holds a file of the kit: read it there, or change it.
KIT = {}"""


PACKAGE = Path(aimo_submit.__file__).parent
# In the package or beside src/; their TOML files travel.
COMPETITIONS, CARDS = "data/competitions", "models"
READABLE = 'KIT["'  # begins a cell that holds one file as plain text
_WIDTH = 100
_DOTTED = re.compile(r"\w+(?:\.\w+)*")


def build(folder: Path, config: Path | None = None, *, readable: bool | None = None) -> Path:
    """Writes the folder's notebooks; where the one for Kaggle lies. Raises UserError over an edit.

    `readable` puts the kit into cells as plain text, one a file; None: as in the one built last.
    """
    config = _checked(folder, config)
    if is_edited(folder / SUBMISSION):
        raise UserError(
            f"{folder / SUBMISSION} was edited after it was built: bring the change into "
            f"{TEMPLATE} and remove that file, or copy it and name the copy as code_file in "
            "kernel-metadata.json, to push it as it is"
        )
    if readable is None:
        readable = _is_readable(folder / SUBMISSION)
    text = for_kaggle(folder, config, readable=readable)
    for path, content in {SUBMISSION: text, **_at_home(folder, config)}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    return folder / SUBMISSION


def stale(folder: Path, config: Path | None = None) -> list[Path]:
    """The notebooks kept beside their templates that no longer correspond to them."""
    made = _at_home(folder, _checked(folder, config))
    paths = {folder / path: text for path, text in made.items()}
    return [p for p, text in paths.items() if not p.is_file() or digest(p) != _digest(text)]


def for_kaggle(folder: Path, config: Path, *, readable: bool) -> str:
    """The submission's notebook with the kit inside."""
    cells = _cells(folder / TEMPLATE, {"SETTINGS": _settings(config)}, place="kaggle")
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    files = kit_files(code, Config.of(read_toml(config)).edition)
    stamp = f"{_STAMP}{git_sha(folder) or 'unknown'!r}\nPACKAGE = {package_hash(files)!r}\n"
    kit = [stamp + _READ_ME, *texts(files)] if readable else [stamp + packed(files)]
    text = _notebook(_with_kit(cells, kit))
    if len(text) > MOST_BYTES:
        raise UserError(f"{SUBMISSION} would have over {MOST_BYTES:,} bytes: shorten the settings")
    return text


def notebook(template: Path, values: Mapping[str, str]) -> str:
    """The template's notebook for home, with the values in place of their marks."""
    return _notebook(_cells(template, values, place="home"))


def digest(path: Path) -> str:
    """A hash of what a notebook does: its cells, without the commit's name."""
    try:
        return _digest(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a notebook ({error}): build it anew") from error


def _at_home(folder: Path, config: Path) -> dict[Path, str]:
    """The text of every notebook that is kept beside its template."""
    texts = {AT_HOME: notebook(folder / TEMPLATE, {"SETTINGS": _settings(config)})}
    for other in OTHERS:
        template = folder / other.with_suffix(".py")
        if template.is_file():
            requirements = _requirements(template.parent)
            texts[other] = notebook(template, {"REQUIREMENTS": requirements})
    return texts


def _checked(folder: Path, config: Path | None) -> Path:
    """The file of the settings, checked: what is refused here cannot fail on Kaggle."""
    file = config or folder / CONFIG
    if not file.is_file():
        raise UserError(f"{file} is not there: run this in the kit's folder, or give --folder")
    model = Config.of(read_toml(file)).model
    known = [card.name for card in all_cards()]
    if model not in known:
        raise UserError(f"{file}: no card for model {model!r}: known are {', '.join(known)}")
    text = file.read_text(encoding="utf-8")
    if '"""' in text or "\\" in text:
        raise UserError(f'{file}: write it without """ and backslashes, which the cell cannot hold')
    return file


def _settings(file: Path) -> str:
    return f'SETTINGS = """\n{file.read_text(encoding="utf-8")}"""'


def _requirements(folder: Path) -> str:
    """The sets of wheels, by the Python that each is for."""
    sets = {file.stem.rpartition("-")[2]: file for file in folder.glob("requirements-*.txt")}
    texts = {python: sets[python].read_text(encoding="utf-8") for python in sorted(sets)}
    lines = [f'    "{python}": """\n{text}""",' for python, text in texts.items()]
    return "\n".join(["REQUIREMENTS = {", *lines, "}"])


def _cells(template: Path, values: Mapping[str, str], place: str) -> list[Any]:
    """The template's cells for that place, with the values in place of their marks."""
    if not template.is_file():
        raise UserError(f"no template {template}: run from the folder of kernel-metadata.json")
    book = need("jupytext", "kaggle").read(template, fmt="py:percent")
    cells = [cell for cell in book.cells if cell.metadata.pop("title", place) == place]
    for cell in cells:
        for name, value in values.items():
            cell.source = cell.source.replace(f"# @{name}@", value)
    return cells


def _with_kit(cells: Sequence[Any], kit: Sequence[str]) -> Iterator[Any]:
    """The cells, and in place of the one with the kit's mark hidden ones with these sources."""
    new = need("nbformat", "kaggle").v4.new_code_cell
    for cell in cells:
        if "# @KIT@" in cell.source:
            yield from (new(source, metadata={"_kg_hide-input": True}) for source in kit)
        else:
            yield cell


def _notebook(cells: Iterator[Any] | Sequence[Any]) -> str:
    """The text of a notebook of these cells."""
    nbformat = need("nbformat", "kaggle")
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    book = nbformat.v4.new_notebook(cells=list(cells), metadata=about)
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"
    book.metadata[OWN] = {"digest": _digest(nbformat.writes(book))}
    nbformat.validate(book)
    return str(nbformat.writes(book)) + "\n"


def is_edited(notebook: Path) -> bool:
    """True for a notebook that does something else than what was built."""
    if not notebook.is_file():
        return False
    found = digest(notebook)
    about = json.loads(notebook.read_text(encoding="utf-8")).get("metadata", {}).get(OWN, {})
    return str(about.get("digest", found)) != found  # an older kit left none


def _is_readable(notebook: Path) -> bool:
    """True for a notebook that is there and holds the kit as plain text."""
    text = notebook.read_text(encoding="utf-8") if notebook.is_file() else ""
    return json.dumps(READABLE)[1:-1] in text


def _digest(text: str) -> str:
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    told = [(kind, re.sub(f"^{_STAMP}.*$", "", source, flags=re.M)) for kind, source in cells]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


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
