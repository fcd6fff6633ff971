"""How far a quantised model still is the original: greedy tokens and perplexity, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.offline.calibration import Text

NEW_TOKENS = 64  # of a greedy continuation
BATCH = 16
MAX_TOKENS = 2048  # of a text whose perplexity is taken


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The quantised model against the original."""

    prompts: int
    equal: float  # share of the prompts whose greedy continuations are the same, token by token
    tokens: int  # on which the perplexity is taken: what followed the prompts
    perplexity: float  # of the quantised model
    original: float  # perplexity of the original


@dataclass(frozen=True, slots=True)
class Sight:
    """What one model does: its greedy continuations, and its mean loss on texts."""

    greedy: list[list[int]]
    loss: float  # nats a token
    tokens: int


def compare(original: Path, quantised: Path, texts: Sequence[Text]) -> Fidelity:
    """Loads the two one after the other: a GPU that holds one 7B model need not hold two."""
    before, after = (look(path, texts) for path in (original, quantised))
    same = sum(a == b for a, b in zip(before.greedy, after.greedy, strict=True))
    return Fidelity(
        prompts=len(texts),
        equal=round(same / len(texts), 4),
        tokens=after.tokens,
        perplexity=round(math.exp(after.loss), 4),
        original=round(math.exp(before.loss), 4),
    )


def look(path: Path, texts: Sequence[Text]) -> Sight:
    """What the model of that folder does, in float16 on a GPU and in float32 without one."""
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
    return Sight(greedy, math.fsum(loss for loss, _ in losses) / max(1, tokens), tokens)


def _batches(texts: Sequence[Text]) -> Iterator[list[str]]:
    prompts = [text.prompt for text in texts]
    return (prompts[at : at + BATCH] for at in range(0, len(prompts), BATCH))


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
