"""What a fine-tune gained: two recordings of the same problems, paired by problem."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aimo_submit.errors import UserError
from aimo_submit.offline.accuracy import counts, maj
from aimo_submit.offline.intervals import LEVEL, population
from aimo_submit.offline.pool import Pool, load_pool

Scores = dict[str, NDArray[np.float64]]  # by problem: pass@1, and maj@N up to the N asked for


def gain(before: Pool, after: Pool, samples: int) -> list[str]:
    """Lines that give both accuracies before and after, and the difference with its interval."""
    first, second = scores(before, samples), scores(after, samples)
    shared = [problem for problem in first if problem in second]
    if not shared:
        raise UserError("the two recordings have no problem in common")
    old = np.array([first[problem] for problem in shared])  # P x (pass@1, maj@N)
    new = np.array([second[problem] for problem in shared])
    low, high = population(new - old)
    names = ("pass@1", f"maj@{samples}")
    head = f"{len(shared)} problems; {LEVEL:.0%} intervals over problems, paired"
    return [head, *(_line(*each) for each in zip(names, old.T, new.T, low, high, strict=True))]


def scores(pool: Pool, samples: int) -> Scores:
    """The expected accuracy of one sample and of a vote of that many, by problem."""
    votes = counts(pool, pool.tokens.shape[2])
    if samples > votes[:, 0].min():
        raise UserError(f"a recording has fewer than {samples} samples of a problem: --samples")
    voted = maj(votes, samples)
    each = np.column_stack([votes[:, 1] / votes[:, 0], voted[:, samples - 1]])
    return dict(zip(pool.problems, each, strict=True))


def _line(
    name: str, old: NDArray[np.float64], new: NDArray[np.float64], low: float, high: float
) -> str:
    change = 100 * (new.mean() - old.mean())
    interval = f"[{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{name:<8}{old.mean():.1%} -> {new.mean():.1%}: {change:+.1f} points {interval}"


def main() -> None:
    """Prints pass@1 and maj@N before and after, and the gain with its paired interval."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("before", type=Path, help="a folder of journals, or one")
    parser.add_argument("after", type=Path)
    parser.add_argument("--samples", type=int, default=16, metavar="N")
    given = parser.parse_args()
    print(*gain(load_pool(given.before), load_pool(given.after), given.samples), sep="\n")


if __name__ == "__main__":
    main()
