"""A run's traces as pandas tables and pictures, for `notebooks/analysis.ipynb`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimo_submit.errors import UserError
from aimo_submit.journal import solutions_in
from aimo_submit.pool.tables import rounds_of
from aimo_submit.records import Solution

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def newest(runs: Path) -> Path:
    """The folder below `runs` whose traces are the newest; a `UserError` where there are none."""
    traces = sorted(runs.rglob("traces-*.jsonl"), key=lambda path: path.stat().st_mtime)
    if not traces:
        raise UserError(f"no traces-*.jsonl below {runs}: fetch a run with aimo-submit output")
    return traces[-1].parent


def solutions(folder: Path) -> list[Solution]:
    """Every solution of the run, in the order of its problems."""
    return [s for path in sorted(folder.glob("traces-*.jsonl")) for s in solutions_in(path)]


def problems(folder: Path) -> pd.DataFrame:
    """A row a problem: what was answered, why, and in what time."""
    import pandas as pd

    tables = [pd.read_csv(path, dtype={"problem": str}) for path in folder.glob("summary-*.csv")]
    if not tables:
        raise UserError(f"no summary-*.csv in {folder}: fetch the run with aimo-submit output")
    return pd.concat(tables, ignore_index=True)


def samples(run: list[Solution]) -> pd.DataFrame:
    """A row a sample: how it ended, its answer, its tokens and seconds."""
    import pandas as pd

    return pd.DataFrame(_samples(run))


def rounds(run: list[Solution]) -> pd.DataFrame:
    """A row a round, as `pool export` writes it; `outcome` tells of rounds without code, too."""
    import pandas as pd

    table = pd.DataFrame([row for solution in run for row in rounds_of(solution)])
    return table.assign(outcome=table["outcome"].fillna("no code"))


def time_figure(table: pd.DataFrame) -> Figure:
    """The seconds that each problem was given and used."""
    figure, axes = _figure(0.25 * len(table) + 1.5)
    places = range(len(table))
    axes.barh(places, table["given_s"].fillna(0), color="lightgrey", label="given")
    axes.barh(places, table["used_s"], height=0.4, label="used")
    axes.set_yticks(places, table["problem"])
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend()
    return figure


def ends_figure(table: pd.DataFrame) -> Figure:
    """The endings of each problem's samples."""
    counts = table.groupby(["problem", "status"], sort=False).size().unstack(fill_value=0)
    figure, axes = _figure(0.25 * len(counts) + 1.5)
    counts[::-1].plot.barh(stacked=True, ax=axes, width=0.8)
    axes.set(xlabel="samples", ylabel="")
    return figure


def _figure(height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    return figure, figure.subplots()


def _samples(run: list[Solution]) -> Iterator[dict[str, Any]]:
    for solution in run:
        for trace in solution.traces:
            yield {
                "problem": solution.problem.id,
                "sample": trace.sample,
                "status": str(trace.status),
                "answer": trace.answer,
                "chosen": trace.answer == solution.answer,
                "rounds": len(trace.rounds),
                "tokens": trace.n_tokens,
                "engine_s": sum(turn.engine_s for turn in trace.rounds),
                "sandbox_s": sum(turn.sandbox_s for turn in trace.rounds),
                "reason": trace.reason,
            }
