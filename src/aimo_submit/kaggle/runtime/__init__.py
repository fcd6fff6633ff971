"""The submission's notebook at work: this room, the core and what they import travel to Kaggle.

Until the wheels are installed nothing but the standard library is loaded. `steps` is the way in.
Here stand the limits of time that a run has, whatever its configuration says.
"""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

from aimo_submit.competition import Competition, competition_named
from aimo_submit.config import Config

WIND_UP_S = 300.0  # of the notebook's limit: before our process starts, and after the last answer
GRACE_S = 10.0  # beyond the solver's limit: more than the grace it has itself
LOADING_S = 1200.0  # in a save run, beside what its problems get in the competition


def limited(config: Config, competition: Competition) -> Config:
    """The configuration with limits where it has none: the notebook's, and one answer's."""
    most_s = competition.hours * 3600 - WIND_UP_S
    total_s = min(config.total_time_s or most_s, most_s)
    package = competition.package
    answer_s = (package and package.answer_s or math.inf) - 2 * GRACE_S
    longest_s = min(config.problem_timeout_s or math.inf, answer_s)
    return dataclasses.replace(
        config,
        total_time_s=total_s,
        problems=config.problems or competition.problems,
        problem_timeout_s=None if math.isinf(longest_s) else longest_s,
    )


def brief(config: Config, problems: Path) -> Config:
    """The configuration for the few problems of a save run, each with its time in the rerun."""
    import polars as pl

    competition, rows = competition_named(config.edition), max(1, pl.read_csv(problems).height)
    whole_s = config.total_time_s or competition.hours * 3600
    share_s = whole_s / (config.problems or competition.problems)
    return dataclasses.replace(
        config, problems=rows, total_time_s=min(whole_s, LOADING_S + rows * share_s)
    )


def process_age_s(most_s: float) -> float:
    """Seconds since this process started; 0 where that is unknown, or more than is plausible."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up_s = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    age_s = up_s - started / os.sysconf("SC_CLK_TCK")
    return age_s if 0 <= age_s <= most_s else 0.0
