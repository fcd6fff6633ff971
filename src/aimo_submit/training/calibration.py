"""Texts to calibrate a quantisation on: whole TIR traces, in the model's own format.

What a model reads and writes at work is what its rounding errors should be small on; plain web text
lacks code, outputs and LaTeX.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from aimo_submit.errors import UserError
from aimo_submit.evaluate.problem_sets import rows_of
from aimo_submit.formats import Format
from aimo_submit.pool.reading import Index
from aimo_submit.records import Solution

HUB = "AI-MO/NuminaMath-TIR"  # what the AIMO-1 winner calibrated on
TEXTS = 256
READ = 20_000  # rows of a set that are looked at: the hub's has 70,000


NEW_TOKENS = 64  # of a greedy continuation
BATCH = 16
MAX_TOKENS = 2048  # of a text whose perplexity is taken


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
