"""Follow-up questions: what is asked about a quantity, or about two, once they are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tiny.draw import Draw

HIGHEST = 999  # every answer is valid in every edition: 0 to 999


@dataclass(frozen=True, slots=True)
class Follow:
    """What is asked about one quantity v, or about two, v and w."""

    says: tuple[str, ...]
    unseen: str
    expr: str
    value: int
    setup: str = ""


def about_one(draw: Draw, v: int) -> Follow | None:
    """A question about a quantity v; None for a negative one."""
    if v < 0:
        return None
    return draw.pick(*_numbers(draw, v), *_properties(v))


def _numbers(draw: Draw, v: int) -> list[Follow]:
    m, p, q = draw.number(7, 999), draw.number(2, 9), draw.number(1, 99)
    plain = Follow(
        (f"the remainder when {{v}} is divided by ${m}$", f"the residue of {{v}} modulo ${m}$"),
        f"the remainder that {{v}} leaves upon division by {m}",
        f"{{v}} % {m}",
        v % m,
    )
    squared = Follow(
        (
            f"the remainder when the square of {{v}} is divided by ${m}$",
            f"the residue of the square of {{v}} modulo ${m}$",
        ),
        f"the remainder that the square of {{v}} leaves upon division by {m}",
        f"{{v}}**2 % {m}",
        v * v % m,
    )
    linear = Follow(
        (
            f"the remainder when ${p}$ times {{v}} plus ${q}$ is divided by ${m}$",
            f"the residue modulo ${m}$ of ${q}$ more than ${p}$ times {{v}}",
        ),
        f"the remainder upon division by {m} when ${q}$ is added to ${p}$ times {{v}}",
        f"({p}*{{v}} + {q}) % {m}",
        (p * v + q) % m,
    )
    rest = [_digit_sum(v), squared, linear]
    return [plain, plain, *rest] if v > m else rest


def _digit_sum(v: int) -> Follow:
    return Follow(
        ("the sum of the digits of {v}", "the digit sum of {v}"),
        "the sum of all decimal digits that {v} has",
        "sum(int(c) for c in str({v}))",
        sum(int(c) for c in str(v)),
    )


def _properties(v: int) -> list[Follow]:
    found = []
    if 1 < v < 10**6:
        found.append(
            Follow(
                (
                    "the number of ones in the binary form of {v}",
                    "the number of digits $1$ when {v} is written in base $2$",
                ),
                "how many ones there are in {v} written in binary form",
                'bin({v}).count("1")',
                bin(v).count("1"),
            )
        )
    if 1 < v < 2000:
        found += _factors(v)
    return found


def _factors(v: int) -> list[Follow]:
    divisors = [k for k in range(1, v + 1) if v % k == 0]
    primes = [k for k in divisors if k > 1 and all(k % j for j in range(2, k))]
    return [
        Follow(
            ("the largest prime factor of {v}", "the largest prime that divides {v}"),
            "the largest one among the prime factors of {v}",
            "max(primefactors({v}))",
            max(primes),
            "from sympy import primefactors",
        ),
        Follow(
            ("the number of positive divisors of {v}", "how many divisors {v} has"),
            "the total number of divisors of {v}",
            "divisor_count({v})",
            len(divisors),
            "from sympy import divisor_count",
        ),
    ]


def about_two(draw: Draw, v: int, w: int) -> Follow | None:
    """A question about quantities v and w; None where one is negative."""
    if v < 0 or w < 0:
        return None
    m = draw.number(11, 999)
    options = [
        Follow(
            (f"the remainder when ${{v}}{{w}}$ is divided by ${m}$",
             f"the residue of the product of ${{v}}$ and ${{w}}$ modulo ${m}$"),
            f"the remainder that the product ${{v}} \\cdot {{w}}$ leaves upon division by {m}",
            f"{{v}} * {{w}} % {m}",
            v * w % m,
        ),
        Follow(
            (f"the remainder when ${{v}} + {{w}}$ is divided by ${m}$",
             f"the residue of the sum of ${{v}}$ and ${{w}}$ modulo ${m}$"),
            f"the remainder that the sum ${{v}} + {{w}}$ leaves upon division by {m}",
            f"({{v}} + {{w}}) % {m}",
            (v + w) % m,
        ),
    ]  # fmt: skip
    if v + w <= HIGHEST:
        options += [
            Follow(
                ("${v} + {w}$", "the sum of ${v}$ and ${w}$"),
                "the total sum of ${v}$ and of ${w}$",
                "{v} + {w}",
                v + w,
            ),
            Follow(
                ("$|{v} - {w}|$", "the positive difference of ${v}$ and ${w}$"),
                "the absolute difference of ${v}$ and ${w}$",
                "abs({v} - {w})",
                abs(v - w),
            ),
        ]
    if v and w:
        options.append(
            Follow(
                ("the greatest common divisor of ${v}$ and ${w}$", "$\\gcd({v}, {w})$"),
                "the greatest common factor of ${v}$ and ${w}$",
                "gcd({v}, {w})",
                math.gcd(v, w),
                "from math import gcd",
            )
        )
    return draw.pick(*options)
