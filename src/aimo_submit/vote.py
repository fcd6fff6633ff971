"""From the samples' answers to one answer.

A rule takes the traces and returns the answers with their weights, the best first. Answers of
equal weight are ordered by the earliest sample that gave them, so a vote is deterministic and
does not depend on which sample happened to finish first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from aimo_submit.records import Trace, Vote

Rule = Callable[[Sequence[Trace]], list[Vote]]


def majority(traces: Sequence[Trace]) -> list[Vote]:
    """One vote a sample (self-consistency, arXiv 2203.11171)."""
    return _tally(traces, lambda trace: 1.0)


def confidence(traces: Sequence[Trace]) -> list[Vote]:
    """Each sample weighs the geometric mean probability of its tokens."""
    return _tally(traces, lambda trace: math.exp(_mean_logprob(trace)))


def _mean_logprob(trace: Trace) -> float:
    total = sum(r.completion.mean_logprob * len(r.completion.tokens) for r in trace.rounds)
    return total / max(1, trace.n_tokens)


def _tally(traces: Sequence[Trace], weigh: Callable[[Trace], float]) -> list[Vote]:
    weights: dict[int, float] = {}
    for trace in sorted(traces, key=lambda t: t.sample):
        if trace.answer is not None:
            weights[trace.answer] = weights.get(trace.answer, 0.0) + weigh(trace)
    ranked = sorted(weights.items(), key=lambda pair: -pair[1])  # stable: ties keep their order
    return [Vote(answer, weight) for answer, weight in ranked]


RULES: dict[str, Rule] = {"majority": majority, "confidence": confidence}
