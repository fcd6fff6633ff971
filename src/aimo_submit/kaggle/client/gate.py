"""The checks before a push: do settings and metadata agree, and was this very version rehearsed?

A kernel with another `code_file` is pushed as it lies.
"""

from __future__ import annotations

import hashlib
import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from aimo_submit.cards import find_card
from aimo_submit.competition import Competition, competition_named, competition_of, names
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.bundle import CONFIG, SUBMISSION, TEMPLATE, digest
from aimo_submit.kaggle.client.metadata import FILE, is_on, load
from aimo_submit.toml import read_toml

MARK = Path("runs/rehearsed.json")
UNREHEARSED = "pushed without a rehearsal"
NEAR = 0.75  # how much a slug has in common with the one that was meant
_ATTACHED = ("model", "dataset", "kernel")
_REMEDY = "run aimo-submit rehearse, or push --unrehearsed"
FOREIGN = "not the kit's notebook: neither built nor rehearsed"


@dataclass(frozen=True, slots=True)
class Passed:
    """A notebook that may be pushed, as the ledger has it."""

    notebook: str = ""  # its digest
    config: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""  # which checks were left out


def is_ours(folder: Path) -> bool:
    """True where the folder's kernel is the kit's notebook, built from its template."""
    return _code_file(folder) == SUBMISSION and (folder / TEMPLATE).is_file()


def passed(folder: Path, *, unrehearsed: bool) -> Passed:
    """The kit's notebook, if this version was rehearsed or need not be; else a `UserError`."""
    reason = why_unrehearsed(folder)
    if reason and not unrehearsed:
        raise UserError(reason)
    config = read_toml(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    return Passed(digest(folder / SUBMISSION), config, UNREHEARSED if reason else "")


def foreign(folder: Path) -> Passed:
    """A notebook that is not the kit's, as it lies; its metadata have been checked."""
    content = (folder / _code_file(folder)).read_bytes()
    return Passed(hashlib.sha256(content).hexdigest(), note=FOREIGN)


def _code_file(folder: Path) -> Path:
    named = load(folder / FILE).get("code_file")
    return Path(named if isinstance(named, str) else ".")


def compare(folder: Path) -> list[str]:
    """Compares the kit's settings with the kernel's metadata; returns what is merely odd.

    Raises UserError, a line a mistake, for what Kaggle would refuse or the run would lack.
    A rehearsal sees none of it: it lays its own competition, model and engine over the settings.
    """
    if not all((folder / file).is_file() for file in (FILE, CONFIG)) or not is_ours(folder):
        return []
    config = Config.of(read_toml(folder / CONFIG))
    competition, metadata = competition_named(config.edition), load(folder / FILE)
    mistakes = [*_competition(metadata, competition), *_attached(metadata, config)]
    if mistakes:
        where = f"{folder / CONFIG} and {folder / FILE} do not agree:"
        raise UserError("\n  ".join([where, *mistakes]))
    return [*_oddities(metadata, config, competition)]


def _competition(metadata: Mapping[str, Any], competition: Competition) -> Iterator[str]:
    """Another competition than that of the settings, none, two, or one that is misspelt."""
    named, edition = strings(metadata, "competition_sources"), competition.name
    known = {c.slug: c.name for c in map(competition_named, names()) if c.slug}
    if competition.slug:
        known[competition.slug] = edition
    if len(named) > 1:
        yield f"competition_sources names {' and '.join(named)}: a submission goes to one, name it"
    elif not named and competition.slug:
        yield f'competition_sources is empty: name "{competition.slug}", or change the edition'
    for slug in named[:1]:
        near = get_close_matches(slug, known, 1, NEAR)
        if known.get(slug, edition) != edition:
            yield f'edition = "{edition}", competition_sources is that of {known[slug]}: change one'
        elif slug not in known and near:
            yield f"competition_sources: {slug!r} is none that is known: did you mean {near[0]!r}?"
        elif competition.slug and slug != competition.slug:
            yield (
                f'edition = "{edition}" is {competition.slug!r}, competition_sources has {slug!r}: '
                "describe that competition in a TOML file and name it as edition"
            )


def _attached(metadata: Mapping[str, Any], config: Config) -> Iterator[str]:
    """No model, no wheels for vLLM, or no GPU for it."""
    attached = sum(len(strings(metadata, f"{kind}_sources")) for kind in _ATTACHED)
    if not attached:
        yield f"no model is attached: name that of {config.model} under {_model_key(config)}"
    elif attached == 1 and config.engine == "vllm":
        yield (
            'engine = "vllm" needs the model and the wheels, only one thing is attached: name the '
            "output of notebooks/wheels under kernel_sources"
        )
    if config.engine == "vllm" and not _gpu(metadata):
        shape = competition_named(config.edition).machine_shape or "NvidiaTeslaT4"
        yield f'engine = "vllm" needs a GPU: set enable_gpu = true and machine_shape = "{shape}"'


def _oddities(
    metadata: Mapping[str, Any], config: Config, competition: Competition
) -> Iterator[str]:
    """What Kaggle takes, and few want."""
    shape, wanted = str(metadata.get("machine_shape") or ""), competition.machine_shape
    source = find_card(config.model).source.kaggle
    if wanted and _gpu(metadata) and shape != wanted:
        yield f"{FILE}: machine_shape is {shape or 'not set'}, {competition.name} runs on {wanted}"
    if config.engine == "vllm" and not strings(metadata, "kernel_sources"):
        yield f"{FILE}: kernel_sources is empty; vLLM's wheels must then lie in a dataset"
    if source and source not in strings(metadata, "model_sources"):
        yield f"{FILE}: model_sources lacks {source}, where {config.model} is to be had"
    if str(metadata.get("is_private", True)).lower() == "false":
        yield f"{FILE}: is_private = false: everybody will see this notebook"


def _model_key(config: Config) -> str:
    source = find_card(config.model).source.kaggle
    return f'model_sources: "{source}"' if source else "model_sources or dataset_sources"


def _gpu(metadata: Mapping[str, Any]) -> bool:
    named = str(metadata.get("machine_shape") or "").startswith("Nvidia")
    return named or is_on(metadata, "enable_gpu")


def note(folder: Path, edition: str, verdict: str) -> Path:
    """Marks the folder's notebook and metadata as rehearsed; gives the file of the mark."""
    mark = {
        "notebook": digest(folder / SUBMISSION),
        "metadata": _metadata_hash(folder),
        "edition": edition,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": verdict,
    }
    file = folder / MARK
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(mark) + "\n", encoding="utf-8")
    return file


