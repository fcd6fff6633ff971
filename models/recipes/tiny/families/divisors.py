"""Divisors, primes and factorials."""

from __future__ import annotations

import math

from tiny.draw import Draw
from tiny.families.base import Item


def _divisors(n: int) -> list[int]:
    return [k for k in range(1, n + 1) if n % k == 0]


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % k for k in range(2, math.isqrt(n) + 1))


def _prime_factors(n: int) -> list[int]:
    factors, p = [], 2
    while n > 1:
        while n % p == 0:
            factors.append(p)
            n //= p
        p += 1
    return factors


def _is_of(kind: str, k: int) -> bool:
    match kind:
        case "odd":
            return k % 2 == 1
        case "even":
            return k % 2 == 0
        case "composite":
            return k > 1 and not _is_prime(k)
    return True


def divisor_count(d: Draw) -> Item:
    """How many divisors of a kind n has."""
    n = d.key(24, 6000)
    kind, test = d.pick(
        ("", ""),
        ("odd ", "k % 2 == 1"),
        ("even ", "k % 2 == 0"),
        ("composite ", "not isprime(k)"),
    )
    if kind == "":
        setup, expr = "from sympy import divisor_count", f"divisor_count({n})"
    elif kind == "composite ":
        setup = "from sympy import divisors, isprime"
        expr = f"sum(1 for k in divisors({n}) if k > 1 and {test})"
    else:
        setup = "from sympy import divisors"
        expr = f"sum(1 for k in divisors({n}) if {test})"
    return Item(
        says=(
            f"the number of positive {kind}divisors of ${n}$",
            f"the number of {kind}positive integers that divide ${n}$",
            f"how many positive {kind}divisors ${n}$ has",
            f"the number of {kind}factors of {n}",
        ),
        unseen=f"the count of all {kind}positive numbers dividing {n}",
        plan=f"List the divisors of {n} and count the {kind or 'positive '}ones.",
        setup=setup,
        expr=expr,
        value=sum(1 for k in _divisors(n) if _is_of(kind.strip(), k)),
    )


def divisor_sum(d: Draw) -> Item:
    """The sum of all, or of all proper, divisors of n."""
    n = d.key(12, 900)
    proper = d.chance(0.4)
    kind = "proper " if proper else ""
    minus = f" - {n}" if proper else ""
    return Item(
        says=(
            f"the sum of the positive {kind}divisors of ${n}$",
            f"the sum of all positive {kind}factors of {n}",
            f"the total of the {kind}divisors of ${n}$",
        ),
        unseen=f"what all {kind}divisors of ${n}$ add up to",
        plan=f"Add the divisors of {n}" + (f" and leave out {n} itself." if proper else "."),
        setup="from sympy import divisors" if proper else "from sympy import divisor_sigma",
        expr=f"sum(divisors({n})){minus}" if proper else f"divisor_sigma({n})",
        value=sum(_divisors(n)) - (n if proper else 0),
    )


def common_divisor_or_multiple(d: Draw) -> Item:
    """The gcd or the lcm of two numbers."""
    shared, a, b = d.number(2, 40), d.key(3, 90), d.number(2, 60)
    a, b = a * shared, b * shared
    if d.chance(0.5):
        name, verb, value = "gcd", "divides both", max(set(_divisors(a)) & set(_divisors(b)))
        words, other = "greatest common divisor", "largest positive integer dividing both"
        unseen = f"the biggest number that goes evenly into both {a} and {b}"
    else:
        name, verb, value = "lcm", "is a multiple of both", a * b // math.gcd(a, b)
        words, other = "least common multiple", "smallest positive integer divisible by both"
        unseen = f"the least positive number that both {a} and {b} go evenly into"
    return Item(
        says=(
            f"the {words} of ${a}$ and ${b}$",
            f"the {words} of the numbers {a} and {b}",
            f"the {other} ${a}$ and ${b}$",
        ),
        unseen=unseen,
        plan=f"The number that {verb} is the {name} of {a} and {b}.",
        setup=f"from math import {name}",
        expr=f"{name}({a}, {b})",
        value=value,
    )


