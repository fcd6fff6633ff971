"""Checks of the geometry problems, orig-055 to orig-072: coordinates, exact where they can be."""

from __future__ import annotations

import cmath
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate, combinations, count, product
from math import asin, hypot, isqrt, pi, sqrt

import sympy

from .values import as_integer

Point = tuple[Fraction, Fraction]


def point(x: float, y: float) -> Point:
    """An exact point."""
    return Fraction(x), Fraction(y)


def area(polygon: Sequence[Point]) -> Fraction:
    """Shoelace area of a polygon given by its vertices in order."""
    closed = [*polygon[1:], polygon[0]]
    twice = sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(polygon, closed, strict=True))
    return abs(Fraction(twice)) / 2


def squared(a: Point, b: Point) -> Fraction:
    """Squared distance of two points."""
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2


def exact_root(value: Fraction) -> Fraction:
    """Square root of the square of a fraction."""
    root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    assert root**2 == value
    return root


def least(f: Callable[[float], float], low: float, high: float) -> float:
    """The least value of a convex function on an interval, by thirds."""
    for _ in range(60):
        third = (high - low) / 3
        if f(low + third) < f(high - third):
            high -= third
        else:
            low += third
    return f((low + high) / 2)


def check_orig_055() -> int:
    """Width w: (12 + 2w)(20 + 2w) - 240 = 320, w^2 + 16w = 80, w = 4; outside 20 x 28: 96."""
    halves = (Fraction(n, 2) for n in count(1))
    w = next(w for w in halves if (12 + 2 * w) * (20 + 2 * w) - 12 * 20 == 320)
    return as_integer(2 * (12 + 2 * w + 20 + 2 * w))


def check_orig_056() -> int:
    """The exterior angle is 180/12 = 15 degrees, so 24 sides and 24 * 21/2 = 252 diagonals."""
    n = next(n for n in count(3) if Fraction(180 * (n - 2), n) == 11 * Fraction(360, n))
    return sum((b - a) % n not in (1, n - 1) for a, b in combinations(range(n), 2))


def check_orig_057() -> int:
    """PA^2 + PC^2 = PB^2 + PD^2: 529 + 361 - 49 = 841 = 29^2."""
    found = set()
    for to_bc in (1.0, 2.5, 4.0, 6.5):
        to_ab = sqrt(7**2 - to_bc**2)
        to_ad, to_cd = sqrt(23**2 - to_ab**2), sqrt(19**2 - to_bc**2)
        found.add(as_integer(hypot(to_ad, to_cd)))
    (distance,) = found
    return distance


def check_orig_058() -> int:
    """CD = 75 * 100/125 = 60, CE = 60^2/75 = 48, CF = 60^2/100 = 36; perimeter 2 * 84 = 168."""
    a, b = point(75, 0), point(0, 100)
    t = (a[0] ** 2) / squared(a, b)
    d = (a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]))
    assert d[0] * (b[0] - a[0]) + d[1] * (b[1] - a[1]) == 0
    return as_integer(2 * (d[0] + d[1]))


def check_orig_059() -> int:
    """ST = sqrt(25^2 - 7^2) = 24, and the trapezoid has area 24(9 + 16)/2 = 300."""
    s, p = point(0, 0), point(0, 9)
    t, q = next(
        (point(x, 0), point(x, 16)) for x in count(1) if squared(p, point(x, 16)) == (9 + 16) ** 2
    )
    return as_integer(area([p, q, t, s]))


def check_orig_060() -> int:
    """Outside 2(35 + 45 + 63) - 6 = 280. The tunnels meet in the central unit cube, which has no
    walls; the rest of them has 4(4 + 6 + 8) = 72. In all 352.
    """
    size = (5, 7, 9)
    cubes = {
        cube
        for cube in product(*map(range, size))
        if sum(2 * c + 1 == length for c, length in zip(cube, size, strict=True)) < 2
    }
    neighbours = [
        tuple(c + step * (axis == i) for i, c in enumerate(cube))
        for cube in cubes
        for axis in range(3)
        for step in (-1, 1)
    ]
    return sum(neighbour not in cubes for neighbour in neighbours)


