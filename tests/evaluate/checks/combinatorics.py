"""Checks of the combinatorics problems, orig-019 to orig-036: enumeration of all the cases."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, groupby, pairwise, permutations, product
from math import isqrt

from .values import numerator_plus_denominator


def check_orig_019() -> int:
    """An alphabetical triple is a choice of 3 letters of 6, a decreasing pair a choice of 2 digits
    of 10: 20 * 45 = 900.
    """
    letters = sum(a < b < c for a, b, c in product("ABCDEF", repeat=3))
    digits = sum(a > b for a, b in product("0123456789", repeat=2))
    return letters * digits


def check_orig_020() -> int:
    """Nine good rolls: the six equal pairs, (1, 4), (4, 1) and (2, 8). 9/48 = 3/16, so 19."""
    rolls = [a * b for a in range(1, 7) for b in range(1, 9)]
    squares = sum(isqrt(n) ** 2 == n for n in rolls)
    return numerator_plus_denominator(Fraction(squares, len(rolls)))


def check_orig_021() -> int:
    """Ben has 4 inner chairs, then Ana 6 - 3 = 3, the others 4! = 24: 4 * 3 * 24 = 288."""
    total = 0
    for row in permutations("ABcdef"):
        ana, ben = row.index("A"), row.index("B")
        total += ben not in (0, 5) and abs(ana - ben) > 1
    return total


def check_orig_022() -> int:
    """All 462, less 6 * 35 through (2, 2), less 35 * 6 through (4, 3), plus 6 * 3 * 6 through both:
    462 - 210 - 210 + 108 = 150.
    """
    total = 0
    for rights in combinations(range(11), 6):
        visited = {(sum(r < t for r in rights), t - sum(r < t for r in rights)) for t in range(12)}
        total += (2, 2) not in visited and (4, 3) not in visited
    return total


def check_orig_023() -> int:
    """One colour comes twice: 10 * 4 * 3 + 5 * 6 * 3 + 5 * 4 * 3 = 270 hands of 495, which is
    6/11, so 17.
    """
    hands = list(combinations("RRRRRBBBBGGG", 4))
    return numerator_plus_denominator(Fraction(sum(len(set(h)) == 3 for h in hands), len(hands)))


def check_orig_024() -> int:
    """An end card is a summit with chance 1/2, an inner one with 1/3: 2/2 + 5/3 = 8/3, so 11."""
    summits = rows = 0
    for row in permutations(range(1, 8)):
        padded = (0, *row, 0)
        summits += sum(padded[i - 1] < padded[i] > padded[i + 1] for i in range(1, 8))
        rows += 1
    return numerator_plus_denominator(Fraction(summits, rows))


def check_orig_025() -> int:
    """Appending a letter gives 3w(n), less the strings ending in AB, w(n - 1) of them:
    w = 1, 3, 8, 21, 55, 144, 377, 987.
    """
    return sum("AB" not in "".join(word) for word in product("ABC", repeat=7))


def check_orig_026() -> int:
    """With ends i and 11 - i the 10 - 2i numbers between are free: 4^0 + ... + 4^4 = 341."""
    total = 0
    for mask in range(1, 1 << 10):
        members = [k + 1 for k in range(10) if mask >> k & 1]
        total += members[0] + members[-1] == 11
    return total


def check_orig_027() -> int:
    """Runs are a composition of 10. Parts <= 3: 274 (tribonacci); parts <= 2: 89 (Fibonacci).
    Two choices for the first outcome: 2(274 - 89) = 370.
    """
    return sum(
        max(len(list(run)) for _, run in groupby(tosses)) == 3
        for tosses in product("HT", repeat=10)
    )


def check_orig_028() -> int:
    """Losing piles are those equal to 0, 1, 4 or 8 modulo 11. Of 0..494 that is 45 * 4, then 495,
    496 and 499; without n = 0: 180 + 3 - 1 = 182.
    """
    losing: list[bool] = []
    for n in range(501):
        losing.append(not any(n >= take and losing[n - take] for take in (2, 5, 6)))
    return sum(losing[1:])


def check_orig_029() -> int:
    """Order 6 on six cards: a 6-cycle, 5! = 120, or cycles of lengths 3, 2 and 1, which number
    20 * 2 * 3 = 120. In all 240.
    """

    def order(permutation: tuple[int, ...]) -> int:
        state, uses = permutation, 1
        while state != tuple(range(6)):
            state, uses = tuple(permutation[i] for i in state), uses + 1
        return uses

    return sum(order(p) == 6 for p in permutations(range(6)))


def check_orig_030() -> int:
    """Place B, D, N, N, S first. N's apart, 36 ways: the A's take 3 of 6 gaps, 720. N's together,
    24 ways: one A parts them, two of 5 other gaps, 240. In all 960.
    """
    rows = set(permutations("BANDANAS"))
    return sum(all(a != b for a, b in pairwise(row)) for row in rows)


def check_orig_031() -> int:
    """Burnside over 16 motions: identity 2^8 + 2 = 258; quarter turns 2 * 6; half turn 18; four
    mirrors through beads 3 * 2^4 each; all else 0. 480/16 = 30.
    """
    seen: set[tuple[int, ...]] = set()
    classes = 0
    for beads in product(range(3), repeat=8):
        if beads in seen or any(beads[i] == beads[i - 1] for i in range(8)):
            continue
        classes += 1
        for shift in range(8):
            turned = beads[shift:] + beads[:shift]
            seen |= {turned, turned[::-1]}
    return classes


def check_orig_032() -> int:
    """The octahedron's adjacency eigenvalues are 4, 0, 0, 0, -2, -2, and walks of n moves between
    opposite vertices number 4^n/6 + (-2)^n/3: for n = 6, 2048/3 + 64/3 = 704.
    """
    ways = Counter({0: 1})
    for _ in range(6):
        step: Counter[int] = Counter()
        for vertex, number in ways.items():
            for other in range(6):
                # 2k and 2k + 1 are opposite
                if other // 2 != vertex // 2:
                    step[other] += number
        ways = step
    return ways[1]


def check_orig_033() -> int:
    """The first row and first column fix the rest. Three corners lie in them and the fourth then
    has the right colour (16 blocks, an even sum), so 2^(9 - 3) = 64.
    """
    corners = 0b10001
    rows = range(32)
    # every block of two rows is odd iff the differences between the rows alternate
    followers = {r: (r ^ 0b10101, r ^ 0b01010) for r in rows}
    ways = Counter({r: 1 for r in rows if r & corners == corners})
    for _ in range(4):
        step: Counter[int] = Counter()
        for row, number in ways.items():
            for follower in followers[row]:
                step[follower] += number
        ways = step
    return sum(number for row, number in ways.items() if row & corners == corners)


def check_orig_034() -> int:
    """Splitting off the first block gives a(n) = 2a(n-1) + 2a(n-3) - a(n-5), from 1, 1, 2, 6, 14
    on: 31, 73, 172, 400.
    """

    def ways(car: int, taken: int) -> int:
        if car == 8:
            return 1
        bays = range(max(0, car - 2), min(8, car + 3))
        return sum(ways(car + 1, taken | 1 << bay) for bay in bays if not taken >> bay & 1)

    return ways(0, 0)


def check_orig_035() -> int:
    """f is an involution on its image of size k, and the others map into it: the sum of
    C(5, k) inv(k) k^(5-k) with inv = 1, 2, 4, 10, 26 is 5 + 160 + 360 + 200 + 26 = 751.
    """
    return sum(all(f[f[f[x]]] == f[x] for x in range(5)) for f in product(range(5), repeat=5))


def check_orig_036() -> int:
    """Without a triangle a graph on 5 vertices is bipartite (376 of them) or a 5-cycle (12), so
    1024 - 388 = 636.
    """
    pairs = list(combinations(range(5), 2))
    total = 0
    for chosen in product((False, True), repeat=10):
        friends = {pair for pair, is_friend in zip(pairs, chosen, strict=True) if is_friend}
        total += any(friends.issuperset(combinations(t, 2)) for t in combinations(range(5), 3))
    return total
