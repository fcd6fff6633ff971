"""Sequences, recurrences and digits of powers."""

from __future__ import annotations

from tiny.draw import Draw
from tiny.families.base import Item


def arithmetic_sequence(d: Draw) -> Item:
    """A term, or a sum of terms, of an arithmetic sequence."""
    a, r, n = d.number(1, 60), d.number(2, 19), d.key(8, 120)
    shown = ", ".join(str(a + i * r) for i in range(3))
    if d.chance(0.5):
        says = (
            f"the ${n}$th term of the arithmetic sequence ${shown}, \\ldots$",
            f"An arithmetic sequence has first term ${a}$ and common difference ${r}$. || its "
            f"${n}$th term",
            f"term number {n} of the arithmetic progression {shown}, ...",
        )
        unseen = (
            f"A list starts with {a} and each next entry is {r} more. || the entry in position {n}"
        )
        plan, expr = f"The term is {a} + ({n} - 1)*{r}.", f"{a} + ({n} - 1) * {r}"
        value = [a + i * r for i in range(n)][-1]
    else:
        says = (
            f"the sum of the first ${n}$ terms of the arithmetic sequence ${shown}, \\ldots$",
            f"An arithmetic sequence has first term ${a}$ and common difference ${r}$. || the sum "
            f"of its first ${n}$ terms",
            f"the sum of {n} terms of the arithmetic progression {shown}, ...",
        )
        unseen = (
            f"A list starts with {a} and each next entry is {r} more. || the total of its first "
            f"{n} entries"
        )
        plan = f"Add {a} + i*{r} for i from 0 to {n} - 1."
        expr, value = f"sum({a} + i * {r} for i in range({n}))", n * (2 * a + (n - 1) * r) // 2
    return Item(says=says, unseen=unseen, plan=plan, expr=expr, value=value)


def geometric_sequence(d: Draw) -> Item:
    """A term or sum of a geometric sequence with integer ratio."""
    a, r, n = d.number(1, 12), d.number(2, 5), d.key(5, 30)
    shown = ", ".join(str(a * r**i) for i in range(3))
    total = d.chance(0.5)
    what = f"sum of the first ${n}$ terms" if total else f"${n}$th term"
    return Item(
        says=(
            f"the {what} of the geometric sequence ${shown}, \\ldots$",
            f"A geometric sequence has first term ${a}$ and ratio ${r}$. || the {what}",
            f"the {what} of the geometric progression starting {shown}",
        ),
        unseen=f"The numbers start at {a} and each is {r} times the one before. || the {what}",
        plan=f"The terms are {a}*{r}^i; take the {what.replace('$', '')}.",
        expr=f"sum({a} * {r}**i for i in range({n}))" if total else f"{a} * {r}**({n} - 1)",
        value=a * (r**n - 1) // (r - 1) if total else a * r ** (n - 1),
    )


def recurrence(d: Draw) -> Item:
    """a_{n+1} = p a_n + q, perhaps with a modulus inside."""
    a, p, q, n = d.number(1, 20), d.number(2, 9), d.number(1, 15), d.key(5, 60)
    m = d.number(50, 999)
    value = a
    for _ in range(n - 1):
        value = (p * value + q) % m
    loop = f"a = {a}\nfor i in range({n} - 1):\n    a = {p}*a + {q}"
    rule = f"a_{{n+1}} = {p}a_n + {q}"
    return Item(
        says=(
            f"A sequence has $a_1 = {a}$ and ${rule}$. || the remainder when $a_{{{n}}}$ is "
            f"divided by ${m}$",
            f"Let $a_1 = {a}$ and ${rule}$ for $n \\ge 1$. || $a_{{{n}}} \\bmod {m}$",
            f"the remainder of $a_{{{n}}}$ modulo {m}, where $a_1 = {a}$ and ${rule}$",
        ),
        unseen=f"Starting from $a_1 = {a}$ one always multiplies by {p} and adds {q} to get the "
        f"next term. || the remainder that is left after dividing $a_{{{n}}}$ by ${m}$",
        plan=f"Apply the rule {n} - 1 times, then reduce modulo {m}.",
        setup=loop,
        expr=f"a % {m}",
        value=value,
        slip=loop.replace(f"a = {a}\n", ""),
    )


