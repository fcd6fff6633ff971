"""The vocabulary of the kit: what flows from a problem to an answer.

Every record is a plain dataclass; `to_json` and `from_json` turn any of them into JSON-ready
dictionaries and back, so a journal line holds a whole `Solution`.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


class Named(str, Enum):  # noqa: UP042
    """An enumeration that prints as its value (`enum.StrEnum`, which Python 3.10 lacks)."""

    __str__ = str.__str__


class Finish(Named):
    """Why an engine ended a completion."""

    STOP = "stop"  # a stop string of the format
    EOS = "eos"  # the model ended its turn
    LENGTH = "length"  # out of tokens


class Outcome(Named):
    """The end of a block of model-written code."""

    OK = "ok"
    ERROR = "error"  # an exception, a syntax error, a non-zero exit
    TIMEOUT = "timeout"
    KILLED = "killed"  # by a limit, by a signal, or by the loss of the sandbox


class Scope(Named):
    """The part of a sample's earlier blocks that a block of code sees."""

    FRESH = "fresh"  # nothing
    REPLAY = "replay"  # what they define: they run again, silently, before it
    LIVE = "live"  # the interpreter they ran in


class Status(Named):
    """Where a sample stands. Only `loop.py` moves it."""

    ACTIVE = "active"
    ANSWERED = "answered"
    EXHAUSTED = "exhausted"  # still wanted code after the last round
    FAILED = "failed"  # could not go on; `Trace.reason` says why
    CANCELLED = "cancelled"  # deadline, or the vote no longer needed it


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem; `answer` is the gold answer where it is known."""

    id: str
    text: str
    answer: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One generation of an engine: `tokens` decode exactly to `text`."""

    text: str
    tokens: tuple[int, ...]
    finish: Finish
    mean_logprob: float  # of the generated tokens, under the distribution sampled from


@dataclass(frozen=True, slots=True)
class Execution:
    """The result of a block of code: stdout and stderr in order, as a terminal would show them."""

    outcome: Outcome
    output: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of a sample: the completion and what was appended to it.

    A round in which the sample answered or failed has no execution, but where its format runs the
    last block of a text (`Format.runs_last`). `attempt` counts restarts.
    """

    completion: Completion
    code: str | None = None
    execution: Execution | None = None
    appended: str = ""
    attempt: int = 0
    engine_s: float = 0.0
    sandbox_s: float = 0.0


@dataclass(slots=True)
class Trace:
    """One sample through its rounds, kept up to date after every round."""

    sample: int
    rounds: list[Round] = field(default_factory=list)
    status: Status = Status.ACTIVE
    answer: int | None = None
    reason: str = ""
    attempt: int = 0  # restarts so far
    engine_died: bool = False  # under it: begun anew, it may fare better

    @property
    def ended(self) -> bool:
        """True once it came to its own end, neither stopped nor left by its engine."""
        return ended(self.status, self.engine_died)

    @property
    def text(self) -> str:
        """Everything written since the prompt, in the current attempt."""
        return "".join(
            r.completion.text + r.appended for r in self.rounds if r.attempt == self.attempt
        )

    @property
    def n_tokens(self) -> int:
        """Tokens generated over all rounds and attempts."""
        return sum(len(r.completion.tokens) for r in self.rounds)


@dataclass(frozen=True, slots=True)
class Vote:
    """An answer and the weight behind it."""

    answer: int
    weight: float


@dataclass(slots=True)
class Solution:
    """A problem's answer with all that led to it; `answer` is always usable as a submission."""

    problem: Problem
    answer: int
    votes: list[Vote]
    traces: list[Trace]
    seed: int
    seconds: float
    reason: str = ""  # how the answer came about, for people
    confidence: float | None = None  # that the answer is right, from the votes; None: not recorded
    fallback: bool = False  # no sample answered: the answer is the competition's fallback

    @property
    def engine_died(self) -> bool:
        """True if the engine died under one of the samples."""
        return any(trace.engine_died for trace in self.traces)

    @property
    def margin(self) -> float:
        """The first answer's lead over the second, as a share of all weight; 0 without votes."""
        first, second, *_ = (*(vote.weight for vote in self.votes), 0.0, 0.0)
        return (first - second) / (math.fsum(vote.weight for vote in self.votes) or 1.0)

    @property
    def correct(self) -> bool | None:
        """True if the answer is the gold answer; None where that is unknown."""
        return None if self.problem.answer is None else self.answer == self.problem.answer


def to_json(record: Any) -> Any:
    """The record as JSON-ready dictionaries, lists and scalars."""
    if dataclasses.is_dataclass(record):
        return {f.name: to_json(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, list | tuple):
        return [to_json(item) for item in record]
    return record


def from_json(kind: type[T], data: Any) -> T:
    """The record of that kind that `to_json` turned into `data`."""
    return typing.cast(T, _decode(kind, data))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _decode(kind: Any, data: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast(type, kind))
        return typing.cast(Any, kind)(**{name: _decode(hints[name], v) for name, v in data.items()})
    args = typing.get_args(kind)
    match typing.get_origin(kind):
        case types.UnionType:
            return None if data is None else _decode(args[0], data)
        case origin if origin in (list, tuple):
            plain = args[0] is int  # tokens, by the million
            return origin(data if plain else (_decode(args[0], item) for item in data))
    return kind(data)


def ended(status: str, engine_died: bool) -> bool:
    """True for a sample that came to its own end, neither stopped nor left by its engine."""
    return not engine_died and status not in (Status.ACTIVE, Status.CANCELLED)
