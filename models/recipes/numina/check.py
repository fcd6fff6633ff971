"""Whether a stage can be run on its machine, told where neither GPU nor weights need be at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from aimo_submit.errors import UserError, need
from aimo_submit.machines import GIB, HARDWARE, Size
from numina.data import COLUMNS, encode_row, load_rows
from numina.stage import Stage

LAUNCH = "zero3.yaml"  # accelerate's, beside the stage

# Bytes a parameter: weights and gradients in bfloat16; weights, momentum and variance in float32
# (ZeRO, arXiv 1910.02054, section 3.1). ZeRO-3 shards all of it.
STATES = 16
LIVE = 1e9  # parameters gathered at a time: DeepSpeed's stage3_max_live_parameters
LAYER = 34  # bytes a token and hidden unit of the layer worked on: arXiv 2205.05198, section 4.1
LOGITS = 10  # bytes a token and entry: bfloat16, float32, and the gradient in float32
BESIDE_GIB = 2.0  # CUDA's context, NCCL's and ZeRO's buffers; assumed


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `ok` is None where it could not be."""

    ok: bool | None
    text: str

    def __str__(self) -> str:
        word = {True: "ok", False: "WRONG", None: "not checked"}[self.ok]
        return f"{word:<12}{self.text}"


def check(stage: Stage, folder: Path, load_tokenizer: Callable[[Stage], Any]) -> list[Finding]:
    """Batch, launch, settings and memory; tokenizer and data where they can be reached."""
    return [
        _batch(stage),
        *_launch(stage, folder / LAUNCH),
        _memory(stage),
        *_data(stage, load_tokenizer),
    ]


def _batch(stage: Stage) -> Finding:
    try:
        passes = stage.accumulation(stage.gpus)
    except UserError as error:
        return Finding(False, str(error))
    made = f"{stage.rows} rows x {stage.gpus} devices x {passes} passes"
    tokens = stage.batch * int(stage.sft.get("max_length", 1024))  # TRL's own default
    return Finding(True, f"batch: {made} = {stage.batch} rows, {tokens:,} tokens a step")


def _launch(stage: Stage, file: Path) -> Iterator[Finding]:
    """What accelerate makes of its file; one device needs none."""
    if stage.gpus == 1:
        return
    accelerate = need("accelerate.commands.config.config_args", "train")
    try:
        launch = accelerate.load_config_from_file(str(file))
    except (OSError, ValueError) as error:
        yield Finding(False, f"launch: {error}")
        return
    zero, starts = launch.deepspeed_config.get("zero_stage"), launch.num_processes
    remedy = "" if starts == stage.gpus else f": accelerate launch --num_processes {stage.gpus}"
    yield Finding(
        zero == 3 and not remedy,
        f"launch: {file.name} starts {starts} processes with ZeRO-{zero}; the stage has "
        f"{stage.gpus} devices{remedy}",
    )
    bf16 = bool(stage.sft.get("bf16", True))
    yield Finding(
        (launch.mixed_precision == "bf16") is bf16,
        f"precision: {launch.mixed_precision} in {file.name}, bf16 = {bf16} in the stage",
    )


def _memory(stage: Stage) -> Finding:
    size, has = stage.model.size, HARDWARE[stage.gpu].memory_gib
    if size is None:
        return Finding(None, f"memory: the card {stage.card} has no [size]")
    needs = memory_gib(stage, size)
    told = ", ".join(f"{name} {gib:.1f}" for name, gib in needs.items())
    total = sum(needs.values())
    fits = total <= has
    return Finding(fits, f"memory: {total:.1f} of {has:.1f} GiB a device, estimated ({told})")


def memory_gib(stage: Stage, size: Size) -> dict[str, float]:
    """What a device holds in training under ZeRO-3, in GiB, by what it is for. An estimate."""
    tokens = stage.rows * int(stage.sft.get("max_length", 1024))
    held = size.layers if not stage.sft.get("gradient_checkpointing", True) else 1
    parts = {
        "states": STATES * size.parameters / stage.gpus,
        "gathered": 2 * min(LIVE, size.parameters) if stage.gpus > 1 else 0.0,
        "checkpoints": 2 * tokens * size.hidden * size.layers,
        "layers": LAYER * tokens * size.hidden * held,
        "logits": LOGITS * tokens * size.vocab,
        "beside": BESIDE_GIB * GIB,
    }
    return {name: taken / GIB for name, taken in parts.items()}


def _data(stage: Stage, load_tokenizer: Callable[[Stage], Any]) -> Iterator[Finding]:
    try:
        tokenizer = load_tokenizer(stage)
    except UserError as error:
        yield Finding(None, f"tokenizer: {error}")
        tokenizer = None
    else:
        yield _tokenizer(stage, tokenizer)
    try:
        rows = load_rows(stage.data)
    except UserError as error:
        yield Finding(False if Path(stage.data).exists() else None, f"data: {error}")
        return
    yield Finding(True, f"data: {len(rows)} rows with {' and '.join(COLUMNS)}")
    if tokenizer is not None:
        yield _rows(stage, tokenizer, rows)


def _tokenizer(stage: Stage, tokenizer: Any) -> Finding:
    size, words = stage.model.size, len(tokenizer)
    fits = tokenizer.eos_token_id is not None and (size is None or words <= size.vocab)
    return Finding(
        fits,
        f"tokenizer: {words} entries, turns end with {tokenizer.eos_token!r}, prompts in the "
        f"format {stage.model.format.name}",
    )


def _rows(stage: Stage, tokenizer: Any, rows: Any) -> Finding:
    """How much of the first rows is learnt; a format that does not suit the data shows here."""
    encoded = [encode_row(row, tokenizer, stage.model.format) for row in islice(rows, 200)]
    learnt = sum(sum(row["completion_mask"]) for row in encoded)
    total = sum(len(row["input_ids"]) for row in encoded)
    share = learnt / max(1, total)
    return Finding(
        0 < share < 1,
        f"rows: {total / max(1, len(encoded)):.0f} tokens on average, {share:.0%} of them learnt "
        f"(of the first {len(encoded)})",
    )
