"""Equations, polynomials, functions and floors."""

from __future__ import annotations

import math

from tiny.draw import Draw
from tiny.families.base import Item


def _term(coefficient: int, power: str, first: bool = False) -> str:
    sign = "-" if coefficient < 0 else "" if first else "+"
    size = "" if abs(coefficient) == 1 and power else str(abs(coefficient))
    gap = "" if first else " "
    return f"{gap}{sign}{gap}{size}{power}" if coefficient else ""


def linear_equation(d: Draw) -> Item:
    """a x + b = c."""
    x, a, b = d.key(4, 400), d.number(2, 40), d.number(1, 300)
    c = a * x + b
    v = d.pick("x", "n", "t", "y")
    return Item(
        says=(
            f"the value of ${v}$ if ${a}{v} + {b} = {c}$",
            f"the solution of the equation ${a}{v} + {b} = {c}$",
            f"A number multiplied by ${a}$ and increased by ${b}$ gives ${c}$. || the number",
        ),
        unseen=f"{d.name()} thinks of a number, takes it {a} times and adds {b}, ending at {c}. || "
        "the number thought of",
        plan=f"Subtract {b} from {c} and divide by {a}.",
        expr=f"({c} - {b}) // {a}",
        value=x,
    )


def two_unknowns(d: Draw) -> Item:
    """Two linear equations; a symmetric quantity is asked for."""
    x, y = d.key(4, 60), d.number(2, 30)
    a, b, c, e = (d.number(1, 9) for _ in range(4))
    while a * e == b * c:
        e = d.number(1, 12)
    p, q = a * x + b * y, c * x + e * y
    what, expr, value = d.pick(
        ("x + y", "s[x] + s[y]", x + y), ("xy", "s[x] * s[y]", x * y),
        ("x", "s[x]", x), ("x^2 + y^2", "s[x]**2 + s[y]**2", x * x + y * y),
    )  # fmt: skip
    one = f"{_term(a, 'x', True)}{_term(b, 'y')} = {p}"
    two = f"{_term(c, 'x', True)}{_term(e, 'y')} = {q}"
    setup = (
        "from sympy import symbols, solve\nx, y = symbols('x y')\n"
        f"s = solve([{a}*x + {b}*y - {p}, {c}*x + {e}*y - {q}], [x, y])"
    )
    return Item(
        says=(
            f"Let $x$ and $y$ satisfy ${one}$ and ${two}$. || ${what}$",
            f"the value of ${what}$ if ${one}$ and ${two}$",
            f"Real numbers $x, y$ solve the system ${one}$, ${two}$. || the value of ${what}$",
        ),
        unseen=f"The lines ${one}$ and ${two}$ meet at the point $(x, y)$. || the number ${what}$",
        plan=f"Solve the two linear equations and compute {what}.",
        setup=setup,
        expr=expr,
        value=value,
        slip=setup.replace("symbols, solve\n", "solve\n"),
    )


def quadratic_roots(d: Draw) -> Item:
    """Roots of a monic quadratic with integer roots."""
    r, s = d.key(4, 60), d.number(-20, 30)
    b, c = -(r + s), r * s
    what, tex, expr, value = d.pick(
        ("larger root", "the larger root", "max(r)", max(r, s)),
        ("sum of the squares of the roots", "r^2 + s^2", "sum(t**2 for t in r)", r * r + s * s),
        ("positive difference of the roots", "|r - s|", "max(r) - min(r)", abs(r - s)),
    )
    poly = f"x^2{_term(b, 'x')}{_term(c, '')}"
    code = f"x**2{_term(b, '*x') if abs(b) != 1 else _term(b, 'x')}{_term(c, '')}"
    setup = f"from sympy import symbols, roots\nx = symbols('x')\nr = list(roots({code}, x))"
    if r == s:
        return quadratic_roots(d)
    return Item(
        says=(
            f"the {what} of ${poly} = 0$",
            f"the {what} of the quadratic equation ${poly} = 0$",
            f"Let $f(x) = {poly}$. || the {what} of $f(x) = 0$",
        ),
        unseen=f"The parabola $y = {poly}$ crosses the $x$-axis twice; the crossings are taken as "
        f"roots. || the {what}",
        plan=f"Find the roots of {poly} and take the {what}.",
        setup=setup,
        expr=expr,
        value=value,
        slip=setup.replace("symbols, roots\n", "symbols\n"),
    )


