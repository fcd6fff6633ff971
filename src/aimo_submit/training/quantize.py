"""A card's model in fewer bits: GPTQ (arXiv 2210.17323), compared with the original, and its card.

By gptqmodel, the maintained successor of auto-gptq; both write the same tensors. auto-gptq itself
works in one pinned environment on a CUDA machine only: `AUTO_GPTQ`.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import json
import math
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from aimo_submit.cards import Card
from aimo_submit.errors import UserError, need
from aimo_submit.evaluate.problem_sets import rows_of
from aimo_submit.formats import Format
from aimo_submit.pool import Index
from aimo_submit.records import Solution
from aimo_submit.toml import read_toml, to_toml

GROUP = 128  # weights that share a scale
BATCH = 4  # texts at once
MAX_TOKENS = 2048  # of a text
PROMPTS_AT_ONCE = 16  # that both models continue
NEW_TOKENS = 64  # of a greedy continuation

# The surroundings in which auto-gptq's last release still works.
AUTO_GPTQ = "pip install auto-gptq==0.7.1 'transformers>=4.45,<4.50' 'peft>=0.13,<0.15'"
# From this line on vLLM refuses checkpoints quantised by falling activation.
NO_ACT_ORDER = (0, 30)

# The tokenizer's files stay the original's: as transformers 5 writes them, older ones cannot read.
_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "*.model")

HUB = "AI-MO/NuminaMath-TIR"  # what the AIMO-1 winner calibrated on
TEXTS = 256
READ = 20_000  # rows of a set that are looked at: the hub's has 70,000


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a quantisation."""

    bits: int = 8
    act_order: bool = True
    tool: str = "gptqmodel"


def act_order_for(vllm: str) -> bool:
    """True if that line of vLLM reads checkpoints with columns by falling activation."""
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


def _check_sizes(card: Card) -> None:
    """A layer whose input does not divide into groups fails after minutes; this says so at once."""
    config = json.loads((card.path / "config.json").read_text(encoding="utf-8"))
    for name in ("hidden_size", "intermediate_size"):
        if (size := config.get(name)) and size % GROUP:
            raise UserError(f"{card.name}: {name} {size} does not divide into groups of {GROUP}")
    if config.get("quantization_config"):
        raise UserError(f"{card.name} is quantised already: take the card of the original")


def _gptqmodel(card: Card, recipe: Recipe, texts: Sequence[str], folder: Path) -> None:
    if (os.cpu_count() or 1) <= 2:
        os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # its own default fails there
    library = need("gptqmodel", "quantize")
    config = library.QuantizeConfig(bits=recipe.bits, group_size=GROUP, desc_act=recipe.act_order)
    with TemporaryDirectory() as scratch, chdir(scratch):  # it leaves logs where it runs
        model = library.GPTQModel.load(str(card.path), config)
        model.quantize(_tokenised(card, texts), batch_size=BATCH)
        model.save(str(folder))


def _auto_gptq(card: Card, recipe: Recipe, texts: Sequence[str], folder: Path) -> None:
    _check_auto_gptq()
    try:
        library = importlib.import_module("auto_gptq")
    except ImportError as error:
        raise UserError(f"auto_gptq cannot be imported ({error}): {AUTO_GPTQ}") from error
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
    import torch

    version = importlib.metadata.version("transformers")
    suits = (4, 45) <= tuple(int(part) for part in version.split(".")[:2]) < (4, 50)
    if not suits or importlib.util.find_spec("auto_gptq") is None or not torch.cuda.is_available():
        raise UserError(
            f"auto-gptq needs a CUDA machine and an environment of its own ({AUTO_GPTQ}); here is "
            f"transformers {version}: use gptqmodel, which writes the same"
        )


def _tokenised(card: Card, texts: Sequence[str]) -> list[dict[str, list[int]]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(card.path / "tokenizer.json"))
    ids = [tokenizer.encode(text).ids[:MAX_TOKENS] for text in texts]
    return [{"input_ids": each, "attention_mask": [1] * len(each)} for each in ids]


# --- against the original


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The quantised model against the original."""

    prompts: int
    equal: float  # share of the prompts whose greedy continuations are the same, token by token
    tokens: int  # on which the perplexity is taken: what followed the prompts
    perplexity: float  # of the quantised model
    original: float  # perplexity of the original


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One model's greedy continuations, and its mean loss on texts."""

    greedy: list[list[int]]
    loss: float  # nats a token
    tokens: int


