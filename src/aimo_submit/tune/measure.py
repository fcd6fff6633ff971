"""Measures how quickly an engine generates, asking it as the loop does, but for fixed lengths.

Each lane has a prompt of its own, so that none reads another's keys and values. What a step takes
is the difference between drawing many tokens and drawing one: prompts and calls drop out. What a
turn takes is the difference between drawing tokens in several, an output after each, and in one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from aimo_submit.engines import Engine, Sampling
from aimo_submit.records import Finish
from aimo_submit.run import seed_of
from aimo_submit.tune.profile import DIGITS, OUTPUT, RUNNING

PREFILLED = 8  # prompts at once: enough to fill the engine, few enough for any cache
REPEATS = 3  # of which the median counts
CHECKED = 48  # lanes of unequal lengths that the result has to predict
TURNS = 4  # in which lanes draw their tokens where turns are measured
TAKING_TURNS = 16  # lanes: few enough that most turns end alone, as in real problems
_TEXT = "Find the remainder when $2^{40} + 37x$ is divided by 1000. We do it step by step: 12, 8"


@dataclass(frozen=True, slots=True)
class LaneLengths:
    """Of every lane's prompt, and of what it draws."""

    prompt: int
    drawn: int = 64

    @property
    def held(self) -> int:
        """Tokens that a lane holds in the mean step."""
        return self.prompt + self.drawn // 2

    @property
    def most(self) -> int:
        """Tokens that a lane holds at the end of the longest run, those between turns included."""
        return self.prompt + 4 * self.drawn


def lane_lengths(context: int, sample_tokens: int) -> LaneLengths:
    """Lengths at which a lane holds what a running sample of the model holds."""
    drawn = max(1, min(64, context // 16))
    held = min(sample_tokens, context - 4 * drawn)
    return LaneLengths(max(2, held - drawn // 2), drawn)


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements, with a batch of unequal lengths that they have to predict."""

    steps: tuple[tuple[int, float], ...]
    spread: float  # by how much the slowest repeat of a step took longer, up to nine times
    prefill_s: float  # a token
    turn_s: float  # that a lane's next turn holds all lanes up
    drawn: tuple[int, ...]  # by each lane of the batch
    batch_s: float  # that it took, prompts included


async def measure(
    engine: Engine, lengths: LaneLengths, widest: int, note: Callable[[str], None]
) -> Measured:
    """Steps of 1, 2, 4 ... `widest` lanes, a prompt's token, a turn, a batch to compare with."""
    lanes = _Lanes(engine, lengths.prompt)
    await lanes.run([lengths.drawn] * PREFILLED)  # kernels are compiled, caches laid out
    await lanes.run([1] * widest)  # prompts are cached, where prompts are
    widths = [*(b for b in RUNNING if b < widest), widest]
    found: dict[int, list[float]] = {running: [] for running in widths}
    for repeat in range(1, REPEATS + 1):  # in turn: what disturbs one repeat spares the next
        for running in widths:
            found[running].append(await _step_s(lanes, running, lengths.drawn))
            step_s = found[running][-1]
            note(f"{repeat}/{REPEATS}: {running} samples, {1e3 * step_s:.2f} ms a step")
    steps = tuple((running, round(median(found[running]), DIGITS)) for running in widths)
    prefill_s = await _prefill_s(lanes, steps)
    turn_s = await _turn_s(lanes, lengths, min(TAKING_TURNS, widest))
    batch = await _batch(lanes, lengths, min(CHECKED, widest))
    spread = min(9.0, max(max(each) / min(each) for each in found.values()) - 1)
    return Measured(steps, spread, prefill_s, turn_s, tuple(batch.drawn), batch.seconds)


async def _batch(lanes: _Lanes, lengths: LaneLengths, width: int) -> _Ran:
    """A batch of unequal lengths with prompts that are new."""
    draw = random.Random(0)
    wanted = [draw.randint(1, 2 * lengths.drawn) for _ in range(width)]
    found = [await lanes.fresh().run(wanted) for _ in range(REPEATS)]
    return sorted(found)[REPEATS // 2]


async def _step_s(lanes: _Lanes, running: int, tokens: int) -> float:
    one = await lanes.run([1] * running)
    whole = await lanes.run([tokens] * running)
    more = sum(whole.drawn) - sum(one.drawn)
    return max((whole.seconds - one.seconds) / more * running, 1e-6)


async def _prefill_s(lanes: _Lanes, steps: Sequence[tuple[int, float]]) -> float:
    step_s = next(seconds for running, seconds in reversed(steps) if running <= PREFILLED)
    found = [(await lanes.fresh().run([1] * PREFILLED)).seconds - step_s for _ in range(REPEATS)]
    return round(max(median(found), 0.0) / (PREFILLED * lanes.prompt), DIGITS)


async def _turn_s(lanes: _Lanes, lengths: LaneLengths, width: int) -> float:
    tokens, found = [lengths.drawn] * width, list[float]()
    for _ in range(REPEATS):
        whole, split = await lanes.run(tokens), await lanes.run(tokens, TURNS)
        found.append((split.seconds - whole.seconds) / max(1, split.turns - whole.turns))
    return round(max(median(found), 0.0), DIGITS)


class _Ran(NamedTuple):
    """A run of lanes: seconds until the last was done, tokens of each, turns of all together."""

    seconds: float
    drawn: list[int]
    turns: int


class _Lanes:
    """Sequences side by side, each with its own prompt of nonsense."""

    def __init__(self, engine: Engine, prompt: int) -> None:
        self.prompt = prompt
        self._engine, self._name = engine, 0
        self._first = engine.encode("", prompt=True)
        self._vocabulary = sorted(set(engine.encode(_TEXT)))

    def fresh(self) -> _Lanes:
        """The same with prompts that no cache knows."""
        self._name += 1
        return self

    async def run(self, tokens: Sequence[int], turns: int = 1) -> _Ran:
        """Every lane draws so many tokens, in so many turns or more."""
        prompts = [self._prompt(lane) for lane in range(len(tokens))]
        now = asyncio.get_running_loop().time
        start = now()
        each = (self._lane(lane, prompts[lane], n, turns) for lane, n in enumerate(tokens))
        drawn, taken = zip(*await asyncio.gather(*each), strict=True)
        return _Ran(now() - start, list(drawn), sum(taken))

    async def _lane(self, lane: int, prompt: list[int], tokens: int, turns: int) -> tuple[int, int]:
        """Draws the tokens; where the model ends its turn early, a word more lets it go on."""
        words = random.Random(seed_of(self._name, lane))
        longest, drawn, taken = -(-tokens // turns), 0, 0
        length = longest if turns == 1 else words.randint(1, longest)  # the lanes out of step
        while drawn < tokens:
            sampling = Sampling(
                temperature=1.0,
                top_p=1.0,
                max_new_tokens=min(length, tokens - drawn),
                stop=(),
                seed=words.getrandbits(31),
                sample=lane + 1,
            )
            done = await self._engine.complete(prompt, sampling)
            drawn, taken = drawn + len(done.tokens) + (done.finish is Finish.EOS), taken + 1
            between = 1 if done.finish is Finish.EOS else min(OUTPUT, tokens // 2)
            prompt = [*prompt, *done.tokens, *words.choices(self._vocabulary, k=between)]
            length = longest
        return drawn, taken

    def _prompt(self, lane: int) -> list[int]:
        words = random.Random(seed_of(self._name, lane))
        return self._first + words.choices(self._vocabulary, k=self.prompt - len(self._first))