def polynomial_value(d: Draw) -> Item:
    """A cubic at a point."""
    a, b, c = d.number(1, 5), d.number(-9, 9), d.number(-9, 20)
    k = d.key(4, 35)
    e = d.number(1, 60)
    poly = f"{_term(a, 'x^3', True)}{_term(b, 'x^2')}{_term(c, 'x')}{_term(e, '')}"
    code = f"{a}*{k}**3 + {b}*{k}**2 + {c}*{k} + {e}"
    f = d.pick("f", "g", "p", "P")
    return Item(
        says=(
            f"Let ${f}(x) = {poly}$. || ${f}({k})$",
            f"the value of ${poly}$ at $x = {k}$",
            f"the value of ${f}({k})$ for the polynomial ${f}(x) = {poly}$",
        ),
        unseen=f"In the expression ${poly}$ the letter $x$ is replaced by ${k}$. || the number "
        "that results",
        plan=f"Put {k} into the polynomial.",
        expr=code,
        value=((a * k + b) * k + c) * k + e,
    )


def composed_functions(d: Draw) -> Item:
    """f(g(k)) for two simple functions."""
    a, b, c, e = d.number(2, 9), d.number(1, 30), d.number(1, 4), d.number(1, 20)
    k = d.key(4, 60)
    inner = k * k * c + e
    setup = f"f = lambda x: {a}*x + {b}\ng = lambda x: {c}*x**2 + {e}"
    swap = d.chance(0.5)
    value = c * (a * k + b) ** 2 + e if swap else a * inner + b
    expr = f"g(f({k}))" if swap else f"f(g({k}))"
    first, second = f"f(x) = {a}x + {b}", f"g(x) = {_term(c, 'x^2', True)} + {e}"
    return Item(
        says=(
            f"Let ${first}$ and ${second}$. || ${expr}$",
            f"the value of ${expr}$ when ${first}$ and ${second}$",
            f"The functions $f$ and $g$ are given by ${first}$ and ${second}$. || ${expr}$",
        ),
        unseen=f"Two rules are fixed: ${second}$ as well as ${first}$. || the value taken by "
        f"${expr}$",
        plan=f"Define f and g and evaluate {expr}.",
        setup=setup,
        expr=expr,
        value=value,
        slip=setup.split("\n")[0],
    )


def floor_sum(d: Draw) -> Item:
    """A sum of floors."""
    n, m = d.key(12, 300), d.number(2, 12)
    kind = d.pick("div", "sqrt", "quot")
    if kind == "div":
        tex, code = f"\\lfloor \\frac{{k}}{{{m}}} \\rfloor", f"k // {m}"
        value = sum(math.floor(k / m) for k in range(1, n + 1))
    elif kind == "sqrt":
        tex, code = "\\lfloor \\sqrt{k} \\rfloor", "isqrt(k)"
        value = sum(int(math.sqrt(k) + 1e-9) for k in range(1, n + 1))
    else:
        tex, code = f"\\lfloor \\frac{{{n}}}{{k}} \\rfloor", f"{n} // k"
        value = sum(1 for k in range(1, n + 1) for j in range(k, n + 1, k))
    return Item(
        says=(
            f"$\\sum_{{k=1}}^{{{n}}} {tex}$",
            f"the sum of ${tex}$ over all integers $k$ from $1$ to ${n}$",
            f"the value of the sum $\\sum_{{k=1}}^{{{n}}} {tex}$",
        ),
        unseen=f"the total obtained by adding ${tex}$ for $k = 1, 2, \\ldots, {n}$",
        plan=f"Add {code} for k from 1 to {n}.",
        setup="from math import isqrt" if kind == "sqrt" else "",
        expr=f"sum({code} for k in range(1, {n} + 1))",
        value=value,
    )


def power_sum(d: Draw) -> Item:
    """Sums of squares, cubes or products."""
    n = d.key(8, 120)
    tex, code, value = d.pick(
        ("k^2", "k**2", n * (n + 1) * (2 * n + 1) // 6),
        ("k^3", "k**3", (n * (n + 1) // 2) ** 2),
        ("k(k+1)", "k * (k + 1)", n * (n + 1) * (n + 2) // 3),
        ("(2k-1)", "(2*k - 1)", n * n),
    )
    return Item(
        says=(
            f"$\\sum_{{k=1}}^{{{n}}} {tex}$",
            f"the sum of ${tex}$ over all integers $k$ from $1$ to ${n}$",
            f"the sum of the first ${n}$ numbers of the form ${tex}$ with $k = 1, 2, 3, \\ldots$",
        ),
        unseen=f"the total obtained by adding ${tex}$ for $k = 1, 2, \\ldots, {n}$",
        plan=f"Add {code} for k from 1 to {n}.",
        expr=f"sum({code} for k in range(1, {n} + 1))",
        value=value,
    )
