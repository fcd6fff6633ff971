"""Choosing, arranging and paths."""

from __future__ import annotations

import math
from functools import cache

from tiny.draw import Draw
from tiny.families.base import Item

WORDS = (
    "BANANA", "LETTER", "COFFEE", "BALLOON", "SUCCESS", "PEPPER", "TOMATO", "COOKIE", "SUMMER",
    "HAMMER", "RABBIT", "KITTEN", "PUZZLE", "SELLER", "MAMMAL", "SEVENS", "RIVER", "LEVEL",
)  # fmt: skip
UNSEEN_WORDS = ("BUBBLE", "CANADA", "DRESS", "PAPAYA", "SETTEE", "CINEMA")


@cache
def _choose(n: int, k: int) -> int:
    if k < 0 or k > n:
        return 0
    return 1 if k in (0, n) else _choose(n - 1, k - 1) + _choose(n - 1, k)


def choices(d: Draw) -> Item:
    """Binomial coefficients in words."""
    n = d.key(6, 39)
    k = d.number(2, min(n - 2, 9))
    who = d.pick("students", "players", "books", "cards", "marbles", "people")
    return Item(
        says=(
            f"the number of ways to choose ${k}$ {who} from ${n}$ {who}",
            f"the number of {k}-element subsets of a set with {n} elements",
            f"A club has ${n}$ {who}. || the number of ways to select a group of ${k}$ of them",
            f"$\\binom{{{n}}}{{{k}}}$",
        ),
        unseen=f"There are {n} {who} on a list. || the number of different groups of exactly {k} "
        "that can be picked",
        plan=f"The order does not matter, so this is C({n}, {k}).",
        setup="from math import comb",
        expr=f"comb({n}, {k})",
        value=_choose(n, k),
    )


def committee(d: Draw) -> Item:
    """Some from one group and some from another."""
    a, b = d.key(5, 35), d.number(4, 12)
    x, y = d.number(1, 3), d.number(1, 3)
    one, two = d.pick(("boys", "girls"), ("teachers", "parents"), ("red balls", "blue balls"))
    return Item(
        says=(
            f"A group has ${a}$ {one} and ${b}$ {two}. || the number of ways to choose ${x}$ {one} "
            f"and ${y}$ {two}",
            f"From {a} {one} and {b} {two}, a team of {x} {one} and {y} {two} is formed. || the "
            "number of possible teams",
            f"the number of selections of ${x}$ {one} and ${y}$ {two} out of ${a}$ {one} and "
            f"${b}$ {two}",
        ),
        unseen=f"We have {a} {one} along with {b} {two}. || how many collections contain exactly "
        f"{x} {one} and exactly {y} {two}",
        plan=f"Multiply the choices of {one}, C({a}, {x}), by those of {two}, C({b}, {y}).",
        setup="from math import comb",
        expr=f"comb({a}, {x}) * comb({b}, {y})",
        value=_choose(a, x) * _choose(b, y),
    )


def arrangements(d: Draw) -> Item:
    """Arrangements of n things, k at a time, in order."""
    n = d.key(6, 39)
    k = d.number(2, 4)
    return Item(
        says=(
            f"the number of ways to award ${k}$ different prizes to ${n}$ runners, at most one "
            "each",
            f"the number of ordered lists of ${k}$ distinct elements of a set of size ${n}$",
            f"A race has {n} runners. || the number of possible orders of the first {k} places",
        ),
        unseen=f"Out of {n} candidates, {k} different offices are filled by {k} different people. "
        "|| how many outcomes there can be",
        plan=f"The order matters, so this is the number of permutations P({n}, {k}).",
        setup="from math import perm",
        expr=f"perm({n}, {k})",
        value=math.prod(range(n - k + 1, n + 1)),
    )


def anagrams(d: Draw) -> Item:
    """Distinct arrangements of a word's letters."""
    word = d.pick(*(UNSEEN_WORDS if d.split == "test" else WORDS))
    copies = d.key(4, 60)  # keeps the splits apart: the count is scaled by it
    value = math.factorial(len(word))
    for letter in set(word):
        value //= math.factorial(word.count(letter))
    return Item(
        says=(
            f"${copies}$ times the number of distinct arrangements of the letters of {word}",
            f"${copies}A$, where $A$ is the number of different ways to order the letters in the "
            f"word {word}",
            f"Let $A$ be the number of anagrams of {word}. || the value of ${copies}A$",
        ),
        unseen=f"The letters of {word} are shuffled, and $A$ different strings can appear. || the "
        f"product of {copies} and $A$",
        plan=f"Count the different orders of the letters of {word}, then multiply by {copies}.",
        setup="from itertools import permutations",
        expr=f'{copies} * len(set(permutations("{word}")))',
        value=value * copies,
    )


