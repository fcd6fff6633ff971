"""time(N, M) of a recorded pool, by replay: what N of its samples would take on another machine.

Every row is one problem with N samples drawn without replacement; all rows go forward together,
each from its own event to its next. A running sample writes a token every s(b) seconds with b
decoding (continuous batching: b falls as samples end or run code); the code takes the seconds it
took, and a sample that goes on after it holds all up for a moment, `turn_s`. As many run at once
as the KV cache holds at their mean length, the others wait. With `eps` half of the samples run at
once and a decided vote ends the rest, as `budget.pooled` has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aimo_submit.budget import ANSWERED, POOLED, decided
from aimo_submit.pool.arrays import Pool
from aimo_submit.tune.profile import Profile

SWEEP = 0.1  # share of rows that are done before they are taken out

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Draws:
    """R problems of a pool, each with all its samples in a random order; both as indices."""

    problem: Ints  # R
    order: Ints  # R x S; samples that are not there come last


@dataclass(frozen=True, slots=True)
class Replayed:
    """What each draw took, and the expected score of its vote where that may have been stopped."""

    seconds: Floats  # R x M
    score: Floats  # R x M: a tie with t others counts 1/(1+t)


def draw(pool: Pool, each: int, seed: int = 0) -> Draws:
    """`each` random orders of the samples of every problem, problem by problem."""
    problem = np.repeat(np.arange(len(pool.problems)), each)
    keys = np.random.default_rng(seed).random((len(problem), pool.answer.shape[1]))
    keys[~pool.present[problem]] = np.inf
    return Draws(problem, np.argsort(keys, axis=1))


def replay(
    pool: Pool, profile: Profile, draws: Draws, samples: int, depths: Ints, eps: float | None = None
) -> Replayed:
    """The draws with their first N samples, cut at each of the depths."""
    tables = _tables(pool, draws, samples)
    rows = _begun(tables, profile, pool.prompt_tokens[draws.problem], depths, eps)
    seconds, score = np.zeros(rows.count), np.zeros(rows.count)
    pace = np.asarray(profile.step_s(np.arange(samples + 1)), dtype=float)
    settled = _Settled(samples, eps)
    while rows.count:
        _step(rows, tables, pace, profile.turn_s, settled)
        done = ~rows.live
        if done.sum() > SWEEP * rows.count:
            seconds[rows.number[done]] = rows.ended_s[done]
            score[rows.number[done]] = _score(rows.votes[done])
            rows = rows.where(rows.live)
    shape = len(draws.problem), len(depths)
    return Replayed(seconds.reshape(shape), score.reshape(shape))


@dataclass(frozen=True, slots=True)
class _Tables:
    """What the drawn samples wrote and took: R x N, with D rounds each."""

    tokens: Floats
    code_s: Floats
    rounds: Ints
    answer: Ints
    answered: Ints


def _tables(pool: Pool, draws: Draws, samples: int) -> _Tables:
    at = draws.problem[:, None], draws.order[:, :samples]
    tokens = pool.tokens[at].astype(float)
    reached = np.where(tokens > 0, np.arange(1, tokens.shape[2] + 1), 1)
    return _Tables(
        tokens=tokens,
        code_s=pool.code_s[at].astype(float),
        rounds=reached.max(axis=2),
        answer=pool.answer[at].astype(np.intp),
        answered=pool.answered[at].astype(np.intp),
    )


@dataclass(slots=True)
class _Rows:
    """The rows still going. A slot (second axis) holds a sample that is under way."""

    number: Ints
    draw: Ints
    depth: Ints
    now: Floats
    position: Floats  # tokens that a sample running from the start would have written
    token_due: Floats  # x slots: position at which its round is written, inf: it is not writing
    clock_due: Floats  # x slots: second at which its code has run
    sample: Ints  # x slots
    round: Ints  # x slots
    decoding: Ints
    running: Ints
    started: Ints
    votes: Ints  # x codes
    leader: Ints
    lead: Ints
    rival: Ints
    live: Bools
    ended_s: Floats

    @property
    def count(self) -> int:
        return len(self.number)

    def where(self, kept: Bools) -> _Rows:
        """These rows only."""
        return _Rows(*(getattr(self, f.name)[kept] for f in fields(self)))


def _begun(
    tables: _Tables, profile: Profile, prompts: NDArray[np.int32], depths: Ints, eps: float | None
) -> _Rows:
    """Every draw at every depth, as many samples started as may run at once."""
    draws, samples, _ = tables.tokens.shape
    number = np.arange(draws * len(depths))
    draw, depth = number // len(depths), np.tile(depths, draws)
    width = _widths(tables, profile, prompts, depths).ravel()
    width = np.minimum(width, samples if eps is None else math.ceil(POOLED * samples))
    slots = np.tile(np.arange(width.max()), (len(number), 1))
    zeros = np.zeros(len(number), dtype=np.intp)
    due = np.where(slots < width[:, None], tables.tokens[draw][:, : slots.shape[1], 0], np.inf)
    return _Rows(
        number=number,
        draw=draw,
        depth=depth,
        now=profile.prefill_s * prompts[draw],
        position=np.zeros(len(number)),
        token_due=due,
        clock_due=np.full(due.shape, np.inf),
        sample=slots,
        round=np.zeros_like(slots),
        decoding=width.copy(),
        running=width.copy(),
        started=width,
        votes=np.zeros((len(number), 1 + int(tables.answer.max(initial=0))), dtype=np.intp),
        leader=zeros - 1,
        lead=zeros.copy(),
        rival=zeros.copy(),
        live=np.ones(len(number), dtype=bool),
        ended_s=np.zeros(len(number)),
    )


def _widths(tables: _Tables, profile: Profile, prompts: NDArray[np.int32], depths: Ints) -> Ints:
    """R x M: the samples that may run at once, by their mean length."""
    written = np.cumsum(tables.tokens, axis=2).mean(axis=1)[:, depths - 1]
    width = fitting(profile.kv_tokens, prompts[:, None], written)
    return np.minimum(width, tables.tokens.shape[1]).astype(np.intp)


def fitting(kv_tokens: int, prompts: NDArray[np.int32] | int, written: Floats | float) -> Floats:
    """How many samples of that many tokens a KV cache holds, their prompt held once; 1 at least."""
    return np.maximum(1.0, (float(kv_tokens) - prompts) // np.maximum(written, 1))


def _step(rows: _Rows, tables: _Tables, pace: Floats, turn_s: float, settled: _Settled) -> None:
    """Every row to its next event: a round is written, or a block of code has run."""
    index = np.arange(rows.count)
    writer, runner = rows.token_due.argmin(axis=1), rows.clock_due.argmin(axis=1)
    due, clock = rows.token_due[index, writer], np.maximum(rows.now, rows.clock_due[index, runner])
    step_s = pace[rows.decoding]
    with np.errstate(invalid="ignore"):  # rows that are done
        written_s = rows.now + (due - rows.position) * step_s
        written = written_s <= clock
        rows.position = np.where(written, due, rows.position + (clock - rows.now) / step_s)
    rows.now = np.minimum(written_s, clock)
    slot = np.where(written, writer, runner)
    sample, turn = rows.sample[index, slot], rows.round[index, slot]
    last = turn + 1 >= np.minimum(tables.rounds[rows.draw, sample], rows.depth)
    _run_code(rows, tables, np.nonzero(rows.live & written & ~last)[0], slot)
    _write_on(rows, tables, np.nonzero(rows.live & ~written)[0], slot, turn_s)
    _end(rows, tables, np.nonzero(rows.live & written & last)[0], slot, settled)


def _run_code(rows: _Rows, tables: _Tables, i: Ints, slot: Ints) -> None:
    at = i, slot[i]
    code_s = tables.code_s[rows.draw[i], rows.sample[at], rows.round[at]]
    rows.token_due[at], rows.clock_due[at] = np.inf, rows.now[i] + code_s
    rows.decoding[i] -= 1


def _write_on(rows: _Rows, tables: _Tables, i: Ints, slot: Ints, turn_s: float) -> None:
    at = i, slot[i]
    rows.now[i] += turn_s
    rows.round[at] += 1
    tokens = tables.tokens[rows.draw[i], rows.sample[at], rows.round[at]]
    rows.token_due[at], rows.clock_due[at] = rows.position[i] + tokens, np.inf
    rows.decoding[i] += 1


def _end(rows: _Rows, tables: _Tables, i: Ints, slot: Ints, settled: _Settled) -> None:
    """Counts the samples' votes; where these do not decide, the next sample takes the slot."""
    at = i, slot[i]
    rows.token_due[at] = np.inf
    rows.decoding[i] -= 1
    rows.running[i] -= 1
    drawn = rows.draw[i], rows.sample[at]
    given = (tables.answered[drawn] >= 0) & (tables.answered[drawn] < rows.depth[i])
    _vote(rows, i[given], tables.answer[drawn][given])
    stop = settled(rows, i)
    more = ~stop & (rows.started[i] < tables.tokens.shape[1])
    _start(rows, tables, i[more], slot)
    over = i[stop | (rows.running[i] == 0)]
    rows.live[over], rows.ended_s[over] = False, rows.now[over]


