"""Plane geometry with coordinates."""

from __future__ import annotations

import math

from tiny.draw import Draw
from tiny.families.base import Item


def polygon_area(d: Draw) -> Item:
    """Twice the area of a triangle given by its vertices."""
    p, q = (d.number(0, 9), d.number(0, 12)), (d.key(10, 60), d.number(0, 15))
    r = (d.number(0, 30), d.number(16, 60))
    value = abs((q[0] - p[0]) * (r[1] - p[1]) - (r[0] - p[0]) * (q[1] - p[1]))
    p_, q_, r_ = (f"({x},{y})" for x, y in (p, q, r))
    setup = f"x1, y1, x2, y2, x3, y3 = {p[0]}, {p[1]}, {q[0]}, {q[1]}, {r[0]}, {r[1]}"
    return Item(
        says=(
            f"twice the area of the triangle with vertices ${p_}$, ${q_}$ and ${r_}$",
            f"A triangle has vertices $A{p_}$, $B{q_}$ and $C{r_}$. || twice its area",
            f"$2K$, where $K$ is the area of the triangle with corners ${p_}$, ${q_}$, ${r_}$",
        ),
        unseen=f"The points ${p_}$, ${q_}$ and ${r_}$ are joined by segments. || double the area "
        "enclosed",
        plan="Use the shoelace formula.",
        setup=setup,
        expr="abs((x2 - x1)*(y3 - y1) - (x3 - x1)*(y2 - y1))",
        value=value,
        slip=setup.replace(", x3, y3", "", 1),
    )


def circle_points(d: Draw) -> Item:
    """Lattice points in or on a circle."""
    n = d.key(8, 400)
    word, op, unseen = d.pick(("inside or on", "<=", "not outside"), ("strictly inside", "<", "in"))
    limit = n if op == "<=" else n - 1
    value = sum(2 * math.isqrt(limit - x * x) + 1 for x in range(-21, 22) if x * x <= limit)
    return Item(
        says=(
            f"the number of points with integer coordinates {word} the circle $x^2 + y^2 = {n}$",
            f"the number of lattice points {word} the circle $x^2 + y^2 = {n}$",
            f"how many pairs of integers $(x, y)$ satisfy $x^2 + y^2 {_tex(op)} {n}$",
        ),
        unseen=f"the number of grid points lying {'strictly ' * (op == '<')}{unseen} the circle "
        f"centred at the origin with squared radius {n}",
        plan=f"Try all integers x and y from -20 to 20 and test x^2 + y^2 {op} {n}.",
        expr=f"sum(1 for x in range(-20, 21) for y in range(-20, 21) if x*x + y*y {op} {n})",
        value=value,
    )


def _tex(op: str) -> str:
    return "\\le" if op == "<=" else op


def distance(d: Draw) -> Item:
    """Squared or taxicab distance of two points."""
    a, b = d.number(-20, 20), d.number(-20, 20)
    c, e = d.key(4, 60), d.number(-20, 30)
    dx, dy = abs(a - c), abs(b - e)
    kind = d.pick("square", "taxi")
    if kind == "square":
        what = "the square of the distance between"
        unseen = "the squared length of the segment from"
        expr, value = f"({a} - {c})**2 + ({b} - {e})**2", dx * dx + dy * dy
    else:
        what = "the taxicab distance $|x_1 - x_2| + |y_1 - y_2|$ between"
        unseen = "the fewest unit steps along grid lines from"
        expr, value = f"abs({a} - {c}) + abs({b} - {e})", dx + dy
    expr = expr.replace("- -", "+ ")
    return Item(
        says=(
            f"{what} the points $({a},{b})$ and $({c},{e})$",
            f"Let $A = ({a},{b})$ and $B = ({c},{e})$. || {what} $A$ and $B$",
            f"{what} $P({a},{b})$ and $Q({c},{e})$",
        ),
        unseen=f"{unseen} $({a},{b})$ to $({c},{e})$",
        plan="Take the differences of the coordinates.",
        expr=expr,
        value=value,
    )


