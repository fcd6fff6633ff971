"""Measures a model on the test split with the kit's own evaluation, and prints the figures."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aimo_submit.cards import config_for
from aimo_submit.competition import EDITIONS
from aimo_submit.offline.evaluate import evaluate, problems_at_once, remaining, settings_of
from aimo_submit.offline.journal import Journal
from aimo_submit.offline.problems import load_problems
from aimo_submit.offline.summary import Accuracy, summarise
from aimo_submit.records import Problem, Solution
from aimo_submit.start import start_solver
from tiny.corpus import bundle

CARD = Path(__file__).resolve().parents[2] / "tiny-tir.toml"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the card reports."""

    problems: int
    samples: int
    pass_1: float
    maj_n: float
    second_round: float  # share of the solved samples that ran code in more than one round
    by_family: dict[str, float]


def measure(card: Path, problems: Sequence[Problem], *, samples: int, journal: Path) -> Figures:
    """The figures of the card's model on these problems, over one seed."""
    config, loaded = config_for({"model": str(card), "samples": samples, "edition": "aimo-2"})
    with Journal(journal, settings_of(config)) as log, start_solver(config, loaded) as solver:
        jobs = remaining(problems, [config.seed], log)
        evaluate(solver, jobs, log, at_once=problems_at_once(config))
        return figures(log.solutions)


def figures(solutions: Sequence[Solution]) -> Figures:
    """The figures of solutions whose gold answers are known."""
    summary = summarise(solutions)
    solved = [t for s in solutions for t in s.traces if t.answer == s.problem.answer]
    twice = [t for t in solved if sum(r.execution is not None for r in t.rounds) > 1]
    return Figures(
        problems=summary.problems,
        samples=summary.samples,
        pass_1=_mean(summary.pass_1),
        maj_n=_mean(summary.maj_n),
        second_round=len(twice) / max(1, len(solved)),
        by_family=_by_family(solutions),
    )


def _mean(accuracy: Accuracy | None) -> float:
    return accuracy.mean if accuracy else 0.0


def _by_family(solutions: Sequence[Solution]) -> dict[str, float]:
    shares: dict[str, list[float]] = {}
    for s in solutions:
        right = [t.answer == s.problem.answer for t in s.traces]
        family = s.problem.id.split("-", 2)[-1]
        shares.setdefault(family, []).append(sum(right) / max(1, len(right)))
    return {family: sum(each) / len(each) for family, each in shares.items()}


def main() -> None:
    """Prints pass@1, maj@N and the share of second rounds on the test split."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--card", type=Path, default=CARD, help="the model's card")
    parser.add_argument("--problems", type=int, default=120, help="problems of the test split")
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--journal", type=Path, help="keep the run here, and resume it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle(Path(folder) / "test.jsonl", given.problems)
        problems = load_problems(str(Path(folder) / "test.jsonl"), EDITIONS["aimo-2"])
        journal = given.journal or Path(folder) / "journal.jsonl"
        found = measure(given.card, problems, samples=given.samples, journal=journal)
    print(f"problems            {found.problems}")
    print(f"pass@1              {found.pass_1:.1%}")
    print(f"maj@{found.samples:<16}{found.maj_n:.1%}")
    print(f"second round        {found.second_round:.1%} of the solved samples")
    for family, share in sorted(found.by_family.items(), key=lambda pair: pair[1]):
        print(f"  {share:6.1%}  {family}")


if __name__ == "__main__":
    main()