def _vote(rows: _Rows, i: Ints, answer: Ints) -> None:
    """`budget.Tally.add` for many."""
    rows.votes[i, answer] += 1
    count, lead, led = rows.votes[i, answer], rows.lead[i], rows.leader[i] == answer
    ahead = led | (count > lead)
    rows.leader[i] = np.where(ahead, answer, rows.leader[i])
    rows.lead[i] = np.where(ahead, count, lead)
    rows.rival[i] = np.where(ahead, rows.rival[i], np.maximum(rows.rival[i], count))


def _start(rows: _Rows, tables: _Tables, i: Ints, slot: Ints) -> None:
    at = i, slot[i]
    rows.sample[at], rows.round[at] = rows.started[i], 0
    rows.token_due[at] = rows.position[i] + tables.tokens[rows.draw[i], rows.started[i], 0]
    for counted in (rows.started, rows.running, rows.decoding):
        counted[i] += 1


def _score(votes: Ints) -> Floats:
    """1 where the right answer, code 0, leads; its part where others have as many votes."""
    most = votes.max(axis=1, initial=0)
    leaders = (votes == most[:, None]).sum(axis=1)
    return np.where((most > 0) & (votes[:, 0] == most), 1 / np.maximum(leaders, 1), 0.0)


class _Settled:
    """`budget.decided` for many, each case worked out once."""

    def __init__(self, samples: int, eps: float | None) -> None:
        self._samples, self._eps = samples, eps
        self._known = np.full((samples + 1,) * 3, -1, dtype=np.int8)

    def __call__(self, rows: _Rows, i: Ints) -> Bools:
        if self._eps is None:
            return np.zeros(len(i), dtype=bool)
        outstanding = self._samples - rows.started[i] + rows.running[i]
        lead, rival = rows.lead[i], rows.rival[i]
        answered = rows.votes[i].sum(axis=1)
        sure: Bools = lead - rival > outstanding
        if self._eps == 0:
            return sure
        likely = self._likely(lead, rival, outstanding)
        return np.asarray(sure | ((answered >= ANSWERED) & likely))

    def _likely(self, lead: Ints, rival: Ints, outstanding: Ints) -> Bools:
        cases = lead, rival, outstanding
        missing = self._known[cases] < 0
        for a, b, r in {*zip(*(c[missing].tolist() for c in cases), strict=True)}:
            self._known[a, b, r] = decided(a, b, ANSWERED, r, self._eps or 0.0)
        return np.asarray(self._known[cases] > 0)
