"""Tuning from a pool: how quick, whether its accuracies are right, whether its intervals hold.

    python benchmarks/tune.py speed                       # 500 problems x 96 samples x 6 rounds
    python benchmarks/tune.py agree ../shared/data/traces/*_votes.csv
    python benchmarks/tune.py coverage --repetitions 500

`agree` compares accuracy(N), every N, with resamples without replacement. `coverage` simulates
pools of problems whose true accuracies are known and counts how often each 90% interval holds
the truth: over problems, between two N on the same problems, and over samples (jackknife).
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from aimo_submit.errors import UserError
from aimo_submit.evaluate.summary import Z, population
from aimo_submit.pool.arrays import Pool, load_pool
from aimo_submit.tune import PlannedRun
from aimo_submit.tune.accuracy import counts, jackknife, maj
from aimo_submit.tune.profile import Profile
from aimo_submit.tune.tuner import Tuner

WRONG, ZIPF = 40, 1.1  # wrong answers of a problem, and how unequal they are
TOKENS, SPREAD, LONGEST = 600.0, 0.6, 2048  # of a round
MACHINE = Profile("t4", "", "", "", "", True, ((1, 0.0485), (101, 0.3985)), 1e-4, 60.0, 1 << 30)
BANK, TRUE_SAMPLES = 2000, 1000  # problems, and samples of each from which the truth is computed
LIMIT_S, LIMIT_GB = 20.0, 1.0
ROUNDING = 1e-12

out, notes = Console(), Console(stderr=True)
Floats = NDArray[np.float64]


def simulated(success: Floats, samples: int, rounds: int, rng: np.random.Generator) -> Pool:
    """A pool of problems with these chances of success."""
    shape = len(success), samples
    weights = 1 / np.arange(1, WRONG + 1) ** ZIPF
    wrong = 1 + rng.choice(WRONG, shape, p=weights / weights.sum())
    answer = np.where(rng.random(shape) < success[:, None], 0, wrong)
    answered = rng.geometric(0.5, shape) - 1 if rounds > 1 else np.zeros(shape, int)
    answered[answered >= rounds] = -1
    last = np.where(answered < 0, rounds, answered + 1)[:, :, None]
    written, ran = np.arange(rounds) < last, np.arange(rounds) < last - 1
    drawn = np.clip(TOKENS * np.exp(SPREAD * rng.normal(size=written.shape)), 20, LONGEST)
    return Pool(
        problems=tuple(map(str, range(len(success)))),
        golds=(0,) * len(success),
        values=(tuple(range(WRONG + 1)),) * len(success),
        answer=np.where(answered < 0, -1, answer).astype(np.int32),
        answered=answered.astype(np.int8),
        present=np.ones(shape, bool),
        tokens=np.where(written, drawn, 0).astype(np.int32),
        engine_s=np.zeros(written.shape, np.float32),
        code_s=np.where(ran, rng.exponential(0.8, written.shape), 0).astype(np.float32),
        prompt_tokens=np.full(len(success), 150, np.int32),
        logprob=rng.normal(size=shape).astype(np.float32),
        has_code=rng.random(shape) < 0.9,
        boxed=rng.random(shape) < 0.9,
        seed=np.zeros(shape, np.int64),
        settings={"rounds": rounds, "samples": samples},
    )


def chances(problems: int, rng: np.random.Generator) -> Floats:
    """How likely a sample of each problem is right."""
    return rng.beta(0.40, 0.55, problems)


# --- speed


def speed(args: argparse.Namespace) -> bool:
    """Tunes a simulated pool over the whole grid; whether time and memory hold."""
    rng = np.random.default_rng(args.seed)
    pool = simulated(chances(args.problems, rng), args.samples, args.rounds, rng)
    start = time.perf_counter()
    planned = PlannedRun(args.hours * 3600.0)
    Tuner(pool, MACHINE, planned, lambda line: notes.print(f"  {line}")).tuning()
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    size = f"{args.problems} x {args.samples} x {args.rounds}"
    out.print(f"{size}: {seconds:.1f} s, {memory:.2f} GB; at most {LIMIT_S:g} s, {LIMIT_GB:g} GB")
    return seconds <= LIMIT_S and memory <= LIMIT_GB


# --- agreement with resamples


def agree(args: argparse.Namespace) -> bool:
    """Compares accuracy(N) of the tables with resamples; whether all are within 3 errors."""
    table = Table("table", "N", "accuracy", "resampled", "off, in standard errors")
    worst = 0.0
    for path in args.tables:
        pool = load_pool(path)
        votes = counts(pool, pool.tokens.shape[2])
        exact = maj(votes)
        for n in range(1, int(votes[:, 0].max()) + 1):
            rows = votes[:, 0] >= n  # problems with fewer samples have no such vote
            mean, error = resampled(votes[rows], n, args.resamples, np.random.default_rng(n))
            gap = exact[rows, n - 1].mean() - mean
            off = gap / max(error, ROUNDING)  # where all samples vote there is nothing to draw
            worst = max(worst, abs(off))
            table.add_row(path.stem, str(n), f"{exact[rows, n - 1].mean():.5f}", f"{mean:.5f}",
                          f"{off:+.2f}")  # fmt: skip
    out.print(table)
    return worst <= 3


def resampled(
    votes: NDArray[np.intp], n: int, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The mean score of votes of n samples drawn from each problem, and its standard error."""
    means, errors = [], []
    rows, alike = np.unique(votes, axis=0, return_counts=True)
    for samples, *answers in rows.tolist():
        silent = samples - sum(answers)
        drawn = rng.multivariate_hypergeometric([*answers, silent], n, draws)[:, :-1]
        most = drawn.max(axis=1)
        leaders = (drawn == most[:, None]).sum(axis=1)
        scores = np.where((most > 0) & (drawn[:, 0] == most), 1 / leaders, 0.0)
        means.append(scores.mean())
        errors.append(scores.var() / draws)
    mean, variance = np.average(means, weights=alike), alike**2 @ np.array(errors)
    return float(mean), float(np.sqrt(variance) / len(votes))


