"""What a person sees of a summary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from rich.markup import escape
from rich.table import Table

from aimo_submit.offline.summary import Accuracy, Submission, Summary, share_right, submission
from aimo_submit.records import Solution


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


def seeds_table(solutions: Sequence[Solution]) -> Table | None:
    """Each seed's run, their mean and deviation, and what that means for one submission."""
    expected = submission(solutions)
    by_seed: dict[int, list[Solution]] = defaultdict(list)
    for s in solutions:
        if s.correct is not None:
            by_seed[s.seed].append(s)
    if expected is None or len(by_seed) < 2:
        return None
    most = max(map(len, by_seed.values()))
    table = Table("seed", "problems", "right", "pass@1", "maj", title="run by run")
    for seed, own in sorted(by_seed.items()):
        right = sum(bool(s.correct) for s in own)
        pass_1 = float(np.mean([share_right(s) for s in own]))
        note = "" if len(own) == most else " (unfinished)"
        table.add_row(
            str(seed), f"{len(own)}{note}", str(right), f"{pass_1:.1%}", f"{right / len(own):.1%}"
        )
    whole = [own for own in by_seed.values() if len(own) == most]
    table.caption = f"{_mean_sd(whole)}\n{_expectation(expected)}"
    return table


def _mean_sd(runs: Sequence[Sequence[Solution]]) -> str:
    scores = [sum(bool(s.correct) for s in own) for own in runs]
    spread = f" ± {np.std(scores, ddof=1):.1f}" if len(scores) > 1 else ""
    return f"{np.mean(scores):.1f}{spread} of {len(runs[0])} over {len(scores)} seed(s)"


def _expectation(expected: Submission) -> str:
    chance = (
        "" if expected.over_seeds is None else f", of which ± {expected.over_seeds:.1f} by seed"
    )
    return (
        f"one submission of {expected.problems} such problems: {expected.mean:.1f} "
        f"± {expected.deviation:.1f}{chance}"
    )


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
