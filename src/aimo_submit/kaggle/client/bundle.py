"""The notebooks, built from templates: the submission with the kit inside, wheels, analysis.

A template is a Python file with a cell to each `# %%` (jupytext's percent format); lines such as
`# @KIT@` are where something is put in. The kit is a tar.xz in base64, of the package and the model
cards without any weights, so that one uploaded file is the whole submission.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import textwrap
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import aimo_submit
from aimo_submit.cards import all_cards
from aimo_submit.config import Config
from aimo_submit.errors import UserError, install
from aimo_submit.kaggle.client.ledger import git_sha
from aimo_submit.toml import read_toml

PACKAGE = Path(aimo_submit.__file__).parent
SUBMISSION = Path("notebooks/submission.ipynb")
CONFIG = Path("notebooks/config.toml")
OTHERS = (Path("notebooks/wheels/wheels.ipynb"), Path("notebooks/analysis.ipynb"))
MOST_BYTES = 1_000_000  # of the submission's notebook; beyond, something heavy has slipped in
_STAMP = "COMMIT = "
_WIDTH = 100


def build(folder: Path, config: Path | None = None) -> Path:
    """Writes the folder's notebooks; where the submission's lies."""
    for path, text in built(folder, config).items():
        path.write_text(text, encoding="utf-8")
    return folder / SUBMISSION


def stale(folder: Path, config: Path | None = None) -> list[Path]:
    """The notebooks in the folder that do not correspond to the tree."""
    return [
        path
        for path, text in built(folder, config).items()
        if not path.is_file() or digest(path) != _digest(text)
    ]


def built(folder: Path, config: Path | None = None) -> dict[Path, str]:
    """The text of every notebook that the folder has a template for."""
    config = config or folder / CONFIG
    if not config.is_file():
        raise UserError(f"{config} is not there: run this in the kit's folder, or give --folder")
    settings = _settings(config)
    values = {"KIT": _kit(git_sha(folder)), "SETTINGS": f'SETTINGS = """\n{settings}"""'}
    texts = {folder / SUBMISSION: notebook(folder / SUBMISSION.with_suffix(".py"), values)}
    for other in OTHERS:
        template = folder / other.with_suffix(".py")
        if template.is_file():
            requirements = _requirements(template.parent / "requirements.txt")
            texts[folder / other] = notebook(template, {"REQUIREMENTS": requirements})
    if len(texts[folder / SUBMISSION]) > MOST_BYTES:
        raise UserError(f"{SUBMISSION} would have over {MOST_BYTES:,} bytes: shorten the settings")
    return texts


def digest(path: Path) -> str:
    """A hash of what a notebook does: its cells and the kit inside, not the commit's name."""
    try:
        return _digest(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, tarfile.TarError) as error:
        raise UserError(f"{path} cannot be read as a notebook ({error}): build it anew") from error


def notebook(template: Path, values: Mapping[str, str]) -> str:
    """The template as a notebook's text, with the values in place of their marks."""
    try:
        jupytext, nbformat = import_module("jupytext"), import_module("nbformat")
    except ImportError as error:
        raise UserError(f"{error}: {install('kaggle')}") from error
    if not template.is_file():
        raise UserError(f"no template {template}: run from the folder of kernel-metadata.json")
    book = jupytext.read(template, fmt="py:percent")
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"
        for name, value in values.items():
            if f"# @{name}@" in cell.source:
                cell.source = cell.source.replace(f"# @{name}@", value)
                cell.metadata = {"_kg_hide-input": True} if name == "KIT" else {}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    nbformat.validate(book)
    return str(nbformat.writes(book)) + "\n"


def kit_files() -> dict[str, bytes]:
    """The files of the kit by their names in the archive: the package and the cards, no weights."""
    sources = {
        f"aimo_submit/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes()
        for path in sorted(PACKAGE.rglob("*"))
        if path.suffix in (".py", ".toml") and "models" not in path.relative_to(PACKAGE).parts
    }
    homes = (PACKAGE / "models", PACKAGE.parents[1] / "models")
    cards = {
        f"aimo_submit/models/{path.name}": path.read_bytes()
        for home in homes
        for path in sorted(home.glob("*.toml"))
    }
    return dict(sorted({**sources, **cards}.items()))


def package_hash(files: Mapping[str, bytes]) -> str:
    """A hash of the files' names and contents, however they are compressed."""
    parts = (f"{name}\0{hashlib.sha256(data).hexdigest()}\n" for name, data in files.items())
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _kit(commit: str) -> str:
    files = kit_files()
    lines = (
        f"{_STAMP}{commit or 'unknown'!r}",
        f"PACKAGE = {package_hash(files)!r}",
        f'KIT = """\n{_wrapped(_packed(files))}"""',
    )
    return "\n".join(lines)


def _settings(file: Path) -> str:
    """The text of the settings, checked: what is refused here cannot fail on Kaggle."""
    config = Config.of(read_toml(file))
    known = [card.name for card in all_cards()]
    if config.model not in known:
        raise UserError(f"{file}: no card for model {config.model!r}: known are {', '.join(known)}")
    text = file.read_text(encoding="utf-8")
    if '"""' in text or "\\" in text:
        raise UserError(f'{file}: write it without """ and backslashes, which the cell cannot hold')
    return text


def _requirements(file: Path) -> str:
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return f'REQUIREMENTS = """\n{text}"""'


def _packed(files: Mapping[str, bytes]) -> bytes:
    """The files as a tar.xz; without dates, so that the same tree gives the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=9) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        read = ((entry.name, archive.extractfile(entry)) for entry in archive)
        return {name: file.read() for name, file in read if file}


def _wrapped(data: bytes) -> str:
    return "\n".join(textwrap.wrap(base64.b64encode(data).decode(), _WIDTH)) + "\n"


def _digest(text: str) -> str:
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    parts = [(kind, "\n".join(_telling(source))) for kind, source in cells]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _telling(source: str) -> Iterator[str]:
    """The cell's lines without the commit, and the kit's files in place of their compression."""
    before, mark, rest = source.partition('KIT = """\n')
    yield from (line for line in before.splitlines() if not line.startswith(_STAMP))
    if mark:
        packed, _, after = rest.partition('"""')
        yield package_hash(_unpacked(base64.b64decode(packed)))
        yield after
