"""A tuning in words and as settings: the reason, the doubts, the TOML to run; and what if.

What if compares two candidates of one's own on the same recorded problems.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aimo_submit.config import ENGINES, Config, settings_that
from aimo_submit.errors import UserError
from aimo_submit.toml import parse_value
from aimo_submit.tune import Candidate, Forecast, StopRule, clock, paired, points
from aimo_submit.tune.choosing import ENOUGH
from aimo_submit.tune.tuner import Choice, Tuner, Tuning
from aimo_submit.tune.vote_rules import known

SPARE = (1.5, 2.0)  # samples to record for each that votes
KNOWN = 0.05  # half an interval of accuracy that calls for no more problems
ASKED = ("samples", "rounds", "early_stop", "vote")  # in a what-if


@dataclass(frozen=True, slots=True)
class Advice:
    """The recommendation with its reason, its doubts, and the configuration to run."""

    reason: str
    warnings: Sequence[str] = ()
    toml: str = ""


def advise(tuning: Tuning, choice: Choice, settings: Mapping[str, Any]) -> Advice:
    """The advice that a report gives."""
    config = config_of(tuning, choice.recommended, settings)
    told = f"Recommended: {reason(tuning, choice)}"
    return Advice(told, warnings(tuning, settings), config.to_toml())


def reason(tuning: Tuning, choice: Choice) -> str:
    """Why that was chosen, in two sentences."""
    chosen, quickest, best = choice.recommended, choice.quickest, choice.best
    low, high = chosen.interval
    first = (
        f"{chosen.candidate} is right in {chosen.accuracy:.1%} ({low:.1%} to {high:.1%}) of such "
        f"problems and ends {tuning.planned.problems} of them in {clock(chosen.time_q95_s)} of "
        f"{clock(tuning.planned.limit_s)} in 95 of 100 runs."
    )
    gain, low, high = paired(quickest, best)
    if quickest is best:
        return f"{first} Nothing that fits the time is more accurate."
    return (
        f"{first} Of what fits, {quickest.candidate} is the quickest that is surely within "
        f"{points(ENOUGH, sign='')} of the best, {best.candidate}, which is {points(gain)} ahead "
        f"({points(low)} to {points(high)})."
    )


def warnings(tuning: Tuning, settings: Mapping[str, Any]) -> list[str]:
    """Doubts that the pool or the profile leaves open, each with what would tell."""
    return [*_of_pool(tuning), *_of_profile(tuning, settings), *_of_choice(tuning)]


def _of_pool(tuning: Tuning) -> Iterator[str]:
    if tuning.left_out:
        yield f"{tuning.left_out} problems with less than half of the samples were left out"
    if tuning.profile is None:
        yield (
            "no time can be foreseen, so nothing is recommended: the pool holds no lengths, or "
            "no --profile was given"
        )
    if tuning.length_ratio and tuning.length_ratio.interval[1] < 1:
        yield (
            f"wrong samples are {tuning.length_ratio.ratio:.2f} times as long as right ones: they "
            "finish first, which early stopping favours; compare the ways to stop below"
        )


def _of_profile(tuning: Tuning, settings: Mapping[str, Any]) -> Iterator[str]:
    profile = tuning.profile
    if profile is None:
        return
    if profile.estimated:
        yield (
            f"the times of {profile.name} are an estimate from data sheets: record a profile on "
            "that machine with aimo-submit profile"
        )
    if profile.model != settings.get("model"):
        yield (
            f"the pool holds samples of {settings.get('model')}, the profile is of "
            f"{profile.model}: the times are right only if both are as quick"
        )


def _of_choice(tuning: Tuning) -> Iterator[str]:
    choice = tuning.choice
    if choice is None:
        return
    samples, rounds = choice.recommended.candidate.samples, choice.recommended.candidate.rounds
    few, many = (math.ceil(spare * samples) for spare in SPARE)
    if tuning.recorded < few:
        yield (
            f"N={samples} of {tuning.recorded} recorded samples: to know it as well as smaller N, "
            f"record {few} to {many} samples a problem"
        )
    elif choice.same_problems > SPARE[0] * ENOUGH / 2:
        needed = math.ceil(tuning.recorded * (2 * choice.same_problems / ENOUGH) ** 2)
        yield (
            f"other samples of the same problems would move accuracy by ±"
            f"{points(choice.same_problems, sign='')}: about {needed} samples a problem would "
            f"bring that to {points(ENOUGH / 2, sign='')}"
        )
    if samples == tuning.samples[-1]:
        yield f"N={samples} is the most that was recorded: more samples may be better still"
    if rounds == tuning.rounds[-1] and rounds > 1:
        yield f"M={rounds} is as deep as was recorded: more rounds may be better still"
    yield from _too_few_problems(tuning, choice)


def _too_few_problems(tuning: Tuning, choice: Choice) -> Iterator[str]:
    """The number of problems that would tell how accurate the recommended candidate is."""
    low, high = choice.recommended.interval
    half = (high - low) / 2
    if half <= KNOWN:
        return
    needed = math.ceil(tuning.problems * (half / KNOWN) ** 2)
    yield (
        f"accuracy is known to ±{points(half, sign='')} only: {tuning.problems} problems are few, "
        f"about {needed} would bring that to {points(KNOWN, sign='')}"
    )


def config_of(tuning: Tuning, chosen: Forecast, settings: Mapping[str, Any]) -> Config:
    """The settings that run what was chosen, sampling as the pool was sampled."""
    sampled = settings_that("same", "told")
    given = {name: settings[name] for name in sampled if name in settings}
    if tuning.profile and tuning.profile.engine in ENGINES:
        given["engine"] = tuning.profile.engine
    candidate = chosen.candidate
    return Config.of(
        {
            **given,
            "samples": candidate.samples,
            "rounds": candidate.rounds,
            "vote": candidate.vote,
            "total_time_s": tuning.planned.limit_s,
            "problems": tuning.planned.problems,
            "early_stop": candidate.early_stop if candidate.stop is StopRule.BUDGET else None,
        }
    )


def toml(tuning: Tuning, choice: Choice, settings: Mapping[str, Any]) -> str:
    """The configuration of what was chosen, with the reason above it."""
    notes = [reason(tuning, choice), *(f"Warning: {line}." for line in warnings(tuning, settings))]
    above = "".join(f"# {line}\n" for line in notes)
    return above + config_of(tuning, choice.recommended, settings).to_toml()


# --- what if


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two candidates' forecasts, and by how much the second is more accurate; 90%, paired."""

    first: Forecast
    second: Forecast

    @property
    def gain(self) -> tuple[float, float, float]:
        """The difference and its interval."""
        return paired(self.first, self.second)


