"""Every vote rule on the same recorded samples, and how far the confidence can be trusted.

Samples come from journals of this kit or from tables of other runs' answers. Differences are
paired: each rule against the majority on the same problems, with a bootstrap over problems.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from aimo_submit.answers import extract
from aimo_submit.errors import UserError
from aimo_submit.offline.intervals import interval
from aimo_submit.offline.journal import read_journal
from aimo_submit.records import Completion, Finish, Round, Solution, Status, Trace
from aimo_submit.vote import INTERCEPT, RULES, SLOPE, Rule, ended, lead, logistic

LEVEL = 0.95
BINS = 10  # of the calibration error

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ballot:
    """The samples of one problem in one run, and the gold answer."""

    problem: str
    gold: int
    traces: Sequence[Trace]


@dataclass(frozen=True, slots=True)
class Score:
    """How a rule does. Intervals are 95%, over problems."""

    rule: str
    accuracy: float
    interval: tuple[float, float]
    gain: float  # over the majority
    gain_interval: tuple[float, float]
    won: int  # ballots right here and wrong by majority
    lost: int


@dataclass(frozen=True, slots=True)
class Tally:
    """A vote in numbers: what a confidence is computed from, and whether the leader is right."""

    votes: int
    rival: int
    samples: int
    right: bool


@dataclass(frozen=True, slots=True)
class Quality:
    """Of stated probabilities: the mean squared error (Brier) and the mean calibration error."""

    brier: float
    ece: float


def load_ballots(path: Path) -> list[Ballot]:
    """The ballots of a journal, or of a .csv with a row a sample.

    The table's columns are problem_id, answer (gold), logged_answer (the sample's) and, where they
    are known, boxed (the content of its box) and has_code. Rules that weigh anything else that a
    sample wrote or ran cannot tell such samples apart: to them this is a majority.
    """
    ballots = _table(path) if path.suffix == ".csv" else ballots_of(read_journal(path)[1])
    if not ballots:
        raise UserError(f"{path}: no sample has a gold answer to compare with")
    return ballots


def ballots_of(solutions: Sequence[Solution]) -> list[Ballot]:
    """The ballots of the solutions whose gold answer is known."""
    return [
        Ballot(f"{s.problem.id} {s.problem.text}", s.problem.answer, s.traces)
        for s in solutions
        if s.problem.answer is not None
    ]


def _table(path: Path) -> list[Ballot]:
    ballots: dict[str, tuple[int, list[Trace]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                _, traces = ballots.setdefault(row["problem_id"], (int(row["answer"]), []))
                traces.append(_recorded(len(traces), row))
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(
            f"cannot read {path} ({error}); it needs the columns problem_id, answer, logged_answer"
        ) from error
    return [Ballot(name, gold, traces) for name, (gold, traces) in ballots.items()]


def _recorded(sample: int, row: Mapping[str, str]) -> Trace:
    box = f"\\boxed{{{row['boxed']}}}" if row.get("boxed") else ""
    answer = extract(f"\\boxed{{{row['logged_answer']}}}")
    written = Completion(box, (), Finish.EOS, 0.0)
    rounds = [Round(written, code="" if row.get("has_code") == "1" else None)]
    answer = extract(box) if answer is None else answer
    return Trace(sample, rounds, Status.FAILED if answer is None else Status.ANSWERED, answer)


def compare(ballots: Sequence[Ballot], rules: Mapping[str, Rule] = RULES) -> list[Score]:
    """Each rule's score, in the order of the table of rules."""
    problems = _numbered([ballot.problem for ballot in ballots])
    base = _right(RULES["majority"], ballots)
    return [_score(name, _right(rule, ballots), base, problems) for name, rule in rules.items()]


def _right(rule: Rule, ballots: Sequence[Ballot]) -> Floats:
    """1 for each ballot that the rule decides rightly."""
    firsts = [rule(ballot.traces)[:1] for ballot in ballots]
    pairs = zip(firsts, ballots, strict=True)
    return np.array([float(bool(v) and v[0].answer == ballot.gold) for v, ballot in pairs])


