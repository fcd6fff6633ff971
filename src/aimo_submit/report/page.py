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
from aimo_submit.pool.arrays import Pool
from aimo_submit.report import panels
from aimo_submit.report.panels import Panel, rounds_of
from aimo_submit.report.rows import ProblemRow, row_json
from aimo_submit.report.style import png, svg
from aimo_submit.tune import Candidate, StopRule
from aimo_submit.tune.advice import Advice, advise
from aimo_submit.tune.choosing import usable
from aimo_submit.tune.tuner import Tuner

PAGE = "index.html"
SAMPLES = "<!-- samples -->"  # in the template; nothing that is escaped can hold it


# name of the PNG -> title, in the order of the page
TITLES = {
    "accuracy": "Accuracy over samples and rounds",
    "pareto": "Accuracy for the time it takes",
    "votes": "Vote map",
    "margin": "Margin and correctness",
    "time": "Time used, problem by problem",
    "flips": "Answers changed by stopping early",
    "spread": "Where the score's spread comes from",
    "throughput": "Tokens a second",
}
NO_GOLD = "needs gold answers: record a set that has them"
NO_PROFILE = "give --profile: a file that `profile` wrote, or a machine such as t4x2"
NO_LENGTHS = "needs the samples' lengths: record a pool with `eval`"


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


def without_pool(why: str, rows: Sequence[ProblemRow]) -> list[Panel]:
    """The plots where samples cannot be judged, and why."""
    if all(row.gold is None for row in rows):
        why = NO_GOLD
    return _ordered([panels.of_margin(rows)], why)


def without_profile(pool: Pool, rows: Sequence[ProblemRow], problems: int) -> list[Panel]:
    """The plots that need recorded samples only."""
    pool = usable(pool)
    _, samples, rounds = pool.tokens.shape
    spread = panels.of_spread(pool, problems, samples, rounds, None)
    made = [panels.of_accuracy(pool), panels.of_votes(pool), panels.of_margin(rows), spread]
    return _ordered(made, NO_PROFILE)


def of_planned_run(tuner: Tuner, rows: Sequence[ProblemRow]) -> tuple[list[Panel], Advice | None]:
    """All eight plots and the advice; those of time are missing where the pool has no lengths."""
    forecaster, why = tuner.forecaster, NO_LENGTHS
    pool, planned = forecaster.pool, forecaster.planned
    # Where nothing is recommended, half of what was recorded is looked at.
    candidate = Candidate(max(1, tuner.recorded // 2), pool.tokens.shape[2], StopRule.BUDGET)
    made = [panels.of_accuracy(pool), panels.of_votes(pool), panels.of_margin(rows)]
    made.append(panels.of_throughput(forecaster.profile))
    advice = None
    try:
        tuning = tuner.tuning()
    except UserError as error:
        why, advice = str(error), Advice(f"Nothing is recommended: {error}.")
    else:
        if tuning.choice is not None:
            candidate = tuning.choice.recommended.candidate
            advice = advise(tuning, tuning.choice, pool.settings)
            made.append(panels.of_pareto(tuning))
    n, m = candidate.samples, candidate.rounds
    over_orders: float | None = None
    if tuner.timed:
        tuner.progress("orders of problems")
        runs = panels.simulated_runs(forecaster, candidate)
        over_orders = runs.over_orders
        made.append(panels.of_fan(forecaster, candidate, runs))
        made.append(panels.of_flips(forecaster, n, m))
    made.append(panels.of_spread(pool, planned.problems, n, m, over_orders))
    return _ordered(made, why), advice


def _ordered(made: Sequence[Panel], why: str) -> list[Panel]:
    """In the order of TITLES, those that cannot be drawn last."""
    found = {panel.name: panel for panel in made}
    eight = [found.get(name, Panel(name, missing=why)) for name in TITLES]
    return sorted(eight, key=lambda panel: panel.draw is None)
