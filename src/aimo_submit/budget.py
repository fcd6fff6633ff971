"""Seconds into samples: how long a problem may take, how many samples start, when it is decided.

Problems come one at a time, on one clock, with no going back. `Budget` hands each an `Allotment`
and learns the pace from its `Effort`; every rule is a function of numbers, which the solver and
the simulator (`benchmarks/budget.py`) share. docs/log/budget.md derives the constants.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from aimo_submit.pacing import Effort, Learner, Pacing
from aimo_submit.records import Named, Status, Trace

RESERVE_S = 120.0  # never planned with: the longest stall that has to fit in at the end
RESERVE_SHARE = 0.02  # of the total, likewise
RESERVE_MOST = 0.1  # of the total, where that is less than RESERVE_S: a rehearsal of minutes
OVERHEAD_S = 2.0  # between a problem's deadline and the next problem: winding up, the gateway
CAP = 2.5  # no problem gets more than so many equal shares
SPEND = 0.5  # the part of what was banked that one problem may take
UNKNOWN_MOST = 2  # times the expected number of problems: the most there may plausibly be
UNKNOWN_LEFT = 0.1  # of the expected number, and 2: as many more are always reckoned with
FEWEST = 4  # samples at once: with fewer, a vote says little
POOLED = 0.5  # of N samples run at once where only tokens are to be saved, not time
REFILL = 2  # times N samples: where an undecided problem stops starting more
ANSWERED = 4  # votes before a lead that is merely likely to hold ends a problem
EPS_TIGHT, EPS_AMPLE = 0.15, 0.02  # accepted chance that the leader would have lost
TIGHT, AMPLE = 0.3, 1.0  # share of the time N samples take, up and down to which each eps holds
TAIL = 1.46  # time until the last of N samples ends, over that of a median one among N


class Stop(Named):
    """Why no more was done for a problem."""

    COMPLETE = "every sample ended"
    DECIDED = "the vote was decided"
    DEADLINE = "the time was up"


class Tally:
    """The samples of a problem that have ended, in the order in which they did."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.ended = self.lead = self.rival = 0  # lead and rival: the votes of the first two
        self.leader: int | None = None
        self._counts: Counter[int] = Counter()

    def add(self, answer: int | None) -> None:
        """Counts a sample that has ended, with or without an answer."""
        self.ended += 1
        if answer is None:
            return
        self.answers.append(answer)
        self._counts[answer] += 1
        count = self._counts[answer]
        if answer == self.leader:
            self.lead = count
        elif count > self.lead:
            self.leader, self.lead = answer, count  # from a tie: `rival` is right already
        else:
            self.rival = max(self.rival, count)


@dataclass(frozen=True, slots=True)
class Allotment:
    """One problem's time and samples. The time runs from when it was handed out."""

    deadline_s: float = math.inf
    width: int = 48  # samples at once
    samples: int = 48  # samples in all
    eps: float | None = None  # chance of a wrong winner at which the vote is decided; None: never
    least: int = 0  # samples that a vote gets until it is decided, likely to end in time or not
    pacing: Pacing = Pacing()

    def may_start(self, elapsed_s: float, running: int, started: int) -> bool:
        """True if a place is free and one more sample is owed or likely to end in time."""
        if running >= self.width or started >= self.samples:
            return False
        in_time = elapsed_s + self.pacing.sample_s(running + 1) < self.deadline_s
        return in_time or started < self.least

    def settles(self, tally: Tally, running: int) -> bool:
        """True if the vote is decided with so many samples still running."""
        if self.eps is None:
            return False
        outstanding = max(running, self.least - tally.ended)
        return decided(tally.lead, tally.rival, len(tally.answers), outstanding, self.eps)


def pooled(samples: int, limit_s: float, eps: float | None) -> Allotment:
    """Allots N samples to their end where no budget is kept; with an eps, until it is decided."""
    if eps is None:
        return Allotment(limit_s, samples, samples)
    return Allotment(limit_s, math.ceil(POOLED * samples), samples, eps, least=samples)


def decided(lead: int, rival: int, answered: int, outstanding: int, eps: float) -> bool:
    """True if the leader cannot lose any more, or only with a chance of `eps` at most."""
    if lead - rival > outstanding:
        return True
    return eps > 0 and answered >= ANSWERED and flip(lead, rival, outstanding) <= eps