def coprime_count(d: Draw) -> Item:
    """Euler's totient."""
    n = d.key(20, 999)
    return Item(
        says=(
            f"the number of positive integers less than ${n}$ that are relatively prime to ${n}$",
            f"the number of integers from $1$ to ${n}$ that share no common factor with ${n}$ "
            "other than $1$",
            f"$\\varphi({n})$, where $\\varphi$ is Euler's totient function",
        ),
        unseen=f"the number of integers below {n} whose greatest common divisor with {n} is 1",
        plan=f"This is Euler's totient of {n}.",
        setup="from sympy import totient",
        expr=f"totient({n})",
        value=sum(1 for k in range(1, n) if math.gcd(k, n) == 1),
    )


def extreme_prime_factor(d: Draw) -> Item:
    """The largest or smallest prime that divides n."""
    n = d.key(30, 999)
    large = d.chance(0.6)
    word, pick = ("largest", "max") if large else ("smallest", "min")
    factors = _prime_factors(n)
    return Item(
        says=(
            f"the {word} prime factor of ${n}$",
            f"the {word} prime number that divides {n}",
            f"the {word} prime divisor of ${n}$",
        ),
        unseen=f"the {'greatest' if large else 'least'} prime in the factorization of ${n}$",
        plan=f"Factor {n} and take the {word} prime.",
        setup="from sympy import primefactors",
        expr=f"{pick}(primefactors({n}))",
        value=max(factors) if large else min(factors),
    )


def prime_factor_sum(d: Draw) -> Item:
    """The sum of the prime factors of n, repeated or distinct."""
    n = d.key(30, 999)
    factors = _prime_factors(n)
    if d.chance(0.5):
        kind, value, expr = "distinct ", sum(set(factors)), f"sum(primefactors({n}))"
        setup, tail = "from sympy import primefactors", ""
    else:
        kind, value, tail = "", sum(factors), ", counted with multiplicity"
        setup = "from sympy import factorint"
        expr = f"sum(p * e for p, e in factorint({n}).items())"
    return Item(
        says=(
            f"the sum of the {kind}prime factors of ${n}${tail}",
            f"the sum of the {kind}primes in the factorization of {n}{tail}",
            f"the total of the {kind}prime divisors of ${n}${tail}",
        ),
        unseen=f"what the {kind}primes dividing ${n}$ add up to{tail}",
        plan=f"Factor {n} and add its {kind}primes{tail}.",
        setup=setup,
        expr=expr,
        value=value,
    )


def primes_between(d: Draw) -> Item:
    """The number, or the sum, of the primes in an interval."""
    low = d.key(4, 700)
    high = low + d.number(15, 90)
    primes = [p for p in range(low, high + 1) if _is_prime(p)]
    count = d.chance(0.6)
    word = "number" if count else "sum"
    primes_code = f"primerange({low}, {high} + 1)"
    return Item(
        says=(
            f"the {word} of primes between ${low}$ and ${high}$, inclusive",
            f"the {word} of the prime numbers $p$ with ${low} \\le p \\le {high}$",
            f"the {word} of all primes from {low} to {high}",
        ),
        unseen=f"the {'count' if count else 'total'} of the primes $p$ satisfying "
        f"${low} \\leq p \\leq {high}$",
        plan=f"List the primes from {low} to {high} and take their {word}.",
        setup="from sympy import primerange",
        expr=f"len(list({primes_code}))" if count else f"sum({primes_code})",
        value=len(primes) if count else sum(primes),
    )


def trailing_zeros(d: Draw) -> Item:
    """How many zeros n! ends in, or the exponent of a prime in n!."""
    n = d.key(20, 700)
    p = d.pick(2, 3, 5, 7, 11)
    value, q = 0, p
    while q <= n:
        value += n // q
        q *= p
    loop = f"c, q = 0, {p}\nwhile q <= {n}:\n    c += {n} // q\n    q *= {p}"
    if p == 5:
        says = (
            f"the number of zeros at the end of ${n}!$",
            f"the number of trailing zeros of ${n}!$",
            f"how many zeros the decimal form of ${n}!$ ends with",
        )
        unseen = f"the number of consecutive zeros that close the number ${n}!$"
    else:
        says = (
            f"the largest integer $k$ such that ${p}^k$ divides ${n}!$",
            f"the exponent of ${p}$ in the prime factorization of ${n}!$",
            f"the greatest $k$ for which ${n}!$ is divisible by ${p}^k$",
        )
        unseen = f"how many times the prime {p} appears when ${n}!$ is factored"
    return Item(
        says=says,
        unseen=unseen,
        plan=f"Count the factors {p} in {n}! by Legendre's formula.",
        setup=loop,
        expr="c",
        value=value,
        slip=loop.replace("c, q = 0, ", "q = "),
    )
