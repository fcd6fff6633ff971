"""The limits of time that a run on Kaggle has, whatever its configuration says."""

from __future__ import annotations

import dataclasses
import math

from aimo_submit.competition import Edition
from aimo_submit.config import Config

WIND_UP_S = 300.0  # of the notebook's limit: before our process starts, and after the last answer
ANSWER_S = {"aimo-2": 30 * 60.0}  # the gateway's own limit on one answer
GRACE_S = 10.0  # beyond the solver's limit: more than the grace it has itself


def limited(config: Config, edition: Edition) -> Config:
    """The configuration with limits where it has none: the notebook's, and one answer's."""
    most_s = edition.hours * 3600 - WIND_UP_S
    total_s = min(config.total_time_s or most_s, most_s)
    answer_s = ANSWER_S.get(edition.name, math.inf) - 2 * GRACE_S
    longest_s = min(config.problem_timeout_s or math.inf, answer_s)
    return dataclasses.replace(
        config,
        total_time_s=total_s,
        problems=config.problems or edition.problems,
        problem_timeout_s=None if math.isinf(longest_s) else longest_s,
    )
