"""Model cards: all that the kit must know of a model, one TOML file each in `models/`.

Read at home and on Kaggle. A card can be read where the weights are not; `load_card` gives one
that can be run, `fit` tells which machine holds it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aimo_submit.config import ENGINES, Config
from aimo_submit.errors import UserError
from aimo_submit.formats import Format
from aimo_submit.formats.families import format_named
from aimo_submit.machines import (
    HARDWARE,
    METHODS,
    UTILISATION,
    Hardware,
    Layout,
    MemoryPlan,
    Quantisation,
    Size,
    plan_memory,
)
from aimo_submit.records import Problem
from aimo_submit.toml import checked, read_toml

_HERE = Path(__file__).parents[1]
# In a checkout the cards lie beside src/, in an installed wheel inside the package.
_HOMES = (_HERE / "models", _HERE.parents[1] / "models")
_USUAL: Mapping[str, Any] = {"engine": "vllm", "engine_options": {}}  # where there are GPUs
_WIDTH = "tensor_parallel_size"
_NOTES = ("measured", "training")  # tables for people, of any content


@dataclass(frozen=True, slots=True)
class Source:
    """Where the weights can be had, and where they lie."""

    hub: str | None = None  # owner/name on Hugging Face
    kaggle: str | None = None  # owner/model/framework/variation/version
    path: str | None = None  # a folder, seen from the card; None: models/NAME


@dataclass(frozen=True, slots=True)
class Card:
    """One model: its weights, its format, its needs."""

    name: str
    path: Path  # the folder with config.json, the weights and the tokenizer
    format_name: str
    context: int  # tokens
    defaults: Mapping[str, Any] = field(default_factory=dict)  # settings of `Config`
    # machine -> engine and engine_options of `Config`
    machines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: Source = Source()
    licence: str = ""
    sample_tokens: int = 1024  # that a running sample holds on average, its prompt included
    quantisation: Quantisation | None = None
    size: Size | None = None

    @property
    def format(self) -> Format:
        """The model's format; raises `UserError` for one that the kit lacks."""
        return format_named(self.format_name)

    @property
    def fetch(self) -> str:
        """The command that fetches the weights."""
        if self.source.hub:
            return f"fetch it: hf download {self.source.hub} --local-dir {self.path}"
        if self.source.kaggle:
            download = "kaggle models instances versions download"
            return f"fetch it: {download} {self.source.kaggle} --untar -p {self.path}"
        return "put the model there or mend `source`"


@dataclass(frozen=True, slots=True)
class _Top:
    """The keys of a card's file."""

    name: str
    source: str | dict[str, Any]
    format: str
    context: int
    licence: str = ""
    sample_tokens: int = 1024
    sampling: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    quantisation: Quantisation | None = None
    size: Size | None = None


def load_card(model: str, weights: Path | None = None) -> Card:
    """The card of that name or path, ready to run; `weights`: where they lie, if not at home."""
    file = card_file(model)
    card = read_card(file)
    if weights is not None:
        card = dataclasses.replace(card, path=weights.resolve())
    for needed in ("config.json", "tokenizer.json"):
        if not (card.path / needed).is_file():
            remedy = card.fetch if weights is None else "put the model there"
            raise UserError(f"{file}: no {needed} in {card.path}; {remedy}")
    format_named(card.format_name)
    return card


def find_card(model: str) -> Card:
    """The card of that name or path, whether its weights are there or not."""
    return read_card(card_file(model))


def read_card(file: Path) -> Card:
    """The card in that file, checked; its weights may be elsewhere or nowhere."""
    data = {key: value for key, value in read_toml(file).items() if key not in _NOTES}
    if isinstance(data.get("size"), dict) and "bits" in data["size"]:
        raise UserError(f"{file}: [size]: bits are given in [quantisation]")
    top = checked(_Top, f"{file}: the card", data)
    # A folder beside the card can be named as short as that.
    table = {"path": top.source} if isinstance(top.source, str) else top.source
    source = checked(Source, f"{file}: [source]", table)
    how, size = top.quantisation, top.size
    if how and how.method not in METHODS:
        known = ", ".join(METHODS)
        raise UserError(f"{file}: [quantisation]: method = {how.method!r}: must be one of {known}")
    try:
        Config.of(top.sampling)
    except UserError as error:
        raise UserError(f"{file}: [sampling]: {error}") from error
    return Card(
        name=top.name,
        path=(file.parent / source.path if source.path else Path("models") / top.name).resolve(),
        format_name=top.format,
        context=top.context,
        defaults=top.sampling,
        machines={name: _machine(file, name, each) for name, each in top.engine.items()},
        source=source,
        licence=top.licence,
        sample_tokens=top.sample_tokens,
        quantisation=how,
        size=dataclasses.replace(size, bits=how.weight_bits) if size and how else size,
    )


def all_cards() -> Iterator[Card]:
    """Every card that comes with the kit, by name."""
    files = next((list(home.glob("*.toml")) for home in _HOMES if home.is_dir()), [])
    return map(read_card, sorted(files))


