"""The look of a report's plots: colours, axes, and the way out as SVG and PNG.

Colours are those of the page in daylight; `svg` turns them into the page's own variables, so that
a figure follows it into the dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

# names in report.css -> their colours by day
COLOURS = {
    "ink": "#1b2129", "soft": "#5c6773", "rule": "#dfe3e8", "right": "#0f7f74",
    "wrong": "#c2461c", "none": "#a3acb7", "other": "#dba13a", "link": "#1f5fbf",
}  # fmt: skip
INK, SOFT, RULE, RIGHT, WRONG, NONE, OTHER, LINK = COLOURS.values()
DASHED = (0, (4, 3))
SIZE = (5.0, 3.5)  # inches: where a phone shows that 360 pixels wide, 10 points can be read
DPI = 200
WIDE = 27  # characters of a label: with a longer one a legend has one column

_STYLE: dict[Any, Any] = {
    "font.size": 10, "text.color": INK, "axes.labelcolor": SOFT, "axes.edgecolor": RULE,
    "xtick.color": SOFT, "ytick.color": SOFT, "grid.color": RULE, "axes.grid": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0, "grid.linewidth": 0.6,
    "legend.frameon": False, "legend.fontsize": 9, "legend.labelcolor": INK,
    "legend.handlelength": 1.2, "lines.linewidth": 1.7, "svg.fonttype": "none",
    "svg.hashsalt": "aimo-submit",
}  # fmt: skip
_NOTHING: Mapping[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}


def style() -> AbstractContextManager[None]:
    """The settings under which a plot is drawn."""
    import matplotlib as mpl

    return mpl.rc_context(_STYLE)


def new_axes(x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot with words at its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def legend(axes: Axes, handles: Sequence[Any] | None = None) -> None:
    """A legend above the axes, where it covers nothing."""
    handles = axes.get_legend_handles_labels()[0] if handles is None else handles
    columns = 1 if any(len(str(handle.get_label())) > WIDE for handle in handles) else 2
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=columns)


def from_half(axes: Axes, shares: Floats) -> None:
    """Leaves out what is less than half as good as the best: it takes the room of the others."""
    worth = shares[shares >= shares.max() / 2]
    room = 0.08 * (worth.max() - worth.min()) + 0.005
    axes.set_ylim(100 * (worth.min() - room), 100 * min(1.02, worth.max() + 2 * room))


def log2(axes: Axes, most: float) -> None:
    """Powers of two along x."""
    ticks = [2**k for k in range(20) if 2**k <= most]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def limits(line: Any, limit_h: float, usable_h: float) -> None:
    """The limit and what is planned with, by `axhline` or `axvline`."""
    line(limit_h, color=WRONG, lw=1.4, label=f"limit, {limit_h:.3g} h")
    line(usable_h, color=WRONG, lw=1.1, ls=DASHED, label="limit less the reserve")


def svg(figure: Figure, title: str) -> str:
    """The figure as an element to stand in a page, in the page's colours and font."""
    content = io.StringIO()
    with style():
        figure.savefig(content, format="svg", transparent=True, metadata=_NOTHING)
    text = content.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    head = head.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
    for name, colour in COLOURS.items():
        rest = rest.replace(colour, f"var(--{name})")
    return f"{head}>" + re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", rest)


def png(figure: Figure) -> bytes:
    """The figure as a picture on white."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, facecolor="white")
    return content.getvalue()