def lattice_paths(d: Draw) -> Item:
    """Paths of unit steps right and up."""
    a, b = d.key(5, 35), d.number(2, 9)
    value = _choose(a + b, b)
    return Item(
        says=(
            f"the number of paths from $(0,0)$ to $({a},{b})$ using only unit steps right and up",
            f"An ant walks from the origin to $({a}, {b})$, each step one unit right or one unit "
            "up. || the number of different walks",
            f"the number of shortest routes along the grid lines from $(0,0)$ to $({a},{b})$",
        ),
        unseen=f"A robot at $(0,0)$ may only move one unit east or one unit north at a time. || "
        f"in how many ways it can reach $({a},{b})$",
        plan=f"There are {a + b} steps and {b} of them go up.",
        setup="from math import comb",
        expr=f"comb({a} + {b}, {b})",
        value=value,
    )


def stars_and_bars(d: Draw) -> Item:
    """Solutions of x1 + ... + xk = n."""
    n, k = d.key(6, 39), d.number(3, 5)
    positive = d.chance(0.5)
    kind = "positive" if positive else "nonnegative"
    value = _choose(n - 1, k - 1) if positive else _choose(n + k - 1, k - 1)
    top = f"{n} - 1" if positive else f"{n} + {k} - 1"
    tex = " + ".join(f"x_{i}" for i in range(1, k + 1))
    return Item(
        says=(
            f"the number of solutions of ${tex} = {n}$ in {kind} integers",
            f"the number of ways to put ${n}$ identical balls into ${k}$ different boxes"
            + (" with no box empty" if positive else ""),
            f"the number of ordered lists of {k} {kind} integers with sum {n}",
        ),
        unseen=f"{n} equal coins are shared among {k} children"
        + (", each getting at least one." if positive else ", some maybe getting none.")
        + " || the number of ways to share them",
        plan=f"Stars and bars for {kind} parts: C({top}, {k} - 1).",
        setup="from math import comb",
        expr=f"comb({top}, {k} - 1)",
        value=value,
    )


def no_two_adjacent(d: Draw) -> Item:
    """Binary strings, or subsets, without two neighbours."""
    n = d.key(5, 30)
    a, b = 1, 2
    for _ in range(n):
        a, b = b, a + b
    loop = f"a, b = 1, 2\nfor i in range({n}):\n    a, b = b, a + b"
    return Item(
        says=(
            f"the number of binary strings of length ${n}$ with no two consecutive ones",
            f"the number of subsets of $\\{{1, 2, \\ldots, {n}\\}}$ that contain no two "
            "consecutive integers",
            f"A row has {n} chairs. || the number of ways to choose some of them, possibly none, "
            "with no two next to each other",
        ),
        unseen=f"how many sequences of {n} zeros and ones avoid having two ones side by side",
        plan="Let a(n) count them; then a(n) = a(n-1) + a(n-2).",
        setup=loop,
        expr="a",
        value=a,
        slip=loop.replace("a, b = 1, 2\n", ""),
    )


def pigeonhole_pairs(d: Draw) -> Item:
    """Handshakes, games and diagonals."""
    n = d.key(6, 44)
    kind = d.pick("shake", "game", "diagonal")
    pairs = n * (n - 1) // 2
    if kind == "diagonal":
        says = (
            f"the number of diagonals of a convex polygon with ${n}$ sides",
            f"how many diagonals a regular ${n}$-gon has",
        )
        unseen = f"the number of segments joining two non-neighbouring corners of a convex {n}-gon"
        plan, minus, value = "Count pairs of vertices and drop the sides.", f" - {n}", pairs - n
    else:
        says = (
            f"At a party {n} people all shake hands with each other once. || the number of "
            "handshakes",
            f"In a tournament each of ${n}$ teams plays every other team exactly once. || the "
            "number of games",
        )
        unseen = f"Any two of {n} towns are joined by one road. || the number of roads"
        plan, minus, value = f"Count the pairs among {n}.", "", pairs
    return Item(
        says=says,
        unseen=unseen,
        plan=plan,
        expr=f"{n} * ({n} - 1) // 2{minus}",
        value=value,
    )
