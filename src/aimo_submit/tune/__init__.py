"""Samples, rounds and how to stop, decided at home from a recorded pool and a machine's profile.

Begin with `tuner.py`, the tuning from its first line to its last. Below it `forecast.py` says what
one candidate comes to: accuracy is exact (`accuracy.py`), time is simulated (`simulation.py`).
Here are the words of the room: a candidate, a rule to stop, a forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimo_submit.budget import reserve
from aimo_submit.evaluate.summary import interval
from aimo_submit.records import Named

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run to come: its time limit and the number of its problems."""

    limit_s: float
    problems: int = 50

    @property
    def plan_s(self) -> float:
        """The limit without the reserve (`budget.py`)."""
        return self.limit_s - reserve(self.limit_s)


class StopRule(Named):
    """The rule by which the samples of a problem come to their end."""

    EVERY = "every sample"
    STOPPED = "early stop"  # of a pool: `early_stop` without a limit of time
    SHARES = "equal shares"  # N samples in T/n, until nothing can change the winner
    BUDGET = "budget"  # what runs where `total_time_s` is set


@dataclass(frozen=True, slots=True)
class Candidate:
    """N and M, a rule to stop and a vote, to be weighed against others."""

    samples: int
    rounds: int
    stop: StopRule = StopRule.EVERY
    early_stop: float | None = None
    vote: str = "majority"

    @property
    def how(self) -> str:
        """How samples end and vote, in words."""
        at = "" if self.early_stop is None else f" at {self.early_stop:g}"
        vote = "" if self.vote == "majority" else f", vote {self.vote}"
        return f"{self.stop}{at}{vote}"

    def __str__(self) -> str:
        return f"N={self.samples} M={self.rounds} ({self.how})"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Accuracy and time of a candidate; times are those of a whole run, loading included."""

    candidate: Candidate
    scores: Floats  # P: each problem's chance to be right
    time_s: float  # mean
    time_q95_s: float

    @property
    def accuracy(self) -> float:
        """The share of problems that would be right."""
        return float(self.scores.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """90%, over problems."""
        return interval(self.scores)


def paired(a: Forecast, b: Forecast) -> tuple[float, float, float]:
    """How far the second is ahead of the first, with the 90% interval, problem by problem."""
    return b.accuracy - a.accuracy, *interval(b.scores - a.scores)


def points(share: float, sign: str = "+") -> str:
    """A difference of accuracies in points of 100."""
    return f"{100 * share:{sign}.1f} points"


def clock(seconds: float) -> str:
    """Seconds as hours or minutes, for a reader."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
