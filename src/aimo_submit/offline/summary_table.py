"""What a person sees of a summary."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from aimo_submit.offline.summary import Accuracy, Summary


def summary_table(summary: Summary) -> Table:
    """The summary of a run, a row a figure."""
    table = Table(show_header=False, box=None)
    rows = [
        ("problems", f"{summary.problems} x {summary.seeds} seed(s), N = {summary.samples}"),
        ("pass@1", _accuracy(summary.pass_1)),
        (f"maj@{summary.samples}", _accuracy(summary.maj_n)),
        ("second round", f"{summary.second_round:.1%} of the answered samples ran code again"),
        ("tokens", f"{summary.tokens:,}"),
        ("seconds", f"{summary.seconds:,.1f}, summed over problems"),
        ("sample time", _shares(summary)),
        *((f"  {n}", ending) for ending, n in _endings(summary)),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def comparison(both: int, pass_1: Accuracy, maj_n: Accuracy) -> str:
    """One line: how far a run is ahead of another, in points."""
    told = ", ".join(f"{name} {_gain(g)}" for name, g in (("pass@1", pass_1), ("maj", maj_n)))
    return f"ahead on {both} problems of both, paired, in points: {told}"


def _gain(gain: Accuracy) -> str:
    low, high = (100 * bound for bound in gain.interval)
    return f"{100 * gain.mean:+.1f} (95%: {low:+.1f} to {high:+.1f})"


def _endings(summary: Summary) -> list[tuple[str, int]]:
    return [(escape(ending), n) for ending, n in summary.endings.items()]


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "unknown: the problems have no gold answers"
    low, high = accuracy.interval
    spread = "" if accuracy.over_seeds is None else f", {accuracy.over_seeds:.1%} from seed to seed"
    return f"[bold]{accuracy.mean:.1%}[/] (95% over problems {low:.1%} to {high:.1%}{spread})"


def _shares(summary: Summary) -> str:
    parts = {
        "in the engine": summary.engine_s,
        "in the sandbox": summary.sandbox_s,
        "idle": summary.idle_s,
    }
    total = sum(parts.values()) or 1.0
    return ", ".join(f"{seconds / total:.0%} {name}" for name, seconds in parts.items())
