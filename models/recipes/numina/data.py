"""Solutions as training rows: tokens, and which of them the loss is taken on.

A row is tokenised as the loop would build it up - the prompt, then in turn what the model writes
and what is appended - so that training sees the very tokens that sampling will. The loss is taken
on what the model writes; the winners took it on the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aimo_submit.errors import UserError
from aimo_submit.formats import Format

COLUMNS = ("problem", "solution")  # of NuminaMath-CoT, of NuminaMath-TIR and of `distil`


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a training text; the loss is taken on what is learnt."""

    text: str
    learnt: bool = True


def parts(problem: str, solution: str, format: Format) -> Iterator[Part]:
    """The prompt, then what the model writes and what it reads, in turn."""
    yield Part(format.prompt(problem), learnt=False)
    done = 0
    for shown in _outputs(solution, format):
        yield Part(solution[done : shown.start(1)])
        yield Part(shown[1], learnt=False)
        done = shown.end(1)
    yield Part(solution[done:])


def _outputs(solution: str, format: Format) -> Iterator[re.Match[str]]:
    """The outputs with the fence that ends each, as the format shows them."""
    stops = "|".join(map(re.escape, format.stop))
    ending = re.escape(f"\n{format.output_end}")
    return (
        re.finditer(rf"(?:{stops})(.*?{ending}|.*\Z)", solution, re.DOTALL) if stops else iter(())
    )


def encode(text: Iterable[Part], tokenizer: Any, format: Format) -> dict[str, list[int]]:
    """The tokens from the first to the one that ends the turn, with a mask of those learnt."""
    ids: list[int] = []
    mask: list[int] = []
    for part in text:
        piece = tokenizer.encode(part.text, add_special_tokens=not ids)
        ids += piece
        mask += [int(part.learnt)] * len(piece)
    end = format.stop_token_ids[0] if format.stop_token_ids else tokenizer.eos_token_id
    return {"input_ids": [*ids, end], "completion_mask": [*mask, 1]}


def encode_row(row: Mapping[str, Any], tokenizer: Any, format: Format) -> dict[str, list[int]]:
    """A row of a set with problem and solution as tokens and mask."""
    return encode(parts(row["problem"], row["solution"], format), tokenizer, format)


def load_rows(source: str) -> Any:
    """The set of the hub or the file (.parquet, .jsonl) as a `datasets.Dataset`."""
    from datasets import load_dataset

    kinds = {"parquet": "parquet", "jsonl": "json"}
    kind = kinds.get(source.rpartition(".")[2])
    try:
        rows = (
            load_dataset(kind, data_files=source, split="train")
            if kind
            else load_dataset(source, split="train")
        )
    except Exception as error:  # the hub's client raises a dozen kinds; all mean the same to a user
        raise UserError(
            f"cannot load {source} ({type(error).__name__}); check the name and the network, or "
            "give a .parquet or .jsonl file with the columns problem and solution as --data"
        ) from error
    missing = [name for name in COLUMNS if name not in rows.column_names]
    if missing:
        raise UserError(f"{source} has no column {' and '.join(missing)}, but {rows.column_names}")
    return rows


def chat_template(format: Format) -> str:
    """The format for whoever asks the tokenizer: a system's message is passed over."""
    before, after = format.template.split("{problem}")
    return (
        "{{ bos_token }}{% for message in messages %}"
        "{% if message['role'] == 'user' %}" + before + "{{ message['content'] }}" + after +
        "{% elif message['role'] == 'assistant' %}{{ message['content'] }}{{ eos_token }}"
        "{% endif %}{% endfor %}"
    )  # fmt: skip
