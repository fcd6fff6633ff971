"""A pool as one HTML file that needs no network: figures, plots, and every sample to be read.

The samples come last in the file, each problem's deflated in an element of its own, so that the
page stands before they are read and opens one only when asked. What models wrote never becomes
part of the page's markup; a Content-Security-Policy allows its own script and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

from aimo_submit.cards import find_card
from aimo_submit.errors import UserError, need
from aimo_submit.report.figures import TITLES
from aimo_submit.report.panels import Panel, rounds_of
from aimo_submit.report.rows import ProblemRow, row_json
from aimo_submit.report.style import png, svg
from aimo_submit.tune.advice import Advice

PAGE = "index.html"
SAMPLES = "<!-- samples -->"  # in the template; nothing that is escaped can hold it


@dataclass(frozen=True, slots=True)
class Page:
    """A report before it is written."""

    title: str
    settings: Mapping[str, Any]
    rows: Sequence[ProblemRow]
    panels: Sequence[Panel]
    advice: Advice | None = None


def write_report(
    page: Page, blocks: BinaryIO, out: Path, advance: Callable[[str], None] = lambda name: None
) -> Path:
    """The page's path, written into the folder with a PNG of each plot; `advance` hears of each."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        plots = [_plot(panel, out, advance) for panel in page.panels]
        before, _, after = _filled(page, plots).rpartition(SAMPLES)
        part = out / f"{PAGE}.part"  # a page that is there stays whole until this one is
        with part.open("wb") as file:
            file.write(before.encode())
            blocks.seek(0)
            shutil.copyfileobj(blocks, file, 1 << 20)
            file.write(after.encode())
        return part.replace(out / PAGE)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another --out") from error


def _plot(panel: Panel, out: Path, advance: Callable[[str], None]) -> Mapping[str, str]:
    """Writes the plot's PNG, and gives what the page holds of it."""
    file, shown = out / f"{panel.name}.png", ""
    if panel.draw is None:
        file.unlink(missing_ok=True)  # of a report before this one
    else:
        figure = panel.draw()
        file.write_bytes(png(figure))
        shown = svg(figure, TITLES[panel.name])
    advance(panel.name)
    words = {"title": TITLES[panel.name], "caption": panel.caption, "missing": panel.missing}
    return {**words, "svg": shown}


def _filled(page: Page, plots: Sequence[Mapping[str, str]]) -> str:
    """The template with everything but the samples in it."""
    jinja2 = need("jinja2", "report")
    data = resources.files("aimo_submit") / "data"
    files = {name: (data / f"report.{name}").read_text("utf-8") for name in ("html", "css", "js")}
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(files["html"])
    filled: str = template.render(
        hash=base64.b64encode(hashlib.sha256(files["js"].encode()).digest()).decode(),
        title=page.title,
        about=_about(page.settings),
        css=files["css"],
        tiles=_tiles(page.rows),
        advice=page.advice,
        plots=plots,
        settings={k: json.dumps(v) for k, v in page.settings.items() if v not in (None, {})},
        data=_inline(_page_data(page)),
        js=files["js"],
    )
    return filled


def _inline(data: Any) -> str:
    """JSON that no HTML parser can take for markup."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _page_data(page: Page) -> Mapping[str, Any]:
    rows = [dict(row_json(row)) for row in page.rows]
    twice: dict[str, int] = {}
    for row in rows:
        row["n"] = twice[row["id"]] = twice.get(row["id"], -1) + 1
    seeds = max((len(row.blocks) for row in page.rows), default=0)
    try:  # the prompt of the model that was recorded
        template = find_card(str(page.settings.get("model"))).format.template
    except UserError:  # its card is not at hand
        template = None
    return {"rows": rows, "seeds": seeds, "template": template}


def _about(known: Mapping[str, Any]) -> str:
    parts = [str(known[name]) for name in ("model", "engine", "edition") if name in known]
    if "rounds" in known:
        parts.append(rounds_of(int(known["rounds"])))
    if "temperature" in known:
        parts.append(f"temperature {known['temperature']}")
    return " · ".join(parts)


def _tiles(rows: Sequence[ProblemRow]) -> Iterator[tuple[str, str]]:
    """The figures at the page's head, each with its words."""
    graded = [row for row in rows if row.gold is not None]
    samples = sum(row.samples for row in rows)
    yield f"{len(rows):,}", "problems"
    yield f"{samples:,}", "samples"
    if n := len(graded):
        right = sum(bool(row.right) for row in graded) / n
        error = 1.96 * math.sqrt(right * (1 - right) / n)
        yield f"{right:.1%}", f"answered right, ± {100 * error:.1f} points"
        yield f"{sum(row.pass_1 or 0 for row in graded) / n:.1%}", "of samples right (pass@1)"
        yield f"{sum(bool(row.pass_1) for row in graded) / n:.1%}", "some sample right"
    if tokens := sum(row.tokens for row in rows):
        yield f"{tokens / max(1, samples):,.0f}", "tokens a sample"