def check_orig_061() -> int:
    """Area 720, boundary points 3 + 6 + 3 = 12; by Pick 720 - 12/2 + 1 = 715."""
    corners = [(0, 0), (36, 15), (12, 45)]
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    return sum(
        all((bx - ax) * (y - ay) > (by - ay) * (x - ax) for (ax, ay), (bx, by) in edges)
        for x in range(37)
        for y in range(46)
    )


def check_orig_062() -> int:
    """Heron: area 210 = r(17 + 25)/2, so r = 10."""
    x = Fraction(17**2 - 25**2 + 28**2, 2 * 28)
    y = exact_root(17**2 - x**2)
    # centre (t, 0): its distance to AB is y t/17, to AC it is y (28 - t)/25
    t = Fraction(28 * 17, 17 + 25)
    assert y * t / 17 == y * (28 - t) / 25
    return as_integer(y * t / 17)


def check_orig_063() -> int:
    """Reflect the start in the y-axis and the end in the x-axis: from (-10, 40) to (15, -20) the
    distance is hypot(25, 60) = 65, and the segment meets the axes in the right order.
    """

    def walk(y: float, x: float) -> float:
        return hypot(10, 40 - y) + hypot(x, y) + hypot(15 - x, 20)

    return as_integer(least(lambda y: least(lambda x: walk(y, x), -50, 50), -50, 50))


def check_orig_064() -> int:
    """Angles B and D are supplementary, and eliminating the cosine gives AC^2 = 15^2 + 4 * 16, so
    AC = 17.
    """
    sides = (15, 4, 16, 15)
    low, high = 8.0, 100.0
    for _ in range(100):
        radius = (low + high) / 2
        turned = sum(asin(side / (2 * radius)) for side in sides)
        low, high = (radius, high) if turned > pi else (low, radius)
    half_arc = asin(15 / (2 * low)) + asin(4 / (2 * low))
    return as_integer(2 * low * sympy.sin(half_arc))


def check_orig_065() -> int:
    """BCE is 1/4 of ABC; F divides BE with BF:BE = 2:5, so BDF is 1/3 * 2/5 of BCE. The rest is
    105 * 13/15 = 91.
    """
    b, c, a = point(0, 0), point(30, 0), point(0, 28)
    assert area([a, b, c]) == 420
    d = point(10, 0)
    e = (c[0] + (a[0] - c[0]) / 4, c[1] + (a[1] - c[1]) / 4)
    # F = sE = A + u(D - A)
    s, u = sympy.symbols("s u")
    found = sympy.solve([s * e[0] - u * d[0], s * e[1] - a[1] + u * a[1]], [s, u])
    ratio = Fraction(str(found[s]))
    return as_integer(area([c, e, (ratio * e[0], ratio * e[1]), d]))


def check_orig_066() -> int:
    """Volume 63 * 42 * 21/6 = 9261; ABC has area 441 * 7/2 by de Gua, the surface is 441 * 9.
    r = 3V/S = 7, h = 18, in all 25.
    """
    # plane x/63 + y/42 + z/21 = 1, and the incentre is (r, r, r)
    normal = [Fraction(1, 63), Fraction(1, 42), Fraction(1, 21)]
    length = exact_root(sum((n * n for n in normal), Fraction(0)))
    height = 1 / length
    radius = 1 / (length + sum(normal))
    assert (1 - radius * sum(normal)) / length == radius
    return as_integer(radius + height)


def check_orig_067() -> int:
    """Vertices in the basis of two sides' directions: (0, 0), (7, 0), (7, 10), (4, 13), (-4, 13),
    (-4, 4); squared lengths are x^2 + xy + y^2. The largest is 16 + 52 + 169 = 237.
    """
    turns = [cmath.exp(1j * cmath.pi * k / 3) for k in range(6)]
    hexagons = []
    for fifth, sixth in product(range(1, 30), repeat=2):
        sides = (7, 10, 3, 8, fifth, sixth)
        corners = list(accumulate(s * turn for s, turn in zip(sides, turns, strict=True)))
        if abs(corners[-1]) < 1e-9:
            hexagons.append(corners)
    (corners,) = hexagons
    return as_integer(max(abs(a - b) for a, b in combinations(corners, 2)) ** 2)