def config_for(
    given: Mapping[str, Any], weights: Path | None = None, machine: str | None = None
) -> tuple[Config, Card]:
    """The configuration with these values over the model's own defaults, and the model's card.

    On a named machine (`machines.HARDWARE`), its engine settings come between the two.
    """
    card = load_card(Config.of(given).model, weights)
    merged = {**card.defaults, **given}
    if machine:
        settings = engine_settings(card, machine, merged.get("engine_options", {}))
        if merged.get("engine", settings.get("engine")) == settings.get("engine"):
            merged |= settings
    return Config.of(merged), card


def engine_settings(
    card: Card, machine: str, given: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """`engine` and `engine_options` for the card on that machine, the options given foremost.

    What replicas there are share the devices evenly, unless their width is given, too.
    """
    hardware, given = HARDWARE[machine], given or {}
    settings = card.machines.get(machine, _USUAL if hardware.capability else {})
    if not settings:
        return {}
    options = {**settings["engine_options"], **given}
    if settings["engine"] == "vllm":
        options.setdefault("max_model_len", card.context)
        if _WIDTH not in options or ("replicas" in given and _WIDTH not in given):
            options[_WIDTH] = max(1, hardware.devices // options.get("replicas", 1))
    return {"engine": settings["engine"], "engine_options": options}


def fits_context(card: Card, problems: Sequence[Problem]) -> None:
    """Raises `UserError` for the first problem whose prompt leaves the model no room to answer.

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


def card_file(model: str) -> Path:
    """The file of the card of that name or path."""
    if model.endswith(".toml"):
        return Path(model)
    for home in _HOMES:
        if (home / f"{model}.toml").is_file():
            return home / f"{model}.toml"
    known = sorted({file.stem for home in _HOMES for file in home.glob("*.toml")})
    raise UserError(f"no card for model {model!r}: known are {', '.join(known)}; or give a .toml")


def _machine(file: Path, name: str, table: Any) -> Mapping[str, Any]:
    """`engine` and `engine_options` as the card has them for one machine."""
    where = f"{file}: [engine.{name}]"
    if name not in HARDWARE:
        raise UserError(f"{where}: no such machine; known are {', '.join(HARDWARE)}")
    if not isinstance(table, dict) or "name" not in table:
        raise UserError(f"{where} needs name, the engine's, beside the engine's options")
    options = {key: value for key, value in table.items() if key != "name"}
    for count in (_WIDTH, "replicas"):
        if type(options.get(count, 1)) is not int or options.get(count, 1) < 1:
            raise UserError(f"{where}: {count} must be a whole number from 1")
    if table["name"] not in ENGINES:
        known = ", ".join(ENGINES)
        raise UserError(f"{where}: engine = {table['name']!r}: must be one of {known}")
    return {"engine": table["name"], "engine_options": options}


@dataclass(frozen=True, slots=True)
class Fit:
    """The memory that a card takes on a machine, and what keeps it from running there."""

    plan: MemoryPlan | None  # None where the card does not say how large the model is
    hindrance: str  # "": nothing keeps it from running


def fit(card: Card, hardware: Hardware, layout: Layout | None = None) -> Fit:
    """The fit of the card, spread as its settings for the machine say unless told otherwise."""
    if card.size is None:
        return Fit(None, "the card has no [size]")
    options = engine_settings(card, hardware.name).get("engine_options", {})
    plan = plan_memory(
        card.size,
        hardware,
        layout or layout_of(card, hardware),
        card.sample_tokens,
        options.get("gpu_memory_utilization", UTILISATION),
        1 if str(options.get("kv_cache_dtype")).startswith("fp8") else 2,
    )
    return Fit(plan, _kernels(card, hardware) or _memory(card, hardware, plan))


def layout_of(card: Card, hardware: Hardware) -> Layout:
    """The layout that the card's settings give the model on the machine."""
    options = engine_settings(card, hardware.name).get("engine_options", {})
    return Layout(options.get("tensor_parallel_size", 1), options.get("replicas", 1))


def _kernels(card: Card, hardware: Hardware) -> str:
    how = card.quantisation
    if how is None:
        return ""
    if hardware.capability is None:
        return "" if how.bits == 4 and how.method != "mxfp4" else f"no {how} kernels on a CPU"
    needed = METHODS[how.method]
    if hardware.capability >= needed:
        return ""
    have, want = (".".join(map(str, c)) for c in (hardware.capability, needed))
    return f"{how} needs compute capability {want}, a {hardware.gpu} has {have}"


def _memory(card: Card, hardware: Hardware, plan: MemoryPlan) -> str:
    if plan.kv_gib <= 0:
        return (
            f"weights take {plan.weights_gib:.1f} GiB of each device ({plan.layout}), the "
            f"engine {plan.overhead_gib:.1f}; it has {hardware.memory_gib:.1f}"
        )
    if not plan.at_once(card.sample_tokens):
        return f"there is room for {plan.kv_tokens} tokens, less than a sample"
    return ""
