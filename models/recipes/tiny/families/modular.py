"""Remainders, powers and congruences."""

from __future__ import annotations

import math

from tiny.draw import Draw
from tiny.families.base import Item

PRIMES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101)


def _power(base: int, exponent: int, modulus: int) -> int:
    value = 1
    for _ in range(exponent):
        value = value * base % modulus
    return value


def power_remainder(d: Draw) -> Item:
    """a^b mod m."""
    a, b, m = d.number(2, 99), d.key(20, 2500), d.number(7, 999)
    return Item(
        says=(
            f"the remainder when ${a}^{{{b}}}$ is divided by ${m}$",
            f"the remainder of ${a}^{{{b}}}$ on division by {m}",
            f"${a}^{{{b}}} \\bmod {m}$",
            f"the integer $r$ with $0 \\le r < {m}$ and ${a}^{{{b}}} \\equiv r \\pmod{{{m}}}$",
        ),
        unseen=f"the remainder that is left after dividing ${a}^{{{b}}}$ by ${m}$",
        plan=f"We need {a}^{b} modulo {m}, so use fast powers.",
        expr=f"pow({a}, {b}, {m})",
        value=_power(a, b, m),
    )


def power_sum_remainder(d: Draw) -> Item:
    """a^b plus or minus c^e, mod m."""
    a, b, c, e = d.number(2, 30), d.key(20, 900), d.number(2, 30), d.number(10, 900)
    m = d.number(11, 999)
    sign, word = d.pick(("+", "sum"), ("-", "difference"))
    x, y = _power(a, b, m), _power(c, e, m)
    tex = f"{a}^{{{b}}} {sign} {c}^{{{e}}}"
    return Item(
        says=(
            f"the remainder when ${tex}$ is divided by ${m}$",
            f"the least nonnegative residue of ${tex}$ modulo ${m}$",
            f"$({tex}) \\bmod {m}$",
        ),
        unseen=f"the remainder that is left after dividing the {word} ${tex}$ by ${m}$",
        plan=f"Take both powers modulo {m}, then the {word}.",
        expr=f"(pow({a}, {b}, {m}) {sign} pow({c}, {e}, {m})) % {m}",
        value=(x + y if sign == "+" else x - y) % m,
    )


def inverse(d: Draw) -> Item:
    """The inverse of a modulo a prime."""
    p, a = d.pick(*PRIMES), d.key(4, 900)
    while a % p == 0:
        a = d.key(4, 900)
    return Item(
        says=(
            f"the smallest positive integer $x$ such that ${a}x \\equiv 1 \\pmod{{{p}}}$",
            f"the multiplicative inverse of ${a}$ modulo ${p}$",
            f"the least positive $x$ for which ${a}x - 1$ is divisible by ${p}$",
        ),
        unseen=f"the positive integer $x < {p}$ whose product with {a} leaves remainder 1 "
        f"modulo {p}",
        plan=f"We want the inverse of {a} modulo {p}.",
        expr=f"pow({a}, -1, {p})",
        value=next(x for x in range(1, p) if a * x % p == 1),
    )


def congruence(d: Draw) -> Item:
    """The least solution of a x = b modulo m."""
    m, a, b = d.pick(*PRIMES) * d.pick(1, 1, 4, 6), d.key(4, 300), d.number(1, 60)
    while math.gcd(a, m) > 1:
        a = d.key(4, 300)
    b %= m
    return Item(
        says=(
            f"the smallest positive integer $x$ with ${a}x \\equiv {b} \\pmod{{{m}}}$",
            f"the least positive $x$ such that ${a}x - {b}$ is a multiple of ${m}$",
            f"the least positive integer $x$ for which ${a}x$ leaves remainder ${b}$ when "
            f"divided by ${m}$",
        ),
        unseen=f"the first positive integer solving the congruence ${a}x \\equiv {b}$ modulo ${m}$",
        plan=f"Try x = 1, 2, 3, ... until {a}x - {b} is divisible by {m}.",
        expr=f"next(x for x in range(1, {m} + 1) if ({a}*x - {b}) % {m} == 0)",
        value=pow(a, -1, m) * b % m or m,
    )


def chinese_remainder(d: Draw) -> Item:
    """The least number with two given remainders."""
    m = d.pick(7, 9, 11, 13, 16, 17, 19, 23)
    n = d.key(5, 39)
    while math.gcd(m, n) > 1:
        n = d.key(5, 39)
    r, s = d.number(1, m - 1), d.number(1, n - 1)
    value = (r + m * (pow(m, -1, n) * (s - r) % n)) % (m * n)
    return Item(
        says=(
            f"the smallest positive integer that leaves remainder ${r}$ when divided by ${m}$ and "
            f"remainder ${s}$ when divided by ${n}$",
            f"the least positive integer $n$ with $n \\equiv {r} \\pmod{{{m}}}$ and "
            f"$n \\equiv {s} \\pmod{{{n}}}$",
            f"the least positive $x$ such that $x - {r}$ is divisible by ${m}$ and $x - {s}$ is "
            f"divisible by ${n}$",
        ),
        unseen=f"the first positive integer whose remainders modulo ${m}$ and ${n}$ are ${r}$ "
        f"and ${s}$ respectively",
        plan=f"Search x up to {m}*{n} with x = {r} mod {m} and x = {s} mod {n}.",
        expr=f"next(x for x in range(1, {m}*{n}) if x % {m} == {r} and x % {n} == {s})",
        value=value,
    )


def factorial_remainder(d: Draw) -> Item:
    """n! or a sum of factorials mod m."""
    n, m = d.key(8, 90), d.number(101, 999)
    value = total = 1
    for k in range(2, n + 1):
        value = value * k % m
        total = (total + value) % m
    if d.chance(0.5):
        tex, plan = f"{n}!", f"Compute {n}! and reduce it modulo {m}."
        expr, setup = f"factorial({n}) % {m}", "from math import factorial"
    else:
        value, tex = total, f"1! + 2! + 3! + \\cdots + {n}!"
        plan, setup = f"Add the factorials up to {n}! modulo {m}.", "from math import factorial"
        expr = f"sum(factorial(k) for k in range(1, {n} + 1)) % {m}"
    return Item(
        says=(
            f"the remainder when ${tex}$ is divided by ${m}$",
            f"the remainder of ${tex}$ modulo {m}",
            f"the residue of ${tex}$ upon division by ${m}$",
        ),
        unseen=f"the remainder that is left after dividing ${tex}$ by ${m}$",
        plan=plan,
        setup=setup,
        expr=expr,
        value=value,
    )


def order(d: Draw) -> Item:
    """The multiplicative order of a modulo m."""
    m = d.key(15, 399)
    a = d.number(2, 20)
    while math.gcd(a, m) > 1:
        a = d.number(2, 30)
    value = 1
    while _power(a, value, m) != 1 % m:
        value += 1
    loop = f"k = 1\nwhile pow({a}, k, {m}) != 1:\n    k += 1"
    return Item(
        says=(
            f"the smallest positive integer $k$ such that ${a}^k - 1$ is divisible by ${m}$",
            f"the multiplicative order of ${a}$ modulo ${m}$",
            f"the least $k \\ge 1$ with ${a}^k \\equiv 1 \\pmod{{{m}}}$",
        ),
        unseen=f"the first positive exponent $k$ at which ${a}^k$ leaves remainder 1 modulo ${m}$",
        plan=f"Raise {a} to growing powers modulo {m} until the result is 1.",
        setup=loop,
        expr="k",
        value=value,
        slip=loop.replace("k = 1\n", ""),
    )