@lru_cache(maxsize=1 << 16)
def flip(a: int, b: int, r: int) -> float:
    """Returns the chance that `a` votes in the lead lose to `b` after `r` more votes.

    x ~ BetaBinomial(r; a+1, b+1) of them go to the leader; a tie counts half. It is 0 exactly
    when no outcome can change the leader. (r without end: Adaptive-Consistency, arXiv 2305.11860.)
    """
    if a - b > r:
        return 0.0
    need = b + r - a  # the leader loses with x < need / 2
    lost = sum(_beta_binomial(x, r, a + 1, b + 1) for x in range((need + 1) // 2))
    tied = _beta_binomial(need // 2, r, a + 1, b + 1) if need % 2 == 0 else 0.0
    return min(1.0, lost + tied / 2)


def _beta_binomial(x: int, r: int, a: int, b: int) -> float:
    choose = math.lgamma(r + 1) - math.lgamma(x + 1) - math.lgamma(r - x + 1)
    return math.exp(choose + _log_beta(a + x, b + r - x) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def deadline(rem_s: float, left: int, share0_s: float) -> float:
    """Returns this problem's seconds, of `rem_s` for `left` problems at first due `share0_s` each.

    At most CAP equal shares, and of what was banked only a part: SPEND is at most a half, so that
    the problems after this one still get their share0_s, unless there is less than that.
    """
    share = rem_s / left
    banked = max(0.0, rem_s - left * share0_s)
    return min(CAP * share0_s, share + SPEND * banked, rem_s)


def reserve(total_s: float) -> float:
    """Returns the seconds of the total that are not planned with."""
    return max(min(RESERVE_S, RESERVE_MOST * total_s), RESERVE_SHARE * total_s)


def threshold(share_s: float, full_s: float) -> float:
    """Returns the eps for a problem with that share, where N samples to their end take `full_s`."""
    z = min(1.0, max(0.0, (share_s / full_s - TIGHT) / (AMPLE - TIGHT)))
    return float(EPS_TIGHT ** (1 - z) * EPS_AMPLE**z)


def effort_of(traces: Sequence[Trace], seconds: float, width: int) -> Effort:
    """Sums up a problem's traces; the first `width` samples began with the problem."""
    ended, cut_s, tally = [], [], Tally()
    for trace in traces:
        life = sum(r.engine_s + r.sandbox_s for r in trace.rounds)
        if trace.status not in (Status.ACTIVE, Status.CANCELLED) and trace.n_tokens:
            ended.append((float(trace.n_tokens), life))
            tally.add(trace.answer)
        else:
            cut_s.append(seconds if trace.sample < width else life)
    return Effort(seconds, width, ended, cut_s, tally.lead - tally.rival)


def stop_of(allotment: Allotment, effort: Effort) -> Stop:
    """Returns why a problem that was given the allotment ended."""
    if effort.seconds >= allotment.deadline_s:
        return Stop.DEADLINE
    if not effort.cut_s and effort.started >= allotment.samples:
        return Stop.COMPLETE
    if effort.cut_s or effort.lead > 0:
        return Stop.DECIDED
    return Stop.DEADLINE  # no time for another sample


@dataclass(frozen=True, slots=True)
class Terms:
    """The whole run's time and size."""

    total_s: float
    problems: int | None = None  # None: `expected`, without relying on it
    expected: int = 50
    samples: int = 48  # N
    longest_s: float = math.inf  # no problem may take longer, whatever there is
    eps: float | None = None  # in place of the one that follows from the time; None: that one


@dataclass(frozen=True, slots=True)
class Pace:
    """One problem's line in the account of a run's time."""

    problem: int  # from 0, in the order solved
    given_s: float
    used_s: float
    banked_s: float  # what remains beyond equal shares for the problems left; below 0: behind
    started: int
    finished: int
    stopped: Stop

    def __str__(self) -> str:
        return (
            f"problem {self.problem + 1}: {self.used_s:.0f} s of {self.given_s:.0f} s, "
            f"{self.banked_s:+.0f} s banked, {self.finished} of {self.started} samples ended, "
            f"{self.stopped}"
        )


class Budget:
    """The account of a run's time, from its making on: starting and loading count."""

    def __init__(
        self, terms: Terms, clock: Callable[[], float], pacing: Pacing | None = None
    ) -> None:
        self._terms, self._learner = terms, Learner(pacing or Pacing())
        self._clock, self._reading = clock, clock()
        self._now_s = self._began_s = self._worst_s = 0.0
        self._done = 0
        self._given = Allotment(0.0)

    def begin(self) -> Allotment:
        """Allots time and samples to the next problem."""
        self._began_s = self._tick()
        rem_s, left, pacing = self._rem_s, self._left, self._learner.pacing
        share_s = rem_s / left
        eps = self._terms.eps
        self._given = Allotment(
            deadline_s=min(deadline(rem_s, left, self._share0_s), self._terms.longest_s),
            width=min(self._terms.samples, max(FEWEST, pacing.width(share_s))),
            samples=REFILL * self._terms.samples,
            eps=threshold(share_s, self._full_s) if eps is None else eps,
            pacing=pacing,
        )
        return self._given

    def end(self, effort: Effort) -> Pace:
        """Closes the account of the problem begun last, and learns from it for the next ones."""
        used_s, given = self._tick() - self._began_s, self._given
        self._worst_s = max(self._worst_s, used_s - given.deadline_s)
        self._learner.learn(effort)
        self._done += 1
        banked_s = self._rem_s - self._left * self._share0_s
        counts = effort.started, len(effort.ended)
        stop = stop_of(given, effort)
        return Pace(self._done - 1, given.deadline_s, used_s, banked_s, *counts, stop)

    def _tick(self) -> float:
        """Seconds since the beginning. A jump back of the clock counts as no time at all."""
        before, self._reading = self._reading, self._clock()
        self._now_s += max(0.0, self._reading - before)
        return self._now_s

    @property
    def _plan_s(self) -> float:
        """The total without the reserve, which an overshoot seen once may recur in."""
        total_s = self._terms.total_s
        return max(0.0, total_s - max(reserve(total_s), self._worst_s))

    @property
    def _full_s(self) -> float:
        """Seconds in which all N samples of a problem end."""
        return TAIL * self._learner.pacing.sample_s(self._terms.samples)

    @property
    def _problems(self) -> int:
        """Their number; where unknown, the most if time is ample, else the expected."""
        if self._terms.problems is not None:
            return self._terms.problems
        most = UNKNOWN_MOST * self._terms.expected
        return most if self._plan_s / most >= self._full_s else self._terms.expected

    @property
    def _left(self) -> int:
        unknown = self._terms.problems is None
        fewest = max(2, math.ceil(UNKNOWN_LEFT * self._terms.expected)) if unknown else 1
        return max(self._problems - self._done, fewest)

    @property
    def _share0_s(self) -> float:
        return max(0.0, self._plan_s / self._problems - OVERHEAD_S)

    @property
    def _rem_s(self) -> float:
        return max(0.0, self._plan_s - self._now_s - self._left * OVERHEAD_S)
