"""What the card of tiny-tir tells beyond the summary of a run.

Of one that `aimo-submit eval tiny --edition aimo-2 --out runs/tiny.jsonl` recorded:
`python -m tiny.measure runs/tiny.jsonl`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from aimo_submit.evaluate.summary import share_right
from aimo_submit.journal import solutions_in
from aimo_submit.records import Solution


def second_round(solutions: Sequence[Solution]) -> float:
    """The share of the solved samples that ran code in more than one round."""
    solved = [t for s in solutions for t in s.traces if t.answer == s.problem.answer]
    twice = [t for t in solved if sum(r.execution is not None for r in t.rounds) > 1]
    return len(twice) / max(1, len(solved))


def by_family(solutions: Sequence[Solution]) -> dict[str, float]:
    """pass@1 of each family, the hardest first; an id of the bundle ends with its family."""
    shares: dict[str, list[float]] = {}
    for s in solutions:
        shares.setdefault(s.problem.id.split("-", 2)[-1], []).append(share_right(s))
    means = {family: sum(each) / len(each) for family, each in shares.items()}
    return dict(sorted(means.items(), key=lambda pair: pair[1]))


def main() -> None:
    """Prints the share of second rounds among solved samples, and pass@1 by family."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("journal", type=Path, help="what eval recorded")
    solutions = list(solutions_in(parser.parse_args().journal))
    print(f"second round  {second_round(solutions):.1%} of the solved samples")
    for family, share in by_family(solutions).items():
        print(f"  {share:6.1%}  {family}")


if __name__ == "__main__":
    main()
