"""Trains tiny-tir: corpus, tokenizer, both stages of the recipe, export.

`--scale` is the one dial: the share of the recipe's problems that is used (0.005 for a smoke run).
A stage also ends at the recipe's limit of minutes, its schedule squeezed into the time there is.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from numina.data import encode
from numina.train import sft_config
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from trl import SFTTrainer  # type: ignore[attr-defined]

from aimo_submit.toml import read_toml
from tiny.corpus import FORMAT, Example, puzzles, solved, without_code
from tiny.draw import Split
from tiny.tokenizer import save_tokenizer, train_tokenizer

RECIPE = Path(__file__).with_name("train.toml")
OUT = Path(__file__).resolve().parents[2] / "tiny-tir"
COT_SEEDS = 10_000_000  # the first stage has problems of its own
TOKENIZER_TEXTS = 1500

log = logging.getLogger(__name__)


def train(out: Path, *, scale: float, work: Path) -> None:
    """Trains the model by the recipe and writes it, with its tokenizer, to `out`."""
    recipe = read_toml(RECIPE)
    torch.manual_seed(recipe["seed"])
    words = list(_words(int(recipe["cot"]["problems"] * scale)))
    coded = asyncio.run(_coded(int(recipe["tir"]["problems"] * scale)))
    sample = [e.text for e in (*words[:TOKENIZER_TEXTS], *coded[:TOKENIZER_TEXTS])]
    tokenizer = train_tokenizer(sample, recipe["vocabulary"])
    model = untrained(recipe, tokenizer)
    log.info("%.2fM parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    for stage, examples in (("cot", words), ("tir", coded)):
        fit(model, tokenizer, examples, recipe[stage], work / stage)
        export(model, tokenizer, out)


def _words(count: int) -> Iterator[Example]:
    return (without_code(*made) for made in puzzles(Split.TRAIN, count, start=COT_SEEDS))


async def _coded(count: int) -> list[Example]:
    return [example async for example in solved(list(puzzles(Split.TRAIN, count)))]


def untrained(recipe: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The model of the recipe's size with random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=recipe["vocabulary"],
            hidden_size=recipe["hidden"],
            intermediate_size=recipe["intermediate"],
            num_hidden_layers=recipe["layers"],
            num_attention_heads=recipe["heads"],
            num_key_value_heads=recipe["kv_heads"],
            max_position_embeddings=recipe["context"],
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=True,
        )
    )


def fit(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    examples: list[Example],
    stage: dict[str, Any],
    work: Path,
) -> None:
    """One stage of supervised fine-tuning, in place."""
    data = Dataset.from_list([encode(e.parts, tokenizer, FORMAT) for e in examples])
    started = time.monotonic()
    given = {
        "num_train_epochs": stage["epochs"],
        "per_device_train_batch_size": stage["batch"],
        "learning_rate": stage["learning_rate"],
        "warmup_steps": stage["warmup"],  # below 1: a share of all steps
        "adam_beta2": 0.95,
        "weight_decay": 0.1,
        "max_length": stage["block"],
        "bf16": True,
        "gradient_checkpointing": False,
        "logging_steps": 20,
        "save_strategy": "no",
    }
    trainer = TimedTrainer(
        model,
        args=sft_config(given, work),
        train_dataset=data,
        processing_class=tokenizer,
        limit_s=60 * stage["limit_minutes"],
    )
    steps = trainer.train().global_step
    tokens, seconds = steps * stage["batch"] * stage["block"], time.monotonic() - started
    log.info("%d steps, %d tokens, %.0f s, %.0f tokens/s", steps, tokens, seconds, tokens / seconds)


class TimedTrainer(SFTTrainer):
    """A trainer whose schedule and end come by steps or by the clock, whichever is first."""

    def __init__(self, *args: Any, limit_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limit_s = limit_s
        self._started = time.monotonic()

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """Warm-up, then a cosine to nothing, over the stage so far."""
        warmup = float(self.args.warmup_steps)

        def rate(step: int) -> float:
            passed = max(step / num_training_steps, self._time_passed())
            return min(passed / warmup, 0.5 + 0.5 * math.cos(math.pi * min(passed, 1.0)))

        schedule = LambdaLR(optimizer or self.optimizer, rate)
        self.lr_scheduler = schedule
        return schedule

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        """The loss of one step; past the limit it is the last one."""
        self.control.should_training_stop |= self._time_passed() >= 1
        loss: torch.Tensor = super().training_step(*args, **options)
        return loss

    def _time_passed(self) -> float:
        return (time.monotonic() - self._started) / self._limit_s


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Writes weights in float32, configuration and tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=0.8,
    )
    model.config.use_cache = True  # training turns it off
    model.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    save_tokenizer(tokenizer, out)


def main() -> None:
    """Trains tiny-tir and writes it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the model")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the recipe's problems")
    parser.add_argument("--work", type=Path, default=Path("runs/tiny"), help="folder for states")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(arguments.out, scale=arguments.scale, work=arguments.work)


if __name__ == "__main__":
    main()
