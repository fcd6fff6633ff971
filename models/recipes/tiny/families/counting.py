"""Counting by enumeration."""

from __future__ import annotations

import math

from tiny.draw import Draw
from tiny.families.base import Item


def multiples(d: Draw) -> Item:
    """Numbers below n divisible by a, b: or, and, but not, neither."""
    n, a, b = d.key(50, 999), d.number(2, 9), d.number(3, 19)
    words, test, unseen = d.pick(
        (f"divisible by ${a}$ or ${b}$", f"k % {a} == 0 or k % {b} == 0",
         f"that are multiples of at least one of {a} and {b}"),
        (f"divisible by both ${a}$ and ${b}$", f"k % {a} == 0 and k % {b} == 0",
         f"that are multiples of {a} and of {b} at once"),
        (f"divisible by ${a}$ but not by ${b}$", f"k % {a} == 0 and k % {b} != 0",
         f"that are multiples of {a} without being multiples of {b}"),
        (f"divisible by neither ${a}$ nor ${b}$", f"k % {a} != 0 and k % {b} != 0",
         f"that are multiples of none of {a} and {b}"),
    )  # fmt: skip
    hits = [k for k in range(1, n) if _divisible(k, a, b, words)]
    count = d.chance(0.6)
    word, one = ("number", "1") if count else ("sum", "k")
    return Item(
        says=(
            f"the {word} of positive integers less than ${n}$ that are {words}",
            f"the {word} of the integers from $1$ to ${n - 1}$ that are {words}",
            f"the {word} of all positive integers below {n} {words}",
        ),
        unseen=f"the {'count' if count else 'total'} of the positive integers smaller than ${n}$ "
        f"{unseen}",
        plan=f"Go through 1 to {n - 1} and take the {word} of those {words.replace('$', '')}.",
        expr=f"sum({one} for k in range(1, {n}) if {test})",
        value=len(hits) if count else sum(hits),
    )


def _divisible(k: int, a: int, b: int, words: str) -> bool:
    x, y = k / a == k // a, k / b == k // b
    if "or $" in words and "nor" not in words:
        return x or y
    if "both" in words:
        return x and y
    return (x and not y) if "but" in words else not (x or y)


def digit_sum_count(d: Draw) -> Item:
    """Numbers below n whose digits add up to s, or contain a digit."""
    n, s = d.key(100, 4000), d.number(3, 15)
    if d.chance(0.6):
        words, unseen = f"whose digits add up to ${s}$", f"having digit sum {s}"
        test = f"sum(map(int, str(k))) == {s}"
        value = sum(1 for k in range(1, n) if sum(_digits(k)) == s)
    else:
        s %= 10
        words, unseen = f"that contain the digit ${s}$", f"with at least one digit equal to {s}"
        test = f'"{s}" in str(k)'
        value = sum(1 for k in range(1, n) if s in _digits(k))
    return Item(
        says=(
            f"the number of positive integers less than ${n}$ {words}",
            f"the number of integers from $1$ to ${n - 1}$ {words}",
            f"how many positive integers below {n} there are {words}",
        ),
        unseen=f"the count of the positive integers smaller than ${n}$ {unseen}",
        plan=f"Check the digits of every number below {n}.",
        expr=f"sum(1 for k in range(1, {n}) if {test})",
        value=value,
    )


def _digits(n: int, base: int = 10) -> list[int]:
    digits = []
    while n:
        n, digit = divmod(n, base)
        digits.append(digit)
    return digits


def palindromes(d: Draw) -> Item:
    """Palindromes in a range that a number divides."""
    low = d.key(100, 4000)
    high, m = low + d.number(300, 5000), d.number(2, 12)
    value = sum(1 for k in range(low, high + 1) if k % m == 0 and _digits(k) == _digits(k)[::-1])
    return Item(
        says=(
            f"the number of palindromes between ${low}$ and ${high}$ that are divisible by ${m}$",
            f"the number of multiples of ${m}$ from ${low}$ to ${high}$ that read the same "
            "forwards and backwards",
            f"how many palindromic numbers from {low} to {high} are multiples of {m}",
        ),
        unseen=f"the number of integers $k$ with ${low} \\le k \\le {high}$ unchanged when their "
        f"digits are reversed and divisible by {m}",
        plan=f"Go through {low} to {high} and test str(k) == str(k)[::-1] and divisibility by {m}.",
        expr=f"sum(1 for k in range({low}, {high} + 1) if k % {m} == 0 and str(k) == str(k)[::-1])",
        value=value,
    )


def squares_between(d: Draw) -> Item:
    """Perfect squares or cubes in an interval."""
    low = d.key(20, 3000)
    high = low + d.number(500, 90000)
    kind, e = d.pick(("squares", 2), ("cubes", 3))
    value = sum(1 for k in range(1, 400) if low <= k**e <= high)
    return Item(
        says=(
            f"the number of perfect {kind} between ${low}$ and ${high}$",
            f"the number of positive integers $k$ with ${low} \\le k^{e} \\le {high}$",
            f"how many perfect {kind} lie from {low} to {high}, inclusive",
        ),
        unseen=f"the number of {kind} of integers that are at least {low} and at most {high}",
        plan=f"Test k^{e} for k = 1, 2, 3, ... against {low} and {high}.",
        expr=f"sum(1 for k in range(1, 1000) if {low} <= k**{e} <= {high})",
        value=value,
    )


