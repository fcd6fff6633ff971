"""A pool as one HTML file that needs no network: figures, plots, and every sample to be read.

The samples come last in the file, each problem's deflated in an element of its own, so that the
page stands before they are read and opens one only when asked. What models wrote never becomes
part of the page's markup; a Content-Security-Policy allows its own script and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

from aimo_submit.cards import find_card
from aimo_submit.errors import UserError
from aimo_submit.report.panels import TITLES, Panel, rounds_of
from aimo_submit.report.rows import Row, row_json
from aimo_submit.report.style import png, svg

PAGE = "index.html"

_SLOT = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True)
class Advice:
    """What is recommended and why, what is still unsure, and the configuration to run."""

    reason: str
    warnings: Sequence[str] = ()
    toml: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What stands in a report."""

    title: str
    settings: Mapping[str, Any]
    rows: Sequence[Row]
    panels: Sequence[Panel]
    advice: Advice | None = None


def write_report(
    page: Page, blocks: BinaryIO, out: Path, advance: Callable[[str], None] = lambda name: None
) -> Path:
    """The page's path, written into the folder with a PNG of each plot; `advance` hears of each."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        plots = "".join(_plot(panel, out, advance) for panel in page.panels)
        before, after = _around(page, plots)
        part = out / f"{PAGE}.part"  # a page that is there stays whole until this one is
        with part.open("wb") as file:
            file.write(before)
            blocks.seek(0)
            shutil.copyfileobj(blocks, file, 1 << 20)
            file.write(after)
        return part.replace(out / PAGE)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another --out") from error


def _around(page: Page, plots: str) -> tuple[bytes, bytes]:
    """The page before and after the samples."""
    script = _data("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    slots = {
        "hash": digest,
        "title": html.escape(page.title),
        "about": html.escape(_about(page)),
        "css": _data("report.css"),
        "tiles": _tiles(page.rows),
        "advice": _advice(page.advice),
        "plots": plots,
        "settings": _settings(page.settings),
        "data": _inline(_page_data(page)),
        "js": script,
    }
    before, after = _data("report.html").split("{{blocks}}")
    filled = _SLOT.sub(lambda slot: slots[slot[1]], before)
    return filled.encode(), after.encode()


def _data(name: str) -> str:
    return (resources.files("aimo_submit") / "data" / name).read_text(encoding="utf-8")


def _inline(data: Any) -> str:
    """JSON that no HTML parser can take for markup."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _page_data(page: Page) -> Mapping[str, Any]:
    rows = [dict(row_json(row)) for row in page.rows]
    twice: dict[str, int] = {}
    for row in rows:
        row["n"] = twice[row["id"]] = twice.get(row["id"], -1) + 1
    seeds = max((len(row.blocks) for row in page.rows), default=0)
    return {"rows": rows, "seeds": seeds, "template": _template(page.settings)}


def _template(settings: Mapping[str, Any]) -> str | None:
    """The prompt of the model that was recorded; None where its card is not at hand."""
    try:
        return find_card(str(settings.get("model"))).format.template
    except UserError:
        return None


def _about(page: Page) -> str:
    known = page.settings
    parts = [str(known[name]) for name in ("model", "engine", "edition") if name in known]
    if "rounds" in known:
        parts.append(rounds_of(int(known["rounds"])))
    if "temperature" in known:
        parts.append(f"temperature {known['temperature']}")
    return " · ".join(parts)


def _tiles(rows: Sequence[Row]) -> str:
    graded = [row for row in rows if row.gold is not None]
    samples = sum(row.samples for row in rows)
    tiles = [(f"{len(rows):,}", "problems"), (f"{samples:,}", "samples")]
    if graded:
        n = len(graded)
        right = sum(bool(row.right) for row in graded) / n
        error = 1.96 * math.sqrt(right * (1 - right) / n)
        tiles += [
            (f"{right:.1%}", f"answered right, ± {100 * error:.1f} points"),
            (f"{sum(row.pass_1 or 0 for row in graded) / n:.1%}", "of samples right (pass@1)"),
            (f"{sum(bool(row.pass_1) for row in graded) / n:.1%}", "some sample right"),
        ]
    if tokens := sum(row.tokens for row in rows):
        tiles.append((f"{tokens / max(1, samples):,.0f}", "tokens a sample"))
    return "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in tiles)


def _advice(advice: Advice | None) -> str:
    if advice is None:
        return ""
    warnings = "".join(f"<li>{html.escape(line)}</li>" for line in advice.warnings)
    parts = [f"<p>{html.escape(advice.reason)}</p>"]
    if warnings:
        parts.append(f"<ul>{warnings}</ul>")
    if advice.toml:
        parts.append(
            '<details class="plain"><summary>the settings, as TOML</summary>'
            f"<pre>{html.escape(advice.toml)}</pre></details>"
        )
    return f'<section class="advice" aria-label="recommended">{"".join(parts)}</section>'


def _settings(settings: Mapping[str, Any]) -> str:
    return "".join(
        f"<dt>{html.escape(str(name))}</dt><dd>{html.escape(json.dumps(value))}</dd>"
        for name, value in settings.items()
        if value not in (None, {})
    )


def _plot(panel: Panel, out: Path, advance: Callable[[str], None]) -> str:
    file, title = out / f"{panel.name}.png", html.escape(TITLES[panel.name])
    if panel.draw is None:
        file.unlink(missing_ok=True)  # of a report before this one
        inner = f'<div class="absent">{html.escape(panel.missing)}</div>'
        caption = ""
    else:
        figure = panel.draw()
        file.write_bytes(png(figure))
        inner = svg(figure).replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
        caption = f"<figcaption>{html.escape(panel.caption)}</figcaption>"
    advance(panel.name)
    return f"<figure><h2>{title}</h2>{inner}{caption}</figure>"
