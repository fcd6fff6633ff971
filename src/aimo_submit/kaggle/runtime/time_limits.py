"""The limits of time that a run on Kaggle has, whatever its configuration says."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from aimo_submit.competition import Competition, competition_named
from aimo_submit.config import Config

LOADING_S = 1200.0  # in a save run, beside what its problems get in the competition

WIND_UP_S = 300.0  # of the notebook's limit: before our process starts, and after the last answer
GRACE_S = 10.0  # beyond the solver's limit: more than the grace it has itself


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