def boundary_points(d: Draw) -> Item:
    """Lattice points on a segment or inside a right triangle."""
    g, a, b = d.number(2, 20), d.number(1, 15), d.key(4, 35)
    a, b = a * g, b * g
    if d.chance(0.5):
        says = (
            f"the number of points with integer coordinates on the segment from $(0,0)$ to "
            f"$({a},{b})$, endpoints included",
            f"A segment joins $(0,0)$ and $({a},{b})$. || the number of lattice points on it, "
            "counting both ends",
        )
        unseen = "through how many grid points the straight line piece from the origin to "
        unseen += f"$({a},{b})$ passes, its two ends included"
        plan, expr = f"This is gcd({a}, {b}) + 1.", f"gcd({a}, {b}) + 1"
        value = sum(1 for x in range(a + 1) if b * x % a == 0)
    else:
        says = (
            f"the number of unit squares that the diagonal of a ${a} \\times {b}$ rectangle "
            "passes through",
            f"A rectangle with sides {a} and {b} is cut into unit squares. || how many squares "
            "its diagonal crosses",
        )
        unseen = f"On an {a} by {b} board a straight line is drawn from corner to opposite corner. "
        unseen += "|| how many cells the line goes through"
        plan, expr = f"This is {a} + {b} - gcd({a}, {b}).", f"{a} + {b} - gcd({a}, {b})"
        value = sum(math.ceil(b * (x + 1) / a - 1e-9) - b * x // a for x in range(a))
    return Item(
        says=says,
        unseen=unseen,
        plan=plan,
        setup="from math import gcd",
        expr=expr,
        value=value,
    )


def integer_triangles(d: Draw) -> Item:
    """Triangles with integer sides and a given perimeter."""
    n = d.key(12, 160)
    value = sum(1 for a in range(1, n) for b in range(a, n - a) if b <= n - a - b < a + b)
    loop = (
        f"n, t = {n}, 0\nfor a in range(1, n):\n    for b in range(a, n):\n"
        "        c = n - a - b\n        if b <= c < a + b:\n            t += 1"
    )
    return Item(
        says=(
            f"the number of triangles with integer sides and perimeter ${n}$, up to congruence",
            f"the number of triples of integers $a \\le b \\le c$ that are sides of a triangle of "
            f"perimeter ${n}$",
            f"how many non-congruent triangles with integer side lengths have perimeter {n}",
        ),
        unseen=f"A wire of length {n} is bent into a triangle with whole-number sides. || how many "
        "different shapes are possible",
        plan=f"Try all a <= b <= c with a + b + c = {n} and c < a + b.",
        setup=loop,
        expr="t",
        value=value,
        slip=loop.replace(f"n, t = {n}, 0", f"n = {n}"),
    )


def hypotenuse(d: Draw) -> Item:
    """Right triangles from a Pythagorean triple."""
    m = d.key(4, 24)
    k = d.number(1, m - 1)
    a, b, c = m * m - k * k, 2 * m * k, m * m + k * k
    what, expr, value = d.pick(
        ("hypotenuse", f"isqrt({a}**2 + {b}**2)", c),
        ("perimeter", f"{a} + {b} + isqrt({a}**2 + {b}**2)", a + b + c),
    )
    return Item(
        says=(
            f"the {what} of a right triangle with legs ${a}$ and ${b}$",
            f"The legs of a right triangle are {a} and {b}. || the length of its {what}",
            f"the {what} of triangle $ABC$ with a right angle at $C$, $AC = {a}$ and $BC = {b}$",
        ),
        unseen=f"Two perpendicular sides of a triangle measure {a} and {b}. || the {what}",
        plan=f"By the Pythagorean theorem the hypotenuse is sqrt({a}^2 + {b}^2).",
        setup="from math import isqrt",
        expr=expr,
        value=value,
    )
