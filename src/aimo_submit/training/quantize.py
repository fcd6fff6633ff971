"""A card's model in fewer bits: GPTQ (arXiv 2210.17323), and a card for what came out.

By gptqmodel, the maintained successor of auto-gptq; both write the same tensors. auto-gptq itself
works in one pinned environment on a CUDA machine only: `AUTO_GPTQ`.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aimo_submit.cards import Card
from aimo_submit.errors import UserError, install
from aimo_submit.toml import read_toml, toml_value
from aimo_submit.training.calibration import Fidelity

GROUP = 128  # weights that share a scale
BATCH = 4  # texts at once
MAX_TOKENS = 2048  # of a calibration text

# The surroundings in which auto-gptq's last release still works.
AUTO_GPTQ = "pip install auto-gptq==0.7.1 'transformers>=4.45,<4.50' 'peft>=0.13,<0.15'"
# From this line on vLLM refuses checkpoints quantised by falling activation.
NO_ACT_ORDER = (0, 30)

# The tokenizer's files stay the original's: as transformers 5 writes them, older ones cannot read.
_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "*.model")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to quantise."""

    bits: int = 8
    act_order: bool = True
    tool: str = "gptqmodel"


def act_order_for(vllm: str) -> bool:
    """Whether that line of vLLM reads checkpoints with columns by falling activation."""
    try:
        major, minor = (int(part) for part in vllm.split(".")[:2])
    except ValueError as error:
        raise UserError(f"--vllm {vllm}: must be a version such as 0.19") from error
    return (major, minor) < NO_ACT_ORDER


def quantise(card: Card, recipe: Recipe, texts: Sequence[str], folder: Path) -> None:
    """Leaves the quantised model in the folder, which must not hold one yet."""
    if any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} holds a model already: choose another --out, or remove it")
    _check_sizes(card)
    _WRITERS[recipe.tool](card, recipe, texts, folder.resolve())
    for pattern in _TOKENIZER:
        for file in card.path.glob(pattern):
            shutil.copy(file, folder / file.name)


def write_card(original: Path, recipe: Recipe, folder: Path, seen: Fidelity) -> Path:
    """The quantised model's own card, beside its folder: the original's, with what differs."""
    data, name = read_toml(original), folder.name
    measured = {"against": data["name"], **dataclasses.asdict(seen)}
    data |= {"name": name, "source": {"path": name}, "measured": measured}
    data["quantisation"] = {
        "method": "gptq",
        "bits": recipe.bits,
        "group": GROUP,
        "act_order": recipe.act_order,
    }
    data.pop("training", None)
    path = folder.parent / f"{name}.toml"
    path.write_text(_toml(data), encoding="utf-8")
    return path


def _check_sizes(card: Card) -> None:
    """A layer whose input does not divide into groups fails after minutes; this says so at once."""
    config = _json(card.path / "config.json")
    for name in ("hidden_size", "intermediate_size"):
        if (size := config.get(name)) and size % GROUP:
            raise UserError(f"{card.name}: {name} {size} does not divide into groups of {GROUP}")
    if config.get("quantization_config"):
        raise UserError(f"{card.name} is quantised already: take the card of the original")


def _gptqmodel(card: Card, recipe: Recipe, texts: Sequence[str], folder: Path) -> None:
    if (os.cpu_count() or 1) <= 2:
        os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # its own default fails there
    library = _imported("gptqmodel", install("quantize"))
    config = library.QuantizeConfig(bits=recipe.bits, group_size=GROUP, desc_act=recipe.act_order)
    with TemporaryDirectory() as scratch, chdir(scratch):  # it leaves logs where it runs
        model = library.GPTQModel.load(str(card.path), config)
        model.quantize(_tokenised(card, texts), batch_size=BATCH)
        model.save(str(folder))


def _auto_gptq(card: Card, recipe: Recipe, texts: Sequence[str], folder: Path) -> None:
    _check_auto_gptq()
    library = _imported("auto_gptq", AUTO_GPTQ)
    config = library.BaseQuantizeConfig(
        bits=recipe.bits, group_size=GROUP, desc_act=recipe.act_order
    )
    model = library.AutoGPTQForCausalLM.from_pretrained(str(card.path), config)
    model.quantize(_tokenised(card, texts), batch_size=BATCH)
    model.save_quantized(str(folder), use_safetensors=True)


_WRITERS = {"gptqmodel": _gptqmodel, "auto-gptq": _auto_gptq}
TOOLS = tuple(_WRITERS)


def _check_auto_gptq() -> None:
    """auto-gptq imports elsewhere too, and then fails in the middle of its work."""
    version = importlib.metadata.version("transformers")
    suits = (4, 45) <= tuple(int(part) for part in version.split(".")[:2]) < (4, 50)
    if not suits or importlib.util.find_spec("auto_gptq") is None or not _has_cuda():
        raise UserError(
            f"auto-gptq needs a CUDA machine and an environment of its own ({AUTO_GPTQ}); here is "
            f"transformers {version}: use gptqmodel, which writes the same"
        )


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _imported(name: str, remedy: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name} cannot be imported ({error}): {remedy}") from error


def _tokenised(card: Card, texts: Sequence[str]) -> list[dict[str, list[int]]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(card.path / "tokenizer.json"))
    ids = [tokenizer.encode(text).ids[:MAX_TOKENS] for text in texts]
    return [{"input_ids": each, "attention_mask": [1] * len(each)} for each in ids]


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _toml(data: Mapping[str, Any]) -> str:
    """The card's text: plain keys first, then tables."""
    plain = {name: value for name, value in data.items() if not isinstance(value, dict)}
    tables = {name: value for name, value in data.items() if isinstance(value, dict)}
    lines = [f"{name} = {toml_value(value)}" for name, value in plain.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {toml_value(v)}" for key, v in table.items())]
    return "\n".join(lines) + "\n"
