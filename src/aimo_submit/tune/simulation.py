"""One problem simulated from recorded samples, under any allotment.

What `solver.solve` does, without the tokens: from one event to the next - a round is written, a
block of code has run - with every running sample a token further each s(b) seconds while b decode.
Stopping and starting are the allotment's own, so the budget that is simulated is the one that runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol

from aimo_submit.budget import Allotment, Tally
from aimo_submit.pacing import Effort
from aimo_submit.records import Trace
from aimo_submit.vote import majority

StepTime = Callable[[int], float]  # sequences decoding -> seconds a token


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of one problem in the order in which they would start."""

    answers: Sequence[int | None]
    tokens: Sequence[Sequence[float]]  # of each sample, for each round
    code_s: Sequence[Sequence[float]]  # between the rounds: one less

    def cut(self, samples: int, rounds: int) -> Samples:
        """The first N of them, M rounds deep; a longer one gives no answer."""
        tokens, code_s = self.tokens[:samples], self.code_s[:samples]
        given = zip(self.answers, tokens, strict=False)
        return Samples(
            [answer if len(written) <= rounds else None for answer, written in given],
            [written[:rounds] for written in tokens],
            [ran[: rounds - 1] for ran in code_s],
        )


@dataclass(frozen=True, slots=True)
class Simulated:
    """The end of a simulated problem."""

    leaders: Sequence[int]  # the answers with the most votes, that of the earliest sample first
    effort: Effort
    tokens: float  # decoded

    @property
    def answer(self) -> int | None:
        """The vote's answer."""
        return self.leaders[0] if self.leaders else None

    @property
    def score(self) -> float:
        """1 where the right answer, code 0, leads alone; its part where others lead with it."""
        return 1 / len(self.leaders) if 0 in self.leaders else 0.0


@dataclass(slots=True)
class _Batch:
    """The samples under way. `position` counts the tokens that each of them might have written."""

    samples: Samples
    step_s: StepTime
    turn_s: float  # that a sample which goes on after its code holds all up
    seconds: float = 0.0
    position: float = 0.0
    decoded: float = 0.0
    decoding: list[tuple[float, int]] = field(default_factory=list)  # heap: position at the end
    waiting: list[tuple[float, int]] = field(default_factory=list)  # heap: second at the end
    rounds: list[int] = field(default_factory=list)  # of each started: written so far
    began_s: list[float] = field(default_factory=list)
    seen_s: list[float] = field(default_factory=list)  # the end of its last round or block

    @property
    def running(self) -> int:
        return len(self.decoding) + len(self.waiting)

    def may_start(self, allotment: Allotment) -> bool:
        return allotment.may_start(self.seconds, self.running, len(self.rounds))

    def start(self) -> None:
        k = len(self.rounds)
        self.rounds.append(0)
        self.began_s.append(self.seconds)
        self.seen_s.append(self.seconds)
        heappush(self.decoding, (self.position + self.samples.tokens[k][0], k))

    def advance(self, limit_s: float) -> Sequence[int] | None:
        """The samples that end with the next event, mostly none; None where the limit is first.

        Tuning spends most of its time here: attributes are looked up once.
        """
        decoding, waiting, seconds = self.decoding, self.waiting, self.seconds
        written_s = ran_s = math.inf
        if decoding:
            batch, left = len(decoding), decoding[0][0] - self.position
            pace = self.step_s(batch)
            written_s = seconds + left * pace
        if waiting and (ran_s := waiting[0][0]) < seconds:
            ran_s = seconds
        now_s = self.seconds = min(written_s, ran_s, limit_s)
        if decoding:
            steps = (now_s - seconds) / pace
            self.decoded += steps * batch
            self.position += steps
        if now_s >= limit_s:
            return None
        if written_s <= ran_s:
            return self._written()
        k = heappop(waiting)[1]
        self.seen_s[k] = now_s
        self.seconds += self.turn_s
        heappush(decoding, (self.position + self.samples.tokens[k][self.rounds[k]], k))
        return ()

    def _written(self) -> Sequence[int]:
        decoding, rounds, seconds, ended = self.decoding, self.rounds, self.seconds, []
        end = self.position = decoding[0][0]
        while decoding and decoding[0][0] == end:
            k = heappop(decoding)[1]
            done, code_s = rounds[k], self.samples.code_s[k]
            self.seen_s[k] = seconds
            if done == len(code_s):
                ended.append(k)
            else:
                heappush(self.waiting, (seconds + code_s[done], k))
                rounds[k] = done + 1
        return ended


def simulate_problem(
    samples: Samples,
    allotment: Allotment,
    step_s: StepTime,
    begin_s: float = 0.0,
    turn_s: float = 0.0,
) -> Simulated:
    """The problem under the allotment.

    `begin_s` passes before the first token, for the prompt, and `turn_s` whenever a sample joins
    the others again after its code.
    """
    if allotment.deadline_s <= 0:
        return Simulated([], Effort(0.0, 0, [], []), 0.0)
    batch = _Batch(samples, step_s, turn_s, seconds=begin_s)
    tally, order, most = Tally(), list[int](), len(samples.answers)
    for _ in range(min(allotment.width, most)):
        batch.start()
    while batch.decoding or batch.waiting:
        ended = batch.advance(allotment.deadline_s)
        if ended is None:
            break
        if not ended:
            continue
        order += ended
        for k in ended:
            tally.add(samples.answers[k])
        if allotment.settles(tally, batch.running):
            break
        while len(batch.rounds) < most and batch.may_start(allotment):
            batch.start()
    effort = _effort(batch, allotment, order, tally.lead - tally.rival)
    return Simulated(_leaders(samples, tally, order), effort, batch.decoded)


def _effort(batch: _Batch, allotment: Allotment, order: Sequence[int], lead: int) -> Effort:
    lived_s = [seen - began for seen, began in zip(batch.seen_s, batch.began_s, strict=True)]
    running = [k for _, k in batch.decoding] + [k for _, k in batch.waiting]
    ended = [(math.fsum(batch.samples.tokens[k]), lived_s[k]) for k in order]
    cut_s = [batch.seconds if k < allotment.width else lived_s[k] for k in running]
    return Effort(batch.seconds, allotment.width, ended, cut_s, lead)


def _leaders(samples: Samples, tally: Tally, order: Sequence[int]) -> Sequence[int]:
    """The answers that the vote holds equal at its top; only a tie needs the vote itself."""
    if tally.leader is not None and tally.lead > tally.rival:
        return [tally.leader]
    votes = majority([Trace(k, answer=samples.answers[k]) for k in order])
    return [vote.answer for vote in votes if vote.weight == votes[0].weight]


class Policy(Protocol):
    """A rule for problems' time, which learns from what they used; `Budget` is one."""

    def begin(self) -> Allotment:
        """The allotment of the next problem."""
        ...

    def end(self, effort: Effort) -> object:
        """Takes note of what it used."""
        ...
