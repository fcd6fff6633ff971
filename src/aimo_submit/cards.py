"""Model cards: what the kit must know of a model, one TOML file each in `models/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.config import Config, read_toml
from aimo_submit.errors import UserError
from aimo_submit.formats import Format, format_named
from aimo_submit.records import Problem

_HERE = Path(__file__).parent
# In a checkout the cards lie beside src/, in an installed wheel inside the package.
_HOMES = (_HERE / "models", _HERE.parents[1] / "models")

_FIELDS = {"name": str, "source": str, "format": str, "context": int, "sampling": dict}
_OPTIONAL: Mapping[str, Any] = {"sampling": {}}


@dataclass(frozen=True, slots=True)
class Card:
    """One model: where its weights lie and how it is spoken to."""

    name: str
    path: Path  # the folder with config.json, the weights and the tokenizer
    format: Format
    context: int  # tokens
    defaults: Mapping[str, Any]  # settings of `Config` that suit this model


def load_card(model: str) -> Card:
    """The card of that name or path, its weights checked to be there."""
    file = _find(model)
    data = read_toml(file)
    for key, kind in _FIELDS.items():
        if not isinstance(data.setdefault(key, _OPTIONAL.get(key)), kind):
            raise UserError(f"{file}: the card needs {key}, of type {kind.__name__}")
    path = (file.parent / data["source"]).resolve()
    for needed in ("config.json", "tokenizer.json"):
        if not (path / needed).is_file():
            raise UserError(f"{file}: no {needed} in {path}; put the model there or mend `source`")
    sampling = data["sampling"]
    Config.of(sampling)
    return Card(data["name"], path, format_named(data["format"]), data["context"], sampling)


def config_for(given: Mapping[str, Any]) -> tuple[Config, Card]:
    """The configuration with these values over the model's own defaults, and the model's card."""
    card = load_card(Config.of(given).model)
    return Config.of({**card.defaults, **given}), card


def fits_context(card: Card, problems: Sequence[Problem]) -> None:
    """A `UserError` for the first problem whose prompt leaves the model no room to answer.

    Needs the tokenizer's file only, so that it can be asked before any model is loaded.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(card.path / "tokenizer.json"))
    for problem in problems:
        tokens = len(tokenizer.encode(card.format.prompt(problem.text)).ids)
        if tokens >= card.context:
            raise UserError(
                f"problem {problem.id}: its prompt has {tokens} tokens, {card.name} holds "
                f"{card.context}; shorten the problem or take a model with a longer context"
            )


def _find(model: str) -> Path:
    if model.endswith(".toml"):
        return Path(model)
    for home in _HOMES:
        if (home / f"{model}.toml").is_file():
            return home / f"{model}.toml"
    known = sorted({file.stem for home in _HOMES for file in home.glob("*.toml")})
    raise UserError(f"no card for model {model!r}: known are {', '.join(known)}; or give a .toml")