def why_unrehearsed(folder: Path) -> str | None:
    """The reason not to push the folder as it is, with the remedy; None if there is none."""
    file = folder / MARK
    mark = _json(file)
    if mark is None:
        why = "cannot be read" if file.is_file() else "is not there"
        return f"this notebook has not been rehearsed, {file} {why}: {_REMEDY}"
    notebook = folder / SUBMISSION
    if not notebook.is_file() or mark.get("notebook") != digest(notebook):
        return f"{notebook} is not what was rehearsed at {mark.get('time')}: {_REMEDY}"
    if mark.get("metadata") != _metadata_hash(folder):
        return f"{folder / FILE} has changed since the rehearsal at {mark.get('time')}: {_REMEDY}"
    wanted = edition_for(folder)
    if wanted != "any" and mark.get("edition") != wanted:
        return f"rehearsed as {mark.get('edition')}, but the competition is {wanted}: {_REMEDY}"
    return None


def edition_for(folder: Path) -> str:
    """The edition of the competition that the folder's metadata names; `any` for others."""
    named = strings(_json(folder / FILE) or {}, "competition_sources")
    return competition_of(named[0] if named else None).name


def strings(metadata: Mapping[str, Any], key: str) -> list[str]:
    """The strings of a list in the metadata, unchecked; none where it is no list."""
    given = metadata.get(key)
    return [each for each in given if isinstance(each, str)] if isinstance(given, list) else []


def _metadata_hash(folder: Path) -> str | None:
    file = folder / FILE
    if not file.is_file():
        return None
    return hashlib.sha256(file.read_bytes().removeprefix(BOM_UTF8)).hexdigest()


def _json(file: Path) -> dict[str, Any] | None:
    """The object in the file, which may be half-written or absent; its own check says so."""
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
