"""The vocabulary of the kit: what flows from a problem to an answer.

Every record is a plain dataclass; `to_json` and `from_json` turn any of them into JSON-ready
dictionaries and back, so a journal line holds a whole `Solution`. Tokens are written as their
number: a text says as much, and ids would be half of a journal.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable
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
    """One generation of an engine: `tokens` decode exactly to `text`; no journal keeps them."""

    text: str
    tokens: tuple[int, ...] = field(compare=False)  # () in a completion that was read back
    finish: Finish
    mean_logprob: float  # of the generated tokens, under the distribution sampled from
    n_tokens: int = -1  # how many they are, or were

    def __post_init__(self) -> None:
        if self.n_tokens < 0:
            object.__setattr__(self, "n_tokens", len(self.tokens))


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
        return not self.engine_died and self.status not in (Status.ACTIVE, Status.CANCELLED)

    @property
    def text(self) -> str:
        """Everything written since the prompt, in the current attempt."""
        return "".join(
            r.completion.text + r.appended for r in self.rounds if r.attempt == self.attempt
        )

    @property
    def n_tokens(self) -> int:
        """Tokens generated over all rounds and attempts."""
        return sum(r.completion.n_tokens for r in self.rounds)


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
    """The record as JSON-ready dictionaries, lists and scalars; of tokens it has the number."""
    if isinstance(record, Completion):
        return {
            "text": record.text,
            "tokens": record.n_tokens,
            "finish": record.finish,
            "mean_logprob": record.mean_logprob,
        }
    if dataclasses.is_dataclass(record):
        return {f.name: to_json(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, list | tuple):
        return [to_json(item) for item in record]
    return record


def from_json(kind: type[T], data: Any) -> T:
    """The record of that kind that `to_json` turned into `data`.

    Raises ValueError, KeyError or TypeError where the data is of no such record.
    """
    return typing.cast(T, _decoder(typing.cast(Any, kind))(data))


@cache
def _decoder(kind: Any) -> Callable[[Any], Any]:
    """The function that decodes values of the type: made once, since a pool has millions."""
    if kind is Completion:
        return _completion
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {f.name: _decoder(hints[f.name]) for f in dataclasses.fields(kind)}
        record = typing.cast(Callable[..., Any], kind)
        return lambda data: record(**{name: fields[name](v) for name, v in data.items()})
    if isinstance(kind, types.UnionType):
        present = _decoder(typing.get_args(kind)[0])
        return lambda data: None if data is None else present(data)
    if typing.get_origin(kind) is list:
        item = _decoder(typing.get_args(kind)[0])
        return lambda data: [item(each) for each in data]
    return typing.cast(Callable[[Any], Any], kind)


def _completion(data: Any) -> Completion:
    finish, count = Finish(data["finish"]), int(data["tokens"])
    return Completion(data["text"], (), finish, data["mean_logprob"], count)
