"""Tokens and their text, by the tokenizer of a model's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aimo_submit.errors import EngineDied, UserError
from aimo_submit.records import Completion, Finish


class Tokens:
    """The tokenizer of a model folder. Special tokens have a text like any other."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoTokenizer

        if not (path / "config.json").is_file():
            raise UserError(f"{path}: no config.json there; give the folder of a model")
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: its tokenizer cannot be loaded: {error}") from error
        self._may_end: dict[tuple[str, int], bool] = {}

    @property
    def eos(self) -> frozenset[int]:
        """The token that ends a turn, where the tokenizer names one."""
        eos = self._tokenizer.eos_token_id
        return frozenset() if eos is None else frozenset({eos})

    def encode(self, text: str, *, prompt: bool = False) -> list[int]:
        """Encodes a text; with `prompt`, as the start of a sequence, which has one BOS."""
        bos = self._tokenizer.bos_token
        begun = bool(bos) and text.startswith(bos)  # some templates write it themselves
        return list(self._tokenizer.encode(text, add_special_tokens=prompt and not begun))

    def decode(self, tokens: Sequence[int]) -> str:
        """Decodes the tokens, special ones and half-written characters included."""
        text = self._tokenizer.decode(
            list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)

    def stopped(self, tokens: Sequence[int], stop: Sequence[str]) -> bool:
        """True if the last of these tokens completes a stop string."""
        # A token has at least a byte; one more may begin inside a character.
        return any(
            self._can_end(tokens[-1], ending)
            and ending in self.decode(tokens[-len(ending.encode()) - 1 :])
            for ending in stop
        )

    def _can_end(self, token: int, ending: str) -> bool:
        """True if a text could come to contain the ending with this token, seen without context.

        Nearly all tokens cannot, which spares decoding the tail of every row at every step.
        """
        known = self._may_end.get((ending, token))
        if known is None:
            text = self.decode([token])
            parts = (text[:size] for size in range(1, len(text) + 1))
            known = (
                not text.strip()  # some tokenizers drop a leading space
                or "\ufffd" in text  # part of a character
                or ending in text
                or any(ending.endswith(part) for part in parts)
            )
            self._may_end[ending, token] = known
        return known

    def cut(self, tokens: Sequence[int], stop: Sequence[str]) -> tuple[str, tuple[int, ...]]:
        """Returns the text up to the end of its first stop string, and tokens that decode to it.

        Where the last token goes on beyond the stop string, what it adds is left away and its
        rest written with other tokens; those before it stay as the model wrote them.
        """
        text = self.decode(tokens)
        ends = [text.find(ending) + len(ending) for ending in stop if ending in text]
        if not ends or min(ends) == len(text):
            return text, tuple(tokens)
        text = text[: min(ends)]
        for kept in range(len(tokens) - 1, 0, -1):
            begin = self.decode(tokens[:kept])
            if text.startswith(begin):
                whole = (*tokens[:kept], *self.encode(text[len(begin) :]))
                if self.decode(whole) == text:
                    return text, whole
        return text, tuple(self.encode(text))

    def completion(
        self, drawn: Sequence[int], finish: str, by_text: bool, stop: Sequence[str], mean: float
    ) -> Completion:
        """Makes the record of what vLLM drew; `by_text`: a stop string ended it, not a token."""
        match finish:
            case "stop" if by_text:
                return Completion(*self.cut(drawn, stop), Finish.STOP, mean)
            case "stop":  # by a token, which is no part of the text
                return Completion(*self.cut(drawn[:-1], ()), Finish.EOS, mean)
            case "length":
                return Completion(*self.cut(drawn, ()), Finish.LENGTH, mean)
        raise EngineDied(f"vLLM ended a request for an unknown reason: {finish}")

    def without_eos(self, text: str, also: Sequence[int] = ()) -> str:
        """Removes the end-of-turn token that some servers leave at the end of a text."""
        for token in (*self.eos, *also):
            text = text.removesuffix(self.decode([token]))
        return text
