"""What a family of problems returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tiny.draw import Draw


@dataclass(frozen=True, slots=True)
class Item:
    """One quantity: how it is asked for, how code computes it, and what it is.

    A phrasing is `noun phrase` or `sentences || noun phrase`; the noun phrase is what is asked for.
    `value` is computed by other means than `setup` and `expr`, the code a solution runs.
    """

    says: tuple[str, ...]  # phrasings of the training and validation splits
    unseen: str  # the phrasing only the test split uses
    plan: str  # one or two sentences of reasoning
    expr: str  # Python expression of the value
    value: int
    setup: str = ""  # Python lines before `expr`
    slip: str = ""  # a wrong `setup` or whole block that raises; empty for none of its own


Family = Callable[[Draw], Item]
