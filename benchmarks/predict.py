"""What a pool and a profile predict, against what happens: three settings on fresh seeds.

    python benchmarks/predict.py --pool pool/ --profile here.toml [--limit 40] [--seeds 2]

The pool's own problems are solved again with the engine that is named, one after the other, with
seeds that the pool does not hold. Predicted are the accuracy on these very problems, with a 90%
interval for all settings together (the pool's samples and the new ones both vary), and the time
to within 15%. The profile must be this machine's: `aimo-submit profile --out here.toml`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from aimo_submit import Problem, config_for, start_solver
from aimo_submit.cards import Card
from aimo_submit.config import Config, settings_that
from aimo_submit.errors import UserError
from aimo_submit.evaluate.summary import Z
from aimo_submit.journal import solutions_in
from aimo_submit.pool import journals_of
from aimo_submit.pool.arrays import Pool, load_pool
from aimo_submit.tune import Candidate, PlannedRun, StopRule
from aimo_submit.tune.accuracy import jackknife
from aimo_submit.tune.advice import parsed
from aimo_submit.tune.choosing import usable
from aimo_submit.tune.forecast import Forecaster
from aimo_submit.tune.profile import load_profile

SETTINGS = ("samples=4,rounds=2", "samples=16,rounds=4", "samples=32,rounds=3")
WITHIN = 0.15

out, notes = Console(), Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a run over all the pool's problems should come to."""

    accuracy: float
    half: float  # of the interval
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What the runs came to."""

    accuracy: float
    seconds: float  # of one


def setting_of(given: Mapping[str, Any], pool: Pool) -> Candidate:
    """The candidate as it is predicted."""
    eps = given.get("early_stop")
    stop = StopRule.EVERY if eps is None else StopRule.STOPPED
    samples, rounds = given["samples"], given.get("rounds", pool.tokens.shape[2])
    return Candidate(samples, rounds, stop, eps, given.get("vote", "majority"))


def predicted(forecaster: Forecaster, candidate: Candidate, runs: int, together: int) -> Predicted:
    """The accuracy and time of that many runs over all problems."""
    forecast = forecaster.forecast(candidate)
    seconds, _ = forecaster.simulate_draws(
        candidate.samples, candidate.rounds, candidate.early_stop
    )
    sure = np.clip(forecast.scores, 0, 1)
    luck = (sure * (1 - sure)).sum() / len(sure) ** 2 / runs
    error = float(np.nan_to_num(jackknife(forecaster.pool, candidate.samples, candidate.rounds)))
    z = NormalDist().inv_cdf(1 - 0.05 / together) if together > 1 else Z
    half = z * float(np.sqrt(luck + error**2))
    return Predicted(forecast.accuracy, half, float(seconds.mean()) * len(sure))


def seen(config: Config, card: Card, problems: Sequence[Problem], seeds: Sequence[int]) -> Seen:
    """The problems solved one after the other, from each seed."""
    seconds, right = 0.0, 0
    with start_solver(config, card) as solver:
        solver.submit(problems[0], seeds[0] + len(seeds)).result()  # the first one warms up
        for seed in seeds:
            for problem in track(problems, f"{config.samples} x {config.rounds}", console=notes):
                solution = solver.submit(problem, seed).result()
                seconds += solution.seconds
                right += bool(solution.correct)
    return Seen(right / len(problems) / len(seeds), seconds / len(seeds))


def problems_of(path: Path) -> list[Problem]:
    """The pool's problems, in its order."""
    found = {s.problem.id: s.problem for f in journals_of(path) for s in solutions_in(f)}
    pool = usable(load_pool(path))
    return [found[name] for name in pool.problems]


def main() -> int:
    """The exit code: 0 all as predicted, 1 not, 2 misuse."""
    args = _parser().parse_args()
    try:
        return int(not check(args))
    except UserError as error:
        print(f"predict: {error}", file=sys.stderr)
        return 2


def check(args: argparse.Namespace) -> bool:
    """Predicts, runs and compares; whether all is as predicted."""
    pool = usable(load_pool(args.pool))
    problems = problems_of(args.pool)[: args.limit]
    pool = first(pool, len(problems))
    forecaster = Forecaster(
        pool, load_profile(args.profile, str(pool.settings["model"])), PlannedRun(1e9)
    )
    seeds = range(int(pool.seed.max()) + 1, int(pool.seed.max()) + 1 + args.seeds)
    table = Table("setting", "right: predicted", "seen", "time: predicted", "seen", "off", "holds")
    good = True
    for text in args.settings:
        given = parsed(text)
        candidate = setting_of(given, pool)
        before = predicted(forecaster, candidate, args.seeds, len(args.settings))
        sampled = settings_that("same", "told")
        recorded = {name: pool.settings[name] for name in sampled if name in pool.settings}
        config, card = config_for({**recorded, **given, "rounds": candidate.rounds})
        after = seen(config, card, problems, seeds)
        off = after.seconds / before.seconds - 1
        holds = abs(after.accuracy - before.accuracy) <= before.half + 1e-9 and abs(off) <= WITHIN
        good &= holds
        table.add_row(
            str(candidate), f"{before.accuracy:.1%} ±{before.half:.1%}", f"{after.accuracy:.1%}",
            f"{before.seconds:.1f} s", f"{after.seconds:.1f} s", f"{off:+.1%}",
            "yes" if holds else "no",
        )  # fmt: skip
    out.print(table)
    return good


def first(pool: Pool, problems: int) -> Pool:
    """The pool's first problems only."""
    parts: dict[str, Any] = {
        f.name: getattr(pool, f.name)[:problems]
        for f in dataclasses.fields(pool)
        if f.name != "settings"
    }
    return dataclasses.replace(pool, **parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pool", type=Path, required=True, metavar="DIR")
    parser.add_argument("--profile", required=True, metavar="FILE", help="of this machine")
    parser.add_argument("--limit", type=int, metavar="K", help="the pool's first K problems only")
    parser.add_argument("--seeds", type=int, default=1, metavar="K", help="fresh runs of each (1)")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), metavar="NAME=VALUE,...")
    return parser


if __name__ == "__main__":
    sys.exit(main())
