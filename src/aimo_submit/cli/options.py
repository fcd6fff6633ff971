"""Shared by the commands: the consoles, the settings of a run, counts and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console, RenderableType

from aimo_submit.cards import Card, config_for
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.journal import replace_text
from aimo_submit.machines import recognise
from aimo_submit.machines.detect import detect
from aimo_submit.toml import parse_value, read_toml

FAILED = 1  # the exit code of a command that did its work and found something wrong

out = Console()
notes = Console(stderr=True)


def say(result: RenderableType, *, markup: bool = False) -> None:
    """Prints a result: a line as long as it is, or a table, whose cells may hold markup."""
    if isinstance(result, str):
        out.print(result, soft_wrap=True, markup=markup, highlight=False)
    else:
        out.print(result, highlight=False)


def note(line: str) -> None:
    """Prints a note of one line, as long as it is."""
    notes.print(line, soft_wrap=True, markup=False, highlight=False)


def write(path: Path, text: str | None = None) -> None:
    """Replaces the file's text; without a text, only makes the folder, before hours of work."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            replace_text(path, text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another --out") from error


def at_least(least: int) -> Callable[[Any, int | None], None]:
    """Refuses a number that is given and smaller."""

    def check(_: Any, value: int | None) -> None:
        if value is not None and value < least:
            raise ValueError(f"It must be at least {least}.")

    return check


Count = Annotated[int, Parameter(validator=at_least(1))]
Folder = Annotated[Path, Parameter(help="folder of kernel-metadata.json")]
Settings = Annotated[tuple[str, ...], Parameter(name="-c")]


def values(settings: Iterable[str]) -> dict[str, Any]:
    """Names and values of what was given with -c."""
    return dict(map(parse_value, settings))


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class RunOptions:
    """The settings of a run that are changed most, and -c for all others.

    Args:
        config: TOML file of settings
        model: card: a name that `models` lists, or a .toml [default: tiny-tir]
        engine: transformers, vllm or openai [default: the card's, for this machine]
        edition: rule for answers: aimo-1, aimo-2, aimo-3, any [default: aimo-1]
        samples: N, samples of each problem [default: 48, or the card's]
        rounds: M, rounds of each sample [default: 4, or the card's]
        seed: seed of the first run [default: 0]
        settings: NAME=VALUE, any setting of config.py: -c temperature=0.6; may be repeated
    """

    config: Path | None = None
    model: str | None = None
    engine: str | None = None
    edition: str | None = None
    samples: Annotated[int | None, Parameter(alias="-n")] = None
    rounds: Annotated[int | None, Parameter(alias="-m")] = None
    seed: int | None = None
    settings: Settings = ()

    def resolved(self) -> tuple[Config, Card]:
        """What is named, over --config, over the card's settings for this machine; and the card."""
        named = ("model", "engine", "edition", "samples", "rounds", "seed")
        given = {name: getattr(self, name) for name in named if getattr(self, name) is not None}
        below = read_toml(self.config) if self.config else {}
        here = recognise([gpu.name for gpu in detect().gpus])
        return config_for(below | given | values(self.settings), machine=here)


NONE_GIVEN = RunOptions()
