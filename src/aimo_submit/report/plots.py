"""The eight plots of a report: each a small function from numbers to a figure with words on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aimo_submit.report.style import (
    DASHED,
    INK,
    LINK,
    NONE,
    OTHER,
    RIGHT,
    SOFT,
    WRONG,
    Floats,
    from_half,
    legend,
    limits,
    log2,
    new_axes,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = (RIGHT, OTHER, WRONG, LINK, SOFT, NONE)
ANSWERS = {"right": RIGHT, "best wrong answer": WRONG, "other wrong answers": OTHER,
           "no answer": NONE}  # fmt: skip
CELLS = 500  # across the vote map, at least: a picture of fewer is blurred


@dataclass(frozen=True, slots=True)
class Curve:
    """A line over x with a band around it."""

    name: str
    x: Floats
    y: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Point:
    """A configuration: hours it takes, and the share it gets right."""

    name: str
    hours: float
    accuracy: float
    front: bool
    chosen: bool = False


def accuracy_curves(curves: Sequence[Curve], best: float) -> Figure:
    """Accuracy over N, a line a depth, with bands against the best configuration."""
    with style():
        figure, axes = new_axes("samples a problem, N", "problems right, %")
        for k, curve in enumerate(curves):
            colour = LINES[k % len(LINES)]
            band = 100 * curve.low, 100 * curve.high
            axes.fill_between(curve.x, *band, color=colour, alpha=0.16, lw=0)
            axes.plot(curve.x, 100 * curve.y, color=colour, label=curve.name)
        axes.axhline(100 * best, color=SOFT, lw=0.9, ls=DASHED)
        from_half(axes, np.concatenate([curve.low for curve in curves]))
        log2(axes, max(float(curve.x[-1]) for curve in curves))
        legend(axes)
        return figure


def pareto(points: Sequence[Point], limit_h: float, usable_h: float) -> Figure:
    """Accuracy over total time, each configuration a dot, the front joined, the limit a line."""
    from matplotlib.ticker import LogLocator

    with style():
        figure, axes = new_axes("hours for the whole set (95% quantile)", "problems right, %")
        rest = [p for p in points if not p.front]
        front = sorted((p for p in points if p.front), key=lambda p: p.hours)
        axes.scatter(*_places(rest), s=9, color=NONE)
        axes.plot(*_places(front), "o-", ms=4, color=RIGHT)
        _ring(axes, [p for p in points if p.chosen])
        from_half(axes, np.array([p.accuracy for p in points]))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        limits(axes.axvline, limit_h, usable_h)
        legend(axes)
        return figure


def _places(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [p.hours for p in points], [100 * p.accuracy for p in points]


def _ring(axes: Axes, points: Sequence[Point]) -> None:
    axes.plot(*_places(points), "o", ms=11, mfc="none", mew=1.6, color=INK)
    for p in points:
        at = p.hours, 100 * p.accuracy
        axes.annotate(p.name, at, (8, -14), textcoords="offset points", weight="bold")


def vote_map(shares: Floats, kinds: NDArray[np.int8]) -> Figure:
    """A column a problem, split as its samples answered; `kinds` (x problems) index ANSWERS."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    with style():
        figure, axes = new_axes("problems, the easiest first", "share of samples, %")
        axes.grid(visible=False)
        palette = np.array([to_rgba(colour) for colour in ANSWERS.values()])
        kinds = kinds.repeat(1 + CELLS // len(shares), axis=1)
        place = (0.0, float(len(shares)), 100.0, 0.0)
        axes.imshow(palette[kinds], aspect="auto", extent=place, interpolation="antialiased")
        axes.set_ylim(0, 100)
        x = np.arange(len(shares)) + 0.5
        axes.plot(x, 100 * shares, color=INK, lw=1.2, drawstyle="steps-mid")
        legend(axes, [Patch(color=colour, label=name) for name, colour in ANSWERS.items()])
        return figure


def margins(edges: Floats, right: Floats, counts: NDArray[np.intp], stated: Curve) -> Figure:
    """The share of right votes in each bin of the lead, with what the kit's confidence states."""
    with style():
        figure, axes = new_axes("lead of the first answer, % of samples", "votes right, %")
        some = counts > 0
        x, y = 50 * (edges[1:] + edges[:-1])[some], 100 * right[some]
        low, high = _wilson(right[some], counts[some])
        axes.bar(x, y, 92 * np.diff(edges)[some], color=RIGHT, alpha=0.75)
        error = np.stack([y - 100 * low, 100 * high - y]).clip(0)
        axes.errorbar(x, y, error, fmt="none", ecolor=INK, lw=1)
        for at, n in zip(x, counts[some], strict=True):
            axes.annotate(f"{n}", (at, 2), ha="center", size=8, color=INK)
        axes.plot(100 * stated.x, 100 * stated.y, color=WRONG, label=stated.name)
        axes.set_ylim(0, 104)
        legend(axes)
        return figure


def _wilson(share: Floats, n: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """The 95% interval of a share (Wilson 1927)."""
    z = 1.96
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def time_fan(hours: Floats, limit_h: float, usable_h: float) -> Figure:
    """Hours used after each problem; `hours` is runs x problems, cumulative."""
    bands = (("all runs", 0, 0.12), ("90% of runs", 0.05, 0.2), ("half of them", 0.25, 0.3))
    with style():
        figure, axes = new_axes("problems done", "hours used")
        done = np.arange(hours.shape[1] + 1)
        spent = np.pad(hours, ((0, 0), (1, 0)))
        for name, tail, alpha in bands:
            band = np.quantile(spent, [tail, 1 - tail], axis=0)
            axes.fill_between(done, *band, color=LINK, alpha=alpha, lw=0, label=name)
        axes.plot(done, np.median(spent, axis=0), color=LINK)
        limits(axes.axhline, limit_h, usable_h)
        axes.set_xlim(0, hours.shape[1])
        legend(axes)
        return figure


def spread(parts: Mapping[str, float | None], problems: int) -> Figure:
    """The standard deviation of a score by where it comes from; None where it is unknown."""
    with style():
        figure, axes = new_axes(f"standard deviation of the number right of {problems}", "")
        names = list(parts)[::-1]
        widths = [parts[name] or 0.0 for name in names]
        axes.barh(names, widths, color=LINK, height=0.6)
        for y, name in enumerate(names):
            known = parts[name]
            text = "not known" if known is None else f"{known:.2f}"
            axes.annotate(text, (known or 0, y), (5, 0), textcoords="offset points", va="center")
        axes.set_xlim(0, 1.18 * max(*widths, 0.1))
        axes.grid(visible=False, axis="y")
        return figure


def throughput(running: Floats, rate: Floats, fit: Curve, name: str) -> Figure:
    """Tokens a second over the sequences running, as measured, with the fitted step time."""
    with style():
        figure, axes = new_axes("sequences running", "tokens a second")
        axes.plot(fit.x, fit.y, color=WRONG, label=fit.name)
        axes.plot(running, rate, "o", ms=5, color=LINK, label=name)
        log2(axes, float(running[-1]))
        axes.set_ylim(bottom=0)
        legend(axes)
        return figure


def flips(names: Sequence[str], lost: Floats, won: Floats, saved: Floats) -> Figure:
    """Per threshold: answers lost and won by stopping early, and the share of time saved."""
    with style():
        x_words = "accepted chance that the leader would have lost"
        figure, axes = new_axes(x_words, "answers changed, % of problems")
        x = np.arange(len(names))
        axes.bar(x, 100 * won, 0.6, color=RIGHT, label="wrong to right")
        axes.bar(x, -100 * lost, 0.6, color=WRONG, label="right to wrong")
        axes.axhline(0, color=SOFT, lw=0.8)
        most = 100 * max(lost.max(initial=0), won.max(initial=0), 0.005)
        axes.set_ylim(-1.35 * most, 1.35 * most)
        for at, share in zip(x, saved, strict=True):
            words = f"{share:.0%}\nsaved" if share >= 0 else f"{-share:.0%}\nlonger"
            axes.annotate(words, (at, 1.3 * most), ha="center", va="top", size=9)
        axes.set_xticks(x, names)
        legend(axes)
        return figure