def linear_pairs(d: Draw) -> Item:
    """Pairs (x, y) with a x + b y = n."""
    a, b, n = d.number(2, 9), d.number(2, 9), d.key(30, 400)
    positive = d.chance(0.5)
    kind, low = ("positive", 1) if positive else ("nonnegative", 0)
    value = sum(1 for x in range(low, n // a + 1) if (n - a * x) % b == 0 and n - a * x >= b * low)
    return Item(
        says=(
            f"the number of ordered pairs $(x, y)$ of {kind} integers with ${a}x + {b}y = {n}$",
            f"the number of {kind} integer solutions $(x, y)$ of ${a}x + {b}y = {n}$",
            f"how many pairs of {kind} integers $x$ and $y$ satisfy the equation "
            f"${a}x + {b}y = {n}$",
        ),
        unseen=f"the number of points $(x, y)$ with {kind} integer coordinates on the line "
        f"${a}x + {b}y = {n}$",
        plan=f"Try all {kind} x and y up to {n}.",
        expr=f"sum(1 for x in range({low}, {n} + 1) for y in range({low}, {n} + 1) "
        f"if {a}*x + {b}*y == {n})",
        value=value,
    )


def divisor_pairs(d: Draw) -> Item:
    """Pairs with a given product and gcd one, or lcm n."""
    n = d.key(24, 240)
    if d.chance(0.5):
        words, test = f"least common multiple ${n}$", f"lcm(x, y) == {n}"
        name, unseen = "lcm", f"{n} as their smallest common multiple"
        hits = [k for k in range(1, n + 1) if n % k == 0]
        value = sum(1 for x in hits for y in hits if x * y // math.gcd(x, y) == n)
    else:
        words = f"greatest common divisor $1$ and $x + y = {n}$"
        test = f"gcd(x, y) == 1 and x + y == {n}"
        name, unseen = "gcd", f"no common factor above 1 and with sum {n}"
        value = sum(1 for x in range(1, n) if math.gcd(x, n) == 1)
    return Item(
        says=(
            f"the number of ordered pairs $(x, y)$ of positive integers with {words}",
            f"how many ordered pairs of positive integers $x$, $y$ have {words}",
            f"the number of pairs $(x, y)$ of positive integers, order mattering, having {words}",
        ),
        unseen=f"in how many ways one can name two positive integers $x$ and $y$, in order, with "
        f"{unseen}",
        plan=f"Try all x and y from 1 to {n} and test {test}.",
        setup=f"from math import {name}",
        expr=f"sum(1 for x in range(1, {n} + 1) for y in range(1, {n} + 1) if {test})",
        value=value,
    )


def base_digits(d: Draw) -> Item:
    """The digits of n in another base."""
    n, b = d.key(100, 9999), d.number(2, 9)
    digits = _digits(n, b)
    what, expr, value = d.pick(
        ("sum of the digits", "sum(digits)", sum(digits)),
        ("number of digits", "len(digits)", len(digits)),
        ("largest digit", "max(digits)", max(digits)),
    )
    loop = f"n, digits = {n}, []\nwhile n:\n    digits.append(n % {b})\n    n //= {b}"
    return Item(
        says=(
            f"the {what} of ${n}$ when it is written in base ${b}$",
            f"the {what} in the base-${b}$ representation of ${n}$",
            f"The number {n} is converted to base {b}. || the {what} of the result",
        ),
        unseen=f"the {what} that {n} shows once expressed with base {b}",
        plan=f"Divide {n} by {b} again and again to get its base {b} digits.",
        setup=loop,
        expr=expr,
        value=value,
        slip=loop.replace(f"n, digits = {n}, []", f"n = {n}"),
    )


def coin_ways(d: Draw) -> Item:
    """Ways to pay an amount with three coins."""
    n = d.key(20, 250)
    coins = sorted(d.some(range(2, 16), 3))
    a, b, c = coins
    value = sum(
        1 for x in range(n // a + 1) for y in range(n // b + 1)
        if n - a * x - b * y >= 0 and (n - a * x - b * y) % c == 0
    )  # fmt: skip
    loop = (
        f"w = [1] + [0] * {n}\nfor c in [{a}, {b}, {c}]:\n"
        f"    for i in range(c, {n} + 1):\n        w[i] += w[i - c]"
    )
    return Item(
        says=(
            f"the number of ways to pay ${n}$ cents with coins of ${a}$, ${b}$ and ${c}$ cents",
            f"Stamps cost {a}, {b} and {c} cents. || the number of ways to make exactly {n} cents",
            f"the number of ways to write ${n}$ as a sum of terms ${a}$, ${b}$ and ${c}$, where "
            "the order does not matter",
        ),
        unseen=f"A machine takes tokens worth {a}, {b} and {c} points, as many as one likes. || "
        f"in how many ways {n} points can be collected, the order being ignored",
        plan=f"Count the ways coin by coin up to {n}.",
        setup=loop,
        expr=f"w[{n}]",
        value=value,
        slip=loop.replace(f"[0] * {n}", f"[0] * ({n} - 1)"),
    )
