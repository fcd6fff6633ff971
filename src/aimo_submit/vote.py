"""From the samples' answers to one answer, and how sure to be of it.

A rule takes the traces and returns the answers with their weights, the best first. Answers of
equal weight are ordered by the earliest sample that gave them: samples are drawn alike, so none
is favoured, and the order does not depend on which sample happened to finish first.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

from aimo_submit.records import Outcome, Status, Trace, Vote

Rule = Callable[[Sequence[Trace]], list[Vote]]
Signal = Callable[[Trace], float]  # higher: more to be trusted

BETA = 0.25  # a weight is exp(BETA * standardised signal); larger ones can cost: docs/log/votes.md

# The log-odds that the leader is right are SLOPE * lead + INTERCEPT. Fitted to 2,621 problems that
# other models answered: `benchmarks/votes.py` prints both, and how well they hold.
SLOPE, INTERCEPT = 5.4, -0.44

_NUMBER = re.compile(r"-?\d++(?:\.\d++)?")


def majority(traces: Sequence[Trace]) -> list[Vote]:
    """One vote a sample (self-consistency, arXiv 2203.11171)."""
    return _tally(traces, [1.0] * len(traces))


def weighted(*signals: Signal) -> Rule:
    """Makes the rule in which a sample weighs exp(BETA * mean of its standardised signals).

    A signal is standardised over the problem's answered samples; where it is the same in all of
    them it says nothing, and the rule is the majority.
    """

    def rule(traces: Sequence[Trace]) -> list[Vote]:
        answered = [t for t in traces if t.answer is not None]
        columns = [_standardised([signal(t) for t in answered]) for signal in signals]
        scores = [math.fsum(row) / len(row) for row in zip(*columns, strict=True)]
        return _tally(answered, [math.exp(BETA * score) for score in scores])

    return rule


def logprob(trace: Trace) -> float:
    """Returns the mean log-probability of the sample's tokens."""
    total = sum(r.completion.mean_logprob * len(r.completion.tokens) for r in trace.rounds)
    return total / max(1, trace.n_tokens)


def agreement(trace: Trace) -> float:
    """1 where the last output of the sample's code holds its answer, -1 where not, 0 without."""
    runs = [r.execution for r in trace.rounds if r.execution and r.attempt == trace.attempt]
    outputs = [run.output for run in runs if run.outcome is Outcome.OK]
    if not outputs:
        return 0.0
    values = [_integer(number) for number in _NUMBER.findall(outputs[-1][-1000:])]
    # Of AIMO-1 an answer is the value modulo 1000.
    return 1.0 if any(v is not None and trace.answer in (v, v % 1000) for v in values) else -1.0


def brevity(trace: Trace) -> float:
    """Fewer blocks of code run, in all attempts: those who had to repair are less often right."""
    return -float(sum(r.execution is not None for r in trace.rounds))


def coded(trace: Trace) -> float:
    """1 where the sample wrote code to run, 0 where it only reasoned."""
    return float(any(r.code is not None for r in trace.rounds))


def boxed(trace: Trace) -> float:
    """1 where the sample's last words hold a box, 0 where its answer stands in a sentence."""
    return float(bool(trace.rounds) and "boxed" in trace.rounds[-1].completion.text)


RULES: dict[str, Rule] = {
    "majority": majority,
    "logprob": weighted(logprob),
    "agreement": weighted(agreement),
    "rounds": weighted(brevity),
    "code": weighted(coded),
    "box": weighted(boxed),
    "code+box": weighted(coded, boxed),
    "agreement+rounds": weighted(agreement, brevity),  # for engines that give no logprobs
    "all": weighted(logprob, agreement, brevity),
}


def how_won(votes: Sequence[Vote]) -> str:
    """Says how the vote was won: "vote", or which tie the earliest sample decided."""
    tied = [str(vote.answer) for vote in votes if vote.weight == votes[0].weight]
    if len(tied) < 2:
        return "vote"
    return f"vote: {', '.join(tied)} tie, {tied[0]} comes from the earliest sample"


def confidence(traces: Sequence[Trace], answer: int) -> float:
    """Returns the calibrated probability that the answer is right; 0 for one that no sample gave.

    It rises with the answer's samples, falls with those of its best rival and with samples that
    ended without one. It knows nothing of the model: where samples err alike it is too sure.
    """
    counts = Counter(t.answer for t in traces if t.answer is not None)
    own = counts.pop(answer, 0)
    rival = max(counts.values(), default=0)
    return logistic(SLOPE * lead(own, rival, ended(traces)) + INTERCEPT) if own else 0.0


def ended(traces: Sequence[Trace]) -> int:
    """Counts the samples that came to their own end; the others might have answered."""
    stopped = (Status.ACTIVE, Status.CANCELLED)
    return sum(t.answer is not None or t.status not in stopped for t in traces)


def lead(votes: int, rival: int, samples: int) -> float:
    """Returns by how much an answer leads its rival, as a share of the samples and one more."""
    return (votes - rival) / (samples + 1)


def logistic(x: float) -> float:
    """Returns the probability whose log-odds are x."""
    return 1.0 / (1.0 + math.exp(-x))


def _tally(traces: Sequence[Trace], weights: Sequence[float]) -> list[Vote]:
    given: dict[int, list[float]] = {}
    for trace, weight in sorted(zip(traces, weights, strict=True), key=lambda p: p[0].sample):
        if trace.answer is not None:
            given.setdefault(trace.answer, []).append(weight)
    votes = [Vote(answer, math.fsum(own)) for answer, own in given.items()]
    return sorted(votes, key=lambda vote: -vote.weight)  # stable: ties keep their order


def _standardised(values: Sequence[float]) -> list[float]:
    """Returns the values less their mean over their deviation; 0 for what is not a number."""
    known = [_bounded(v) for v in values if math.isfinite(v)]
    mean = math.fsum(known) / max(1, len(known))
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in known) / max(1, len(known)))
    if spread < 1e-9:  # rounding, not a difference
        return [0.0] * len(values)
    return [(_bounded(v) - mean) / spread if math.isfinite(v) else 0.0 for v in values]


def _bounded(value: float) -> float:
    return max(-1e6, min(1e6, value))  # squares of anything larger could overflow


def _integer(number: str) -> int | None:
    whole, _, fraction = number.partition(".")
    return int(whole) if not fraction.strip("0") else None
