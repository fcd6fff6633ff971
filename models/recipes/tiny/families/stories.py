"""Word problems with a story around the numbers."""

from __future__ import annotations

from tiny.draw import Draw
from tiny.families.base import Item


def missing_score(d: Draw) -> Item:
    """The score that brings an average to a target."""
    n, target = d.number(3, 6), d.key(44, 99)
    scores = [d.number(max(target - 25, 1), target + 10) for _ in range(n)]
    value = target * (n + 1) - sum(scores)
    if value < 0:
        return missing_score(d)
    who, shown = d.name(), ", ".join(map(str, scores))
    return Item(
        says=(
            f"{who} scored {shown} on {n} tests. || the score on the next test that makes the "
            f"average {target}",
            f"The numbers ${shown}$ and $x$ have average ${target}$. || $x$",
            f"After results of {shown}, {who} wants a mean of exactly {target} with one more "
            "result. || the result needed",
        ),
        unseen=f"In {n} rounds {who} collected {shown} points. || how many points the next round "
        f"must bring so that the mean over all rounds becomes {target}",
        plan=f"The total must be {target} times {n + 1}.",
        expr=f"{target} * {n + 1} - sum([{shown}])",
        value=value,
    )


def ages(d: Draw) -> Item:
    """One is k times as old as another."""
    child, k, later = d.key(4, 39), d.number(2, 5), d.number(2, 20)
    one, two = d.name(), d.name()
    if one == two:
        return ages(d)
    total = child + k * child + 2 * later
    return Item(
        says=(
            f"{one} is {k} times as old as {two}. In {later} years the sum of their ages will be "
            f"{total}. || {two}'s age now",
            f"Today {one} is ${k}$ times as old as {two}, and in ${later}$ years they will be "
            f"${total}$ years old together. || the present age of {two}",
        ),
        unseen=f"{later} years from now {one} and {two} will together be {total}. At present {one} "
        f"has lived {k} times as long as {two}. || how old {two} is",
        plan=f"If the age is x, then x + {k}x + 2*{later} = {total}.",
        expr=f"({total} - 2*{later}) // ({k} + 1)",
        value=child,
    )


def shopping(d: Draw) -> Item:
    """The cost of several things, or the change."""
    a, b = d.key(4, 60), d.number(2, 30)
    x, y = d.number(2, 12), d.number(2, 12)
    cost = a * x + b * y
    paid = cost + d.number(1, 90)
    one, two = d.pick(("pens", "books"), ("apples", "pears"), ("hats", "scarves"))
    who = d.name()
    bought = f"{who} buys {x} {one} at {a} dollars each and {y} {two} at {b} dollars each"
    change = d.chance(0.5)
    unseen = f"Each of the {one} costs {a} and each of the {two} costs {b}. {who} takes {x} {one} "
    unseen += f"and {y} {two}" + (f" and hands over {paid}" if change else "")
    return Item(
        says=(
            f"{bought}, paying with {paid} dollars. || the change in dollars"
            if change
            else f"{bought}. || the total cost in dollars",
            f"{bought.replace('buys', 'bought')}, and gave the shop {paid} dollars. || the number "
            "of dollars given back"
            if change
            else f"{bought.replace('buys', 'bought')}. || the number of dollars spent",
        ),
        unseen=unseen + (". || the amount returned" if change else ". || the amount to pay"),
        plan=f"The cost is {x}*{a} + {y}*{b}" + (f"; subtract it from {paid}." if change else "."),
        expr=f"{paid} - ({x} * {a} + {y} * {b})" if change else f"{x} * {a} + {y} * {b}",
        value=paid - cost if change else cost,
    )


def meeting(d: Draw) -> Item:
    """Two travellers move towards, or away from, each other."""
    u, v, t = d.key(4, 60), d.number(3, 50), d.number(2, 9)
    one, two = d.name(), d.name()
    if one == two:
        return meeting(d)
    gap = (u + v) * t
    return Item(
        says=(
            f"{one} and {two} are {gap} km apart and move towards each other at {u} km/h and {v} "
            f"km/h. || how many km {one} has gone when they meet",
            f"Two towns are ${gap}$ km apart. {one} leaves the first at ${u}$ km/h and {two} "
            f"leaves the second at ${v}$ km/h, towards each other. || the distance in km that "
            f"{one} covers before they meet",
        ),
        unseen=f"{one} drives {u} km each hour and {two} {v} km each hour along the same road of "
        f"{gap} km, starting together from opposite ends. || the distance from the start of {one} "
        "to the meeting point, in km",
        plan=f"They meet after {gap}/({u} + {v}) hours; multiply by {u}.",
        expr=f"{gap} // ({u} + {v}) * {u}",
        value=u * t,
    )


def clock(d: Draw) -> Item:
    """The day or hour after many days or hours; reduced modulo 7, 12 or 24."""
    n = d.key(100, 9000)
    start, m, unit = d.pick((d.number(0, 23), 24, "hours"), (d.number(0, 59), 60, "minutes"))
    what = "hour" if m == 24 else "minute"
    return Item(
        says=(
            f"A clock with {m} {unit} shows {what} {start}. || the {what} it shows {n} {unit} "
            "later",
            f"A dial has {m} {unit} numbered from $0$ to ${m - 1}$ and points at ${start}$. || the "
            f"number it points at after ${n}$ {unit}",
        ),
        unseen=f"The hand of a dial numbered 0 to {m - 1} stands at {start} and moves on by one "
        f"mark {n} times. || the mark where it stops",
        plan=f"Add {n} to {start} and reduce modulo {m}.",
        expr=f"({start} + {n}) % {m}",
        value=(start + n) - (start + n) // m * m,
    )


def rectangles(d: Draw) -> Item:
    """Tiles, borders and squares in a grid."""
    a, b = d.key(5, 39), d.number(3, 12)
    kind = d.pick("squares", "rectangles", "border")
    if kind == "squares":
        words, unseen = "squares of all sizes", "a square of any size"
        expr = f"sum(({a} - k) * ({b} - k) for k in range(min({a}, {b})))"
        value = sum(1 for k in range(1, 40) for _ in range(a - k + 1) for _ in range(b - k + 1))
    elif kind == "rectangles":
        words, unseen = "rectangles of all sizes", "a rectangle of any size"
        expr = f"{a} * ({a} + 1) // 2 * ({b} * ({b} + 1) // 2)"
        value = sum(i * j for i in range(1, a + 1) for j in range(1, b + 1))
    else:
        words, unseen = "unit cells that touch the border", "a unit cell along the edge"
        expr = f"{a} * {b} - ({a} - 2) * ({b} - 2)"
        value = 2 * a + 2 * b - 4
    return Item(
        says=(
            f"the number of {words} in a ${a} \\times {b}$ grid",
            f"A board has ${a}$ rows and ${b}$ columns. || the number of {words} on it",
            f"how many {words} a {a} by {b} grid contains",
        ),
        unseen=f"Lines divide a sheet into {a} rows of {b} cells. || in how many ways {unseen} can "
        "be selected",
        plan=f"Count the {words} of the {a} by {b} grid.",
        expr=expr,
        value=value,
    )