def two_term_recurrence(d: Draw) -> Item:
    """Fibonacci-like sequences kept in a list."""
    a, b, p, q = d.number(1, 9), d.number(1, 12), d.number(1, 3), d.number(1, 3)
    n, m = d.key(6, 60), d.number(50, 999)
    x, y = a, b
    for _ in range(n - 1):
        x, y = y, (p * y + q * x) % m
    rule = f"{'' if p == 1 else p}a_{{n-1}} + {'' if q == 1 else q}a_{{n-2}}"
    loop = f"a = [0, {a}, {b}]\nwhile len(a) <= {n}:\n    a.append({p}*a[-1] + {q}*a[-2])"
    return Item(
        says=(
            f"Let $a_1 = {a}$, $a_2 = {b}$ and $a_n = {rule}$ for $n \\ge 3$. || the remainder "
            f"when $a_{{{n}}}$ is divided by ${m}$",
            f"A sequence has $a_1 = {a}$, $a_2 = {b}$ and $a_n = {rule}$. || "
            f"$a_{{{n}}} \\bmod {m}$",
            f"the remainder of $a_{{{n}}}$ modulo {m}, where $a_1 = {a}$, $a_2 = {b}$ and "
            f"$a_n = {rule}$",
        ),
        unseen=f"The first two terms are {a} and {b}; later ones follow $a_n = {rule}$. || what is "
        f"left over after dividing $a_{{{n}}}$ by ${m}$",
        plan=f"Build the list up to index {n}, then reduce modulo {m}.",
        setup=loop,
        expr=f"a[{n}] % {m}",
        value=x % m,
        slip=loop.replace("<=", "<"),
    )


def digits_of_power(d: Draw) -> Item:
    """Sum, number or count of digits of a large power."""
    a, n = d.number(2, 30), d.key(20, 160)
    digits = [int(c) for c in str(a**n)]
    t = d.number(0, 9)
    what, expr, value = d.pick(
        ("sum of the digits", f"sum(int(c) for c in str({a}**{n}))", sum(digits)),
        ("number of digits", f"len(str({a}**{n}))", len(digits)),
        (f"number of digits equal to ${t}$", f'str({a}**{n}).count("{t}")', digits.count(t)),
    )
    return Item(
        says=(
            f"the {what} of ${a}^{{{n}}}$",
            f"the {what} in the decimal expansion of ${a}^{{{n}}}$",
            f"The number ${a}^{{{n}}}$ is written out in full. || the {what}",
        ),
        unseen=f"the {what} that appear when {a} to the power {n} is printed",
        plan=f"Write {a}^{n} as a string to get the {what.replace('$', '')}.",
        expr=expr,
        value=value,
    )


def collatz(d: Draw) -> Item:
    """Steps of the 3n+1 rule."""
    n = d.key(10, 900)
    value, x = 0, n
    while x != 1:
        x = x // 2 if x % 2 == 0 else 3 * x + 1
        value += 1
    loop = f"n, c = {n}, 0\nwhile n != 1:\n    n = n // 2 if n % 2 == 0 else 3*n + 1\n    c += 1"
    return Item(
        says=(
            f"Starting from ${n}$, an even number is halved and an odd number $x$ becomes $3x+1$. "
            "|| the number of steps needed to reach $1$",
            f"Let $f(x) = x/2$ for even $x$ and $f(x) = 3x+1$ for odd $x$. || how many times $f$ "
            f"must be applied to ${n}$ to reach $1$",
            f"the number of steps the Collatz rule takes from {n} down to 1",
        ),
        unseen=f"{d.name()} writes {n}, then repeatedly halves the number when even, or triples it "
        "and adds one when odd. || after how many moves the number 1 appears",
        plan=f"Simulate the rule from {n} and count the steps.",
        setup=loop,
        expr="c",
        value=value,
        slip=loop.replace(f"n, c = {n}, 0", f"n = {n}"),
    )


def figurate(d: Draw) -> Item:
    """Triangular, pentagonal or hexagonal numbers."""
    n = d.key(8, 200)
    name, expr, step = d.pick(
        ("triangular", f"{n} * ({n} + 1) // 2", 1),
        ("pentagonal", f"{n} * (3*{n} - 1) // 2", 3),
        ("hexagonal", f"{n} * (2*{n} - 1)", 4),
    )
    value = sum(1 + step * i for i in range(n))
    return Item(
        says=(
            f"the ${n}$th {name} number",
            f"the {name} number with index {n}",
            f"Let $T_k$ be the $k$th {name} number. || $T_{{{n}}}$",
        ),
        unseen=f"the number in position {n} of the list of all {name} numbers",
        plan=f"Use the formula for the {name} number of index {n}.",
        expr=expr,
        value=value,
    )
