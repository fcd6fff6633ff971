"""Tokens and seconds of a sample: assumed at first, learned from the samples seen."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist

SPREAD = 0.6  # of the logarithm of a sample's length, where nothing longer was seen
PRIOR_SAMPLES = 8  # samples seen that weigh as much as the pacing handed in
PRIOR_S = 120.0  # likewise, in seconds of samples' lives


@dataclass(frozen=True, slots=True)
class Pacing:
    """A sample's tokens, and for each token s0 + s1*b seconds with b samples running.

    The defaults are a 7B model's on two T4s; `Learner` replaces them within a problem or two.
    """

    tokens: float = 1915.0  # the median sample's
    s0: float = 0.045
    s1: float = 0.0035

    def step_s(self, running: float) -> float:
        """Seconds a token takes with so many samples running."""
        return self.s0 + self.s1 * running

    def sample_s(self, running: float) -> float:
        """Seconds a median sample takes with so many running."""
        return self.tokens * self.step_s(running)

    def width(self, seconds: float) -> int:
        """Returns how many samples may run together if a median one is to end in the seconds."""
        return math.floor((seconds / self.tokens - self.s0) / max(self.s1, 1e-9))


@dataclass(frozen=True, slots=True)
class Effort:
    """One problem's time and samples, as used."""

    seconds: float
    width: int  # samples at once
    ended: Sequence[tuple[float, float]]  # tokens and seconds of each sample that ended
    cut_s: Sequence[float]  # seconds of the others, at least
    lead: int = 0  # votes of the first answer before the second

    @property
    def started(self) -> int:
        """The number of samples that were started."""
        return len(self.ended) + len(self.cut_s)


class Learner:
    """The pacing: the one handed in, corrected by the problems since."""

    def __init__(self, prior: Pacing) -> None:
        self._prior = self.pacing = prior
        self._ended = Counter({_bucket(prior.tokens): PRIOR_SAMPLES})
        self._cut: Counter[int] = Counter()
        self._seen_s = self._foreseen_s = PRIOR_S

    def learn(self, effort: Effort) -> None:
        """Takes a problem into account.

        One factor corrects s0 and s1 together: in one run b varies too little to part them.
        """
        tokens, life, company = _lived(effort) or self._none_ended(effort)
        self._seen_s += life
        self._foreseen_s += tokens * self._prior.step_s(company)
        self._ended.update(_bucket(tokens) for tokens, _ in effort.ended)
        self._cut.update(_bucket(seconds * tokens / life) for seconds in effort.cut_s if life)
        factor = self._seen_s / self._foreseen_s
        s0, s1 = factor * self._prior.s0, factor * self._prior.s1
        self.pacing = Pacing(_median(self._ended, self._cut), s0, s1)

    def _none_ended(self, effort: Effort) -> tuple[float, float, float]:
        """As if each sample had been about to take twice its time: the next problem runs fewer."""
        begun = len(effort.cut_s)
        return begun * self.pacing.tokens, begun * 2 * effort.seconds, effort.width


def _lived(effort: Effort) -> tuple[float, float, float] | None:
    """Sums tokens and seconds of the samples that ended; with how many ran in their mean second.

    The last as if all had begun together: where more began than run at once, it is the width.
    """
    ended = [(tokens, life) for tokens, life in effort.ended if life > 0]
    if not ended:
        return None
    lives = sorted([life for _, life in ended] + [*effort.cut_s])
    before = [0.0, *accumulate(lives)]  # before[i]: what the i shortest lived

    def together(life: float) -> float:
        shorter = bisect(lives, life)
        return before[shorter] + life * (len(lives) - shorter)

    tokens, life = (math.fsum(column) for column in zip(*ended, strict=True))
    company = math.fsum(together(life) for _, life in ended) / life
    return tokens, life, min(effort.width, company)


_PER_OCTAVE = 16  # buckets of lengths: each 4% longer than the one before


def _bucket(tokens: float) -> int:
    return round(_PER_OCTAVE * math.log2(min(max(1.0, tokens), 1e9)))


def _median(ended: Counter[int], cut: Counter[int]) -> float:
    """Returns the median length where of some only a lower bound is known (Kaplan and Meier 1958).

    Where most were cut, it lies beyond what was seen: by as much as in a log-normal of SPREAD.
    """
    at_risk, surviving, last = ended.total() + cut.total(), 1.0, 0
    for last in sorted(ended | cut):
        surviving *= 1 - ended[last] / at_risk
        at_risk -= ended[last] + cut[last]
        if surviving <= 0.5:
            return float(2 ** (last / _PER_OCTAVE))
    beyond = -SPREAD * NormalDist().inv_cdf(max(0.01, 1 - surviving))
    return float(2 ** (last / _PER_OCTAVE)) * math.exp(beyond)
