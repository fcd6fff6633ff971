"""The vote on recorded samples: every rule against the majority, and the confidence fitted.

    python benchmarks/votes.py ../shared/data/traces/*_votes.csv [--texts FILE] [--journal FILE ...]

A table of votes holds answers, boxes and whether there was code, so there the rules that weigh
anything else are the majority. `--texts` takes whole samples (.jsonl with problem_id, answer,
logged_answer, text), `--journal` the kit's own runs; neither is fitted to.

The confidence has one slope and one intercept, fitted to random parts of the recorded samples,
each table weighing the same, and is judged on the full votes: as shipped, in ten folds by
problem, and with the table itself left out of the fit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from aimo_submit.answers import extract
from aimo_submit.cli.tables import rules_table
from aimo_submit.pool.ballots import Ballot, ballots_in
from aimo_submit.records import Completion, Execution, Finish, Outcome, Round, Status, Trace
from aimo_submit.tune.vote_rules import (
    Quality,
    VoteCounts,
    confidences,
    counts_of,
    quality,
    score_rules,
    vote_counts,
)
from aimo_submit.vote import lead

FOLDS, DRAWS = 10, 8
OUTPUT = re.compile(r"```output\n(.*?)```", re.DOTALL)

console = Console(width=130)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A table of votes, and random parts of each of its problems to fit to."""

    ballots: Sequence[Ballot]
    drawn: Sequence[Sequence[VoteCounts]]  # problems x DRAWS

    @classmethod
    def of(cls, ballots: Sequence[Ballot]) -> Recorded:
        """The table with its parts drawn."""
        return cls(ballots, list(parts(ballots, DRAWS)))


def load_texts(path: Path) -> list[Ballot]:
    """The ballots of whole recorded samples, each output a round of its own."""
    ballots: dict[str, Ballot] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        ballot = ballots.setdefault(row["problem_id"], Ballot(row["problem_id"], row["answer"], []))
        rounds = [
            Round(Completion("", (), Finish.STOP, 0.0), "", Execution(Outcome.OK, output, 0.0))
            for output in OUTPUT.findall(row["text"])
        ]
        conclusion = row["text"].rpartition("```")[2]
        rounds.append(Round(Completion(conclusion, (), Finish.EOS, 0.0)))
        answer = extract(f"\\boxed{{{row['logged_answer']}}}")
        status = Status.FAILED if answer is None else Status.ANSWERED
        traces = [*ballot.traces, Trace(len(ballot.traces), rounds, status, answer)]
        ballots[ballot.problem] = Ballot(ballot.problem, ballot.gold, traces)
    return list(ballots.values())


def fit_confidence(
    counted: Sequence[VoteCounts], weights: Sequence[float] | None = None
) -> tuple[float, float]:
    """Slope and intercept of the confidence that suit the votes best (logistic regression)."""
    leads = [lead(t.votes, t.rival, t.samples) for t in counted]
    x = np.stack([np.array(leads), np.ones(len(leads))], axis=1)
    y = np.array([float(t.right) for t in counted])
    w = np.ones(len(y)) if weights is None else np.array(weights)
    theta = np.zeros(2)
    for _ in range(25):  # Newton's steps; the small ridge keeps a separable set finite
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -30, 30)))
        gradient = x.T @ (w * (y - p)) - 1e-3 * theta
        hessian = (x * (w * p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        theta = theta + np.linalg.solve(hessian, gradient)
    return float(theta[0]), float(theta[1])


def parts(ballots: Sequence[Ballot], draws: int, seed: int = 0) -> Iterator[list[VoteCounts]]:
    """The votes of that many random parts of each ballot's samples, of any size from 2."""
    rng = random.Random(seed)
    for ballot in ballots:
        sizes = [rng.randint(min(2, len(ballot.traces)), len(ballot.traces)) for _ in range(draws)]
        found = (counts_of(rng.sample(list(ballot.traces), size), ballot.gold) for size in sizes)
        yield [counts for counts in found if counts is not None]


def fitted(parts_of: Sequence[Sequence[Sequence[VoteCounts]]]) -> tuple[float, float]:
    """Slope and intercept that suit several tables, each of which weighs the same."""
    tables = [list(itertools.chain.from_iterable(drawn)) for drawn in parts_of]
    weights = [1000 / len(table) for table in tables for _ in table]
    return fit_confidence(list(itertools.chain.from_iterable(tables)), weights)


def folded(tables: Mapping[str, Recorded], name: str) -> Quality:
    """Of the table's votes, each judged by a fit that has not seen its problem."""
    stated: list[float] = []
    right: list[bool] = []
    for fold in range(FOLDS):
        seen = [
            [part for k, part in enumerate(t.drawn) if k % FOLDS != fold] for t in tables.values()
        ]
        held = vote_counts(tables[name].ballots[fold::FOLDS])
        stated += confidences(held, *fitted(seen))
        right += [counts.right for counts in held]
    return quality(stated, right)


def left_out(tables: Mapping[str, Recorded], name: str) -> Quality:
    """Of the table's votes, judged by a fit to the other tables."""
    others = [table.drawn for other, table in tables.items() if other != name]
    counted = vote_counts(tables[name].ballots)
    return quality(confidences(counted, *fitted(others)), [t.right for t in counted])


def calibration(tables: Mapping[str, Recorded], journals: Mapping[str, Sequence[Ballot]]) -> Table:
    """Brier score and calibration error of what could be stated of each vote."""
    title = "confidence: Brier / ECE"
    table = Table(
        "samples", "share a/N", "a/answered", "as shipped", "10 folds", "left out", title=title
    )
    for name, ballots in ({n: t.ballots for n, t in tables.items()} | dict(journals)).items():
        row = unfitted(ballots)
        row += [folded(tables, name), left_out(tables, name)] if name in tables else []
        table.add_row(name, *(f"{q.brier:.4f} / {q.ece:.3f}" for q in row))
    return table


def unfitted(ballots: Sequence[Ballot]) -> list[Quality]:
    """Of the share of all samples, of the share of those that answered, of the kit's constants."""
    counted = vote_counts(ballots)
    answered = [n for b in ballots if (n := sum(t.answer is not None for t in b.traces))]
    stated = (
        [t.votes / t.samples for t in counted],
        [t.votes / n for t, n in zip(counted, answered, strict=True)],
        confidences(counted),
    )
    return [quality(values, [t.right for t in counted]) for values in stated]


def main() -> None:
    """Reads, compares, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("tables", nargs="+", type=Path, metavar="VOTES.csv")
    parser.add_argument("--texts", type=Path, metavar="FILE")
    parser.add_argument("--journal", type=Path, action="append", default=[], metavar="FILE")
    args = parser.parse_args()
    tables = {path.stem: Recorded.of(list(ballots_in(path))) for path in args.tables}
    journals = {path.stem: list(ballots_in(path)) for path in args.journal}
    texts = {args.texts.stem: load_texts(args.texts)} if args.texts else {}
    voted = {name: table.ballots for name, table in tables.items()}
    pooled = {"all tables": list(itertools.chain.from_iterable(voted.values()))}
    every = voted | pooled | texts | journals
    for name, ballots in every.items():
        console.print(rules_table(score_rules(ballots), f"{name}: {len(ballots)} problems"))
    console.print(calibration(tables, journals))
    slope, intercept = fitted([table.drawn for table in tables.values()])
    console.print(f"fitted to all tables: slope {slope:.2f}, intercept {intercept:.2f}")


if __name__ == "__main__":
    main()
