"""One problem played from recorded samples, under any allotment; many, under a policy.

What `solver.solve` does, without the tokens: from one event to the next - a round is written, a
block of code has run - with every running sample a token further each s(b) seconds while b decode.
Stopping and starting are the allotment's own, so the budget that is simulated is the one that runs.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Played:
    """What a problem came to."""

    answer: int | None
    effort: Effort
    tokens: float  # decoded


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
    lived_s: list[float] = field(default_factory=list)  # to the end of its last whole round

    @property
    def running(self) -> int:
        return len(self.decoding) + len(self.waiting)

    def start(self) -> None:
        k = len(self.rounds)
        self.rounds.append(0)
        self.began_s.append(self.seconds)
        self.lived_s.append(0.0)
        heapq.heappush(self.decoding, (self.position + self.samples.tokens[k][0], k))

    def advance(self, limit_s: float) -> list[int] | None:
        """The samples that end with the next event, mostly none; None where the limit is first."""
        waits_s = max(self.seconds, self.waiting[0][0]) if self.waiting else math.inf
        batch = len(self.decoding)
        pace = self.step_s(batch) if batch else math.inf
        steps = self.decoding[0][0] - self.position if batch else math.inf
        written_s = self.seconds + steps * pace
        if min(written_s, waits_s) >= limit_s:
            self._pass(limit_s, (limit_s - self.seconds) / pace)
            return None
        if written_s > waits_s:
            self._pass(waits_s, (waits_s - self.seconds) / pace)
            self._resume(heapq.heappop(self.waiting)[1])
            return []
        end = self.decoding[0][0]
        self._pass(written_s, steps)
        self.position = end
        return self._written(end)

    def _pass(self, until_s: float, steps: float) -> None:
        self.decoded += steps * len(self.decoding)
        self.position += steps
        self.seconds = until_s

    def _resume(self, k: int) -> None:
        self.lived_s[k] = self.seconds - self.began_s[k]
        self.seconds += self.turn_s
        end = self.position + self.samples.tokens[k][self.rounds[k]]
        heapq.heappush(self.decoding, (end, k))

    def _written(self, end: float) -> list[int]:
        ended = []
        while self.decoding and self.decoding[0][0] == end:
            k = heapq.heappop(self.decoding)[1]
            code_s = self.samples.code_s[k]
            self.lived_s[k] = self.seconds - self.began_s[k]
            if self.rounds[k] == len(code_s):
                ended.append(k)
                continue
            heapq.heappush(self.waiting, (self.seconds + code_s[self.rounds[k]], k))
            self.rounds[k] += 1
        return ended


def play(
    samples: Samples,
    allotment: Allotment,
    step_s: StepTime,
    begin_s: float = 0.0,
    turn_s: float = 0.0,
) -> Played:
    """The problem under the allotment.

    `begin_s` passes before the first token, for the prompt, and `turn_s` whenever a sample joins
    the others again after its code.
    """
    if allotment.deadline_s <= 0:
        return Played(None, Effort(0.0, 0, [], []), 0.0)
    batch = _Batch(samples, step_s, turn_s, seconds=begin_s)
    tally, order, most = Tally(), list[int](), len(samples.answers)
    for _ in range(min(allotment.width, most)):
        batch.start()
    while batch.running:
        ended = batch.advance(allotment.deadline_s)
        if ended is None:
            break
        for k in ended:
            tally.add(samples.answers[k])
        order += ended
        if ended and allotment.settles(tally, batch.running):
            break
        while len(batch.rounds) < most and ended and _may_start(allotment, batch):
            batch.start()
    effort = _effort(batch, allotment, order, tally.lead - tally.rival)
    return Played(_winner(samples, tally, order), effort, batch.decoded)


def _may_start(allotment: Allotment, batch: _Batch) -> bool:
    return allotment.may_start(batch.seconds, batch.running, len(batch.rounds))


def _effort(batch: _Batch, allotment: Allotment, order: Sequence[int], lead: int) -> Effort:
    running = [k for _, k in batch.decoding] + [k for _, k in batch.waiting]
    ended = [(math.fsum(batch.samples.tokens[k]), batch.lived_s[k]) for k in order]
    cut_s = [batch.seconds if k < allotment.width else batch.lived_s[k] for k in running]
    return Effort(batch.seconds, allotment.width, ended, cut_s, lead)


def _winner(samples: Samples, tally: Tally, order: Sequence[int]) -> int | None:
    """The vote's first answer; only a tie needs the vote itself."""
    if tally.lead > tally.rival:
        return tally.leader
    votes = majority([Trace(k, answer=samples.answers[k]) for k in order])
    return votes[0].answer if votes else None


class Policy(Protocol):
    """What decides over a problem's time; `Budget` is one."""

    def begin(self) -> Allotment:
        """What the next problem may use."""
        ...

    def end(self, effort: Effort) -> object:
        """Takes note of what it used."""
        ...


@dataclass
class Clock:
    """The seconds since a run began."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def run(
    policy: Policy,
    clock: Clock,
    problems: Sequence[Callable[[Allotment], Played]],
    gap_s: float = 0.0,
) -> list[Played]:
    """The problems under the policy, one after the other, on its clock."""
    played = []
    for problem in problems:
        played.append(problem(policy.begin()))
        clock.now_s += played[-1].effort.seconds
        policy.end(played[-1].effort)
        clock.now_s += gap_s
    return played
