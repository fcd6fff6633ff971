"""Seeded draws that keep the three splits apart.

Every family takes at least one *key* number, and the key numbers of the splits come from
interleaved blocks of four integers that never meet; names and phrasings are kept apart as well.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")

BLOCK = 4
PERIOD = 10  # of ten blocks one goes to validation, one to test, eight to training
NAMES = (
    "Ada", "Ben", "Carla", "David", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas",
    "Kira", "Leon", "Maya", "Noor", "Omar", "Petra", "Rosa", "Samir", "Tara", "Yusuf",
)  # fmt: skip
UNSEEN_NAMES = ("Anika", "Bruno", "Chloe", "Dmitri", "Fiona", "Viktor")


class Split(StrEnum):
    """Which part of the corpus a problem belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def owner(number: int) -> Split:
    """The one split that may use `number` as a key number."""
    block = number // BLOCK % PERIOD
    return {3: Split.TEST, 4: Split.VALIDATION}.get(block, Split.TRAIN)


class Draw:
    """Random choices for one problem, all following from (split, seed)."""

    def __init__(self, split: Split, seed: int) -> None:
        self.split = split
        self.seed = seed
        self._random = random.Random(f"{split}/{seed}")
        self.keys: list[int] = []

    def key(self, low: int, high: int) -> int:
        """A number of this split's own blocks, low and high included."""
        while owner(number := self._random.randint(low, high)) is not self.split:
            pass
        self.keys.append(number)
        return number

    def number(self, low: int, high: int) -> int:
        """Any integer from low to high, both included."""
        return self._random.randint(low, high)

    def pick(self, *options: T) -> T:
        """One of the options."""
        return self._random.choice(options)

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different options in random order."""
        return self._random.sample(options, count)

    def chance(self, probability: float) -> bool:
        """True that often."""
        return self._random.random() < probability

    def name(self) -> str:
        """A first name; the test split has its own."""
        names: tuple[str, ...] = UNSEEN_NAMES if self.split is Split.TEST else NAMES
        return self.pick(*names)