def check_orig_068() -> int:
    """The fold is the perpendicular bisector of AP. It meets AD at height (s^2 + p^2)/2s and BC at
    s/2 - p + p^2/2s, so the area is (s^2 - ps + p^2)/2 = (900 - 240 + 64)/2 = 362.
    """
    a, p = point(0, 0), point(8, 30)

    def height(x: int) -> Fraction:
        """Where the points at equal distance from A and P have this x."""
        y = (p[0] ** 2 + p[1] ** 2 - 2 * p[0] * x) / (2 * p[1])
        assert squared((Fraction(x), y), a) == squared((Fraction(x), y), p)
        assert 0 < y < 30
        return y

    return as_integer(area([a, point(30, 0), (Fraction(30), height(30)), (Fraction(0), height(0))]))


def check_orig_069() -> int:
    """AI * IM is the power of I, 2Rr. Area 468 by Heron, s = 52: r = 9, and 2R = 39 * 40 * 25/936,
    that is 125/3. The product is 375.
    """
    b, c = point(0, 0), point(40, 0)
    x = Fraction(39**2 - 25**2 + 40**2, 80)
    a = (x, exact_root(39**2 - x**2))
    ix, iy = ((40 * a[i] + 25 * b[i] + 39 * c[i]) / (40 + 25 + 39) for i in (0, 1))
    incentre = (ix, iy)
    centre = (Fraction(20), (squared(a, b) - 40 * a[0]) / (2 * a[1]))
    assert squared(a, centre) == squared(b, centre) == squared(c, centre)
    along = (incentre[0] - a[0], incentre[1] - a[1])
    # A + t * along is on the circle for t = 0 and for this t
    t = -2 * sum((a[i] - centre[i]) * along[i] for i in (0, 1)) / (along[0] ** 2 + along[1] ** 2)
    m = (a[0] + t * along[0], a[1] + t * along[1])
    assert squared(m, centre) == squared(a, centre)
    return as_integer(exact_root(squared(a, incentre) * squared(incentre, m)))


def check_orig_070() -> int:
    """Up to scale: 3-7-8, 5-7-8, 7-13-15, 8-13-15, 5-19-21, 16-19-21, 11-31-35, 24-31-35, 7-37-40;
    perimeters 18, 20, 35, 36, 45, 56, 77, 90, 84 give 5 + 5 + 2 + 2 + 2 + 1 + 1 + 1 + 1 = 20.
    """
    # the side opposite 60 degrees lies strictly between the other two
    total = 0
    for p in range(1, 100):
        for q in range(p + 1, 100 - p):
            r = isqrt(p * p + q * q - p * q)
            total += r * r == p * p + q * q - p * q and p + q + r <= 100
    return total


def check_orig_071() -> int:
    """In units of 1/2310 the curvatures are 11, 14 and -6. By Descartes the fourth is
    19 +- 2 sqrt(11 * 14 - 6 * 25) = 23 or 15, and 2310/15 = 154.
    """
    # centres at distances 385 - 210, 385 - 165, 385 - r from the big one: flat, so volume 0
    r = sympy.symbols("r")
    oa, ob, ab = (385 - 210) ** 2, (385 - 165) ** 2, (210 + 165) ** 2
    op, ap, bp = (385 - r) ** 2, (210 + r) ** 2, (165 + r) ** 2
    cayley_menger = sympy.Matrix(
        [
            [0, 1, 1, 1, 1],
            [1, 0, oa, ob, op],
            [1, oa, 0, ab, ap],
            [1, ob, ab, 0, bp],
            [1, op, ap, bp, 0],
        ]
    )
    radii = [root for root in sympy.roots(sympy.Poly(cayley_menger.det(), r)) if root > 0]
    assert len(radii) == 2
    return int(max(radii))


def check_orig_072() -> int:
    """Tangency (a double root in y) gives k = r^2/6 + 3/2 for the centre (0, k). From
    k' - k = r' + r follows r' - r = 6, so r = 5 + 19 * 6 = 119.
    """

    def centre(r: int) -> Fraction:
        """Height at which the squared distance to (x, x^2/6), least at x^2 = 6k - 18, is r^2."""
        k = Fraction(r * r + 9, 6)
        contact = k - 3
        assert contact > 0
        assert 6 * contact + (contact - k) ** 2 == r * r
        assert all(6 * y + (y - k) ** 2 >= r * r for y in range(10 * r))
        return k

    r = 5
    for _ in range(19):
        r = next(s for s in count(r + 1) if centre(s) - centre(r) == s + r)
    return r
