"""When two texts are the same: by their words, by long runs of words, by most of their short ones.

Problems are compared as a reader would: case, spaces, dollars and braces make no difference,
numbers and operators do.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

Words = tuple[str, ...]

GRAM = 13  # words in a row that give a problem away: GPT-3's, arXiv 2005.14165, appendix C
# A run that stands in so many problems of the sets gives none of them away: "m/n, where m and n
# are relatively prime positive integers. Find m+n".
BOILERPLATE = 3
SHINGLE = 3  # words in a row by which solutions are compared
ALIKE = 0.8  # of their runs, and two solutions are near-duplicates

_WORD = re.compile(r"[^\W\d_]+|\d+|[-+*/^=<>!|]")
_DRESS = re.compile(r"\\(?:left|right|displaystyle|quad|[,;!:])(?![a-z])")


def words_of(text: str) -> Words:
    """The text as lower-case words, numbers and operators."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\\dfrac", "\\frac")
    return tuple(_WORD.findall(_DRESS.sub(" ", plain)))


def grams(words: Words, size: int) -> set[Words]:
    """The runs of so many words; of a shorter text the whole of it."""
    return {words[at : at + size] for at in range(max(1, len(words) - size + 1))}


class HeldOut:
    """Problems that are measured on, by the name of their set; none of them may be trained on."""

    def __init__(self, sets: Mapping[str, Iterable[str]]) -> None:
        self._whole: dict[Words, str] = {}
        for name, texts in sets.items():
            for text in texts:
                self._whole.setdefault(words_of(text), name)
        found = Counter(gram for words in self._whole for gram in _long(words))
        self._runs = {
            gram: name
            for words, name in self._whole.items()
            for gram in _long(words)
            if found[gram] < BOILERPLATE
        }

    def set_of(self, text: str) -> str | None:
        """The set that has the problem, whole or a run of `GRAM` words of it; None: none has."""
        words = words_of(text)
        runs = (self._runs[gram] for gram in _long(words) if gram in self._runs)
        return self._whole.get(words) or next(runs, None)


def _long(words: Words) -> set[Words]:
    """The runs of `GRAM` words or numbers; a formula's operators make none longer."""
    said = tuple(word for word in words if word.isalnum())
    return grams(said, GRAM) if len(said) >= GRAM else set()


def distinct(texts: Sequence[str]) -> Iterator[int]:
    """Places of the texts that are no near-duplicates of one before them."""
    kept: list[set[Words]] = []
    for at, text in enumerate(texts):
        runs = grams(words_of(text), SHINGLE)
        if not any(_alike(runs, other) for other in kept):
            kept.append(runs)
            yield at


def _alike(one: set[Words], two: set[Words]) -> bool:
    return len(one & two) >= ALIKE * len(one | two)