def measure_fidelity(original: Path, quantised: Path, texts: Sequence[Text]) -> Fidelity:
    """Loads the two one after the other: a GPU that holds one 7B model need not hold two."""
    before, after = (observe(path, texts) for path in (original, quantised))
    same = sum(a == b for a, b in zip(before.greedy, after.greedy, strict=True))
    return Fidelity(
        prompts=len(texts),
        equal=round(same / len(texts), 4),
        tokens=after.tokens,
        perplexity=round(math.exp(after.loss), 4),
        original=round(math.exp(before.loss), 4),
    )


def observe(path: Path, texts: Sequence[Text]) -> Behaviour:
    """Runs the model of that folder, in float16 on a GPU and in float32 without one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Half precision on a CPU is slow, and not what a GPU computes either.
    dtype = torch.float16 if device == "cuda" else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    loaded: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    model = loaded.to(device).eval()
    with torch.inference_mode():
        greedy = [each for batch in _batches(texts) for each in _greedy(model, tokenizer, batch)]
        losses = [_loss(model, tokenizer, text) for text in texts]
    tokens = sum(count for _, count in losses)
    return Behaviour(greedy, math.fsum(loss for loss, _ in losses) / max(1, tokens), tokens)


def _batches(texts: Sequence[Text]) -> Iterator[list[str]]:
    prompts = [text.prompt for text in texts]
    return (prompts[at : at + PROMPTS_AT_ONCE] for at in range(0, len(prompts), PROMPTS_AT_ONCE))


def _greedy(model: Any, tokenizer: Any, prompts: list[str]) -> list[list[int]]:
    inputs = tokenizer(prompts, return_tensors="pt", padding=True).to(model.device)
    inputs.pop("token_type_ids", None)
    pad = tokenizer.pad_token_id
    drawn = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=pad)
    new = drawn[:, inputs["input_ids"].shape[1] :].tolist()
    return [[token for token in tokens if token != pad] for tokens in new]


def _loss(model: Any, tokenizer: Any, text: Text) -> tuple[float, int]:
    """The summed loss in nats on what follows the prompt, and how many tokens that is."""
    asked = len(tokenizer(text.prompt)["input_ids"])
    cut = {"truncation": True, "max_length": MAX_TOKENS}
    ids = tokenizer(text.whole, return_tensors="pt", **cut)["input_ids"].to(model.device)
    labels = ids.clone()
    labels[:, :asked] = -100  # what transformers leaves out of a loss
    count = ids.shape[1] - asked
    return (float(model(ids, labels=labels).loss) * count, count) if count > 0 else (0.0, 0)


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
    path.write_text(to_toml(data), encoding="utf-8")
    return path


class Text(NamedTuple):
    """A trace as the model saw it: what it was asked, and all that followed."""

    prompt: str
    rest: str

    @property
    def whole(self) -> str:
        """The text from its first word to its last."""
        return self.prompt + self.rest


def texts_of(source: str, format: Format, texts: int = TEXTS) -> list[Text]:
    """That many texts from a recorded pool or journal, a file of solutions or a set of the hub.

    Files and sets need the columns problem and solution. Of a pool the right samples are taken.
    """
    found = list(_recorded(Path(source), format) if _is_pool(source) else _solved(source, format))
    if not found:
        raise UserError(f"{source}: no solution in it to calibrate on")
    random.Random(0).shuffle(found)
    return found[:texts]


def _is_pool(source: str) -> bool:
    path = Path(source)
    return path.is_dir() or (path.suffix == ".jsonl" and path.is_file() and _is_journal(path))


def _is_journal(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().startswith(b'{"settings"')


def _recorded(path: Path, format: Format) -> Iterator[Text]:
    """One right sample of each problem and seed that has any."""
    index = Index(path)
    for problem in index.problems:
        for solution in index.solutions(problem):
            yield from islice(_right(solution, format), 1)


def _right(solution: Solution, format: Format) -> Iterator[Text]:
    gold = solution.problem.answer
    for trace in solution.traces:
        if trace.answer is not None and gold in (None, trace.answer):
            yield Text(format.prompt(solution.problem.text), trace.text)


def _solved(source: str, format: Format) -> Iterator[Text]:
    for where, row in islice(rows_of(source), READ):
        yield Text(format.prompt(_column(where, row, "problem")), _column(where, row, "solution"))


def _column(where: str, row: Mapping[str, Any], name: str) -> str:
    if not isinstance(row.get(name), str):
        raise UserError(f"{where} has no text in the column {name}")
    return str(row[name])