def _score(name: str, right: Floats, base: Floats, problems: NDArray[np.intp]) -> Score:
    sizes = np.bincount(problems)
    means = np.bincount(problems, right) / sizes
    gains = np.bincount(problems, right - base) / sizes
    return Score(
        name,
        float(means.mean()),
        interval(means, LEVEL),
        float(gains.mean()),
        interval(gains, LEVEL),
        int((right > base).sum()),
        int((right < base).sum()),
    )


def _numbered(names: Sequence[str]) -> NDArray[np.intp]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.intp)


def tallies(ballots: Sequence[Ballot]) -> list[Tally]:
    """The votes in numbers, without those in which no sample answered."""
    found = (_tally(ballot.traces, ballot.gold) for ballot in ballots)
    return [tally for tally in found if tally is not None]


def parts(ballots: Sequence[Ballot], draws: int, seed: int = 0) -> Iterator[list[Tally]]:
    """For each ballot the tallies of that many random parts of its samples, of any size from 2."""
    rng = random.Random(seed)
    for ballot in ballots:
        sizes = [rng.randint(min(2, len(ballot.traces)), len(ballot.traces)) for _ in range(draws)]
        found = (_tally(rng.sample(list(ballot.traces), size), ballot.gold) for size in sizes)
        yield [tally for tally in found if tally is not None]


def _tally(traces: Sequence[Trace], gold: int) -> Tally | None:
    ranked = RULES["majority"](traces)
    if not ranked:
        return None
    rival = ranked[1].weight if len(ranked) > 1 else 0.0
    return Tally(int(ranked[0].weight), int(rival), ended(traces), ranked[0].answer == gold)


def fit(tallies: Sequence[Tally], weights: Sequence[float] | None = None) -> tuple[float, float]:
    """Slope and intercept of the confidence that suit the tallies best (logistic regression)."""
    leads = [lead(t.votes, t.rival, t.samples) for t in tallies]
    x = np.stack([np.array(leads), np.ones(len(leads))], axis=1)
    y = np.array([float(t.right) for t in tallies])
    w = np.ones(len(y)) if weights is None else np.array(weights)
    theta = np.zeros(2)
    for _ in range(25):  # Newton's steps; the small ridge keeps a separable set finite
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -30, 30)))
        gradient = x.T @ (w * (y - p)) - 1e-3 * theta
        hessian = (x * (w * p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        theta = theta + np.linalg.solve(hessian, gradient)
    return float(theta[0]), float(theta[1])


def quality(stated: Sequence[float], right: Sequence[bool]) -> Quality:
    """How good the stated probabilities are."""
    p, y = np.array(stated), np.array(right, dtype=float)
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    off = np.bincount(bins, p - y, minlength=BINS)  # count times the bin's error
    return Quality(float(np.mean((p - y) ** 2)), float(np.abs(off).sum() / len(p)))


def confidences(
    tallies: Sequence[Tally], slope: float = SLOPE, intercept: float = INTERCEPT
) -> list[float]:
    """What the kit states for each of the votes, or would with other constants."""
    return [logistic(slope * lead(t.votes, t.rival, t.samples) + intercept) for t in tallies]


def rules_table(scores: Sequence[Score], title: str = "") -> Table:
    """The scores as a table, in per cent; gains are points over the majority."""
    table = Table("rule", "accuracy", "95%", "gain", "95%", "won/lost", title=title)
    for score in scores:
        table.add_row(
            score.rule,
            f"{score.accuracy:.1%}",
            _range(*score.interval, ".1%"),
            f"{100 * score.gain:+.2f}",
            _range(100 * score.gain_interval[0], 100 * score.gain_interval[1], "+.2f"),
            f"{score.won}/{score.lost}",
        )
    return table


def _range(low: float, high: float, form: str) -> str:
    return f"{low:{form}}..{high:{form}}"


def quality_lines(ballots: Sequence[Ballot]) -> list[str]:
    """The confidence against the plain share of votes, a line each; none where nobody voted."""
    counted = tallies(ballots)
    if not counted:
        return []
    right = [t.right for t in counted]
    stated = {
        "share of votes": [t.votes / t.samples for t in counted],
        "confidence": confidences(counted),
    }
    found = {name: quality(values, right) for name, values in stated.items()}
    return [f"{name}: Brier {q.brier:.4f}, ECE {q.ece:.3f}" for name, q in found.items()]