# --- coverage


@dataclass(frozen=True, slots=True)
class Truth:
    """A bank of problems, and what accuracy each has with one N and with another."""

    success: Floats
    small: Floats
    large: Floats


def truth(small: int, large: int, rng: np.random.Generator) -> Truth:
    """The bank, from so many samples that their own error does not matter."""
    success = chances(BANK, rng)
    exact = maj(counts(simulated(success, TRUE_SAMPLES, 1, rng), 1), large)
    return Truth(success, exact[:, small - 1], exact[:, large - 1])


def coverage(args: argparse.Namespace) -> bool:
    """Counts how often the intervals hold the truth; whether each does in 85% to 95%."""
    rng = np.random.default_rng(args.seed)
    known = truth(args.small, args.large, rng)
    held = np.array(
        [covered(known, args, rng) for _ in track(range(args.repetitions), console=notes)]
    ).mean(axis=0)
    size = f"{args.problems} problems x {args.samples} samples, N={args.small}, {args.large}"
    table = Table("90% interval", "holds the truth", title=f"{size}, {args.repetitions} pools")
    for name, share in zip(("problems", "paired", "samples"), held, strict=True):
        table.add_row(name, f"{share:.1%}")
    out.print(table)
    return bool(((held >= 0.85) & (held <= 0.95)).all())


def covered(known: Truth, args: argparse.Namespace, rng: np.random.Generator) -> Sequence[bool]:
    """Whether the intervals of one simulated pool hold the truth."""
    chosen = rng.integers(BANK, size=args.problems)
    pool = simulated(known.success[chosen], args.samples, 1, rng)
    scores = maj(counts(pool, 1), args.large)
    small, large = scores[:, args.small - 1], scores[:, args.large - 1]
    half = Z * jackknife(pool, args.large, 1)
    return (
        inside(known.large.mean(), population(large)),
        inside((known.large - known.small).mean(), population(large - small)),
        abs(large.mean() - known.large[chosen].mean()) <= half,
    )


def inside(value: float, interval: tuple[Floats, Floats]) -> bool:
    """Whether the interval holds the value."""
    return bool(interval[0] <= value <= interval[1])


def main() -> int:
    """The exit code: 0 what is measured holds, 1 it does not, 2 misuse."""
    args = _parser().parse_args()
    try:
        return int(not args.run(args))
    except UserError as error:
        print(f"tune: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    quick = commands.add_parser("speed", help="seconds and memory of a whole tuning")
    quick.add_argument("--rounds", type=int, default=6)
    quick.add_argument("--hours", type=float, default=9.0)
    _sizes(quick, problems=500, samples=96).set_defaults(run=speed)
    against = commands.add_parser("agree", help="accuracy(N) against resamples")
    against.add_argument("tables", type=Path, nargs="+", metavar="VOTES.csv")
    against.add_argument("--resamples", type=int, default=100_000, help="of each problem")
    against.set_defaults(run=agree)
    cover = commands.add_parser("coverage", help="how often the intervals hold the truth")
    cover.add_argument("--small", type=int, default=8, metavar="N")
    cover.add_argument("--large", type=int, default=24, metavar="N")
    cover.add_argument("--repetitions", type=int, default=500)
    _sizes(cover, problems=100, samples=48).set_defaults(run=coverage)
    return parser


def _sizes(parser: argparse.ArgumentParser, problems: int, samples: int) -> argparse.ArgumentParser:
    parser.add_argument("--problems", type=int, default=problems)
    parser.add_argument("--samples", type=int, default=samples)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