def parsed(text: str) -> dict[str, Any]:
    """Names and values of `samples=16,rounds=2`."""
    given = dict(parse_value(part) for part in text.split(","))
    for name in given:
        if name not in ASKED:
            can = f"{', '.join(ASKED[:-1])} and {ASKED[-1]} can"
            raise UserError(f"--what-if {text}: {name!r} cannot be told from a pool; {can}")
    Config.of(given)
    known(given.get("vote", "majority"))
    return given


def compare_candidates(
    tuner: Tuner, a: Mapping[str, Any], b: Mapping[str, Any]
) -> list[Comparison]:
    """The two with the samples as they were recorded and, on a known machine, under the budget."""
    stops = (StopRule.EVERY, StopRule.BUDGET) if tuner.timed else (StopRule.EVERY,)
    made = []
    for stop in stops:
        first, second = (
            tuner.forecaster.forecast(_candidate(tuner, given, stop)) for given in (a, b)
        )
        made.append(Comparison(first, second))
    return made


def asked_of(candidate: Candidate) -> dict[str, Any]:
    """The candidate as it would be asked for."""
    return {name: getattr(candidate, name) for name in ASKED}


def _candidate(tuner: Tuner, given: Mapping[str, Any], stop: StopRule) -> Candidate:
    """The candidate asked for; what it does not name is as it was recorded."""
    depth = tuner.forecaster.pool.tokens.shape[2]
    samples, rounds = given.get("samples", tuner.recorded), given.get("rounds", depth)
    for name, value, most in (("samples", samples, tuner.recorded), ("rounds", rounds, depth)):
        if value > most:
            raise UserError(
                f"--what-if {name}={value}: the pool holds {most} {name}; ask for at most {most}, "
                "or record more with eval"
            )
    eps = given.get("early_stop")
    if stop is StopRule.EVERY and eps is not None:
        stop = StopRule.STOPPED
    return Candidate(samples, rounds, stop, eps, given.get("vote", "majority"))
