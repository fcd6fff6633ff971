"""`Predictor.predict`: from any problem to an answer, in time; nothing escapes from it.

An exception in `predict` ends a run without a submission, and so does an answer that is late. So
the solver works in threads of its own, and the call only waits: at the limit it takes what the
votes say so far, or the edition's fallback. Does not protect against a process that is killed or
an interpreter whose lock is never released.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from aimo_submit.budget import CAP, Pace
from aimo_submit.competition import Answers, competition_named
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.kaggle.runtime import GRACE_S, limited, process_age_s
from aimo_submit.kaggle.runtime.recorder import Recorder, progress, row_of
from aimo_submit.records import Problem, Solution, Status, Trace
from aimo_submit.solve import conclude
from aimo_submit.solver import CLOSE_S, Solver

log = logging.getLogger(__name__)
T = TypeVar("T")

Watch = Callable[[Problem, Trace], None]
# Makes the solver, not yet entered, for what is left of the run; called again when one is lost.
Start = Callable[[Config, Watch], Solver]

LOAD_S = 900.0  # that the problem which waits for the model may wait
LOAD_SHARE = 0.4  # of a run that is short, a rehearsal
PING_S = 2.0  # within which a solver's event loop has to respond
STRIKES = 2  # problems in a row after which an event loop that does not respond is given up
TRIES = 3  # in a row, to make a solver
AGAIN = 0.5  # of a problem's limit: if its samples broke off sooner, they begin once more
BEGIN_S = 5.0  # without memory, a thread may end before it has begun
REASON = 300  # characters of an error that are kept


class Predictor:
    """Any problem to a plain int in the edition's range, in time. The model loads meanwhile.

    The time of the run, `total_time_s`, counts from the start of the process. Problems come one
    at a time. `folder` is where traces and a summary are written.
    """

    def __init__(
        self,
        start: Start,
        config: Config,
        folder: Path = Path("runs"),
        *,
        load_s: float | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self.competition = competition_named(config.edition)
        self._start, self._config = start, limited(config, self.competition)
        total_s = self._config.total_time_s or 0.0
        self._load_s = min(LOAD_S, LOAD_SHARE * total_s) if load_s is None else load_s
        self._grace_s = grace_s
        self._due = time.monotonic() + total_s - process_age_s(total_s / 4)
        self._recorder = Recorder(folder, dataclasses.asdict(config))
        self._case = Case(Problem("", ""))
        self._last: tuple[Problem, int] | None = None  # the last problem, and its answer
        self._turn = threading.Lock()
        self._done = self._tries = self._strikes = 0
        self._given = self._config
        self._begun = 0.0
        self._solver: Solver | None = None  # the one being loaded, or in use
        self._making: Future[Solver] | None = None
        self._begin()

    def predict(self, id: object, text: object) -> int:
        """The problem's answer. Takes whatever it is handed, and never raises.

        A gateway that lost its connection sends its request again: the last problem is not solved
        anew, and if it is still being solved, that is waited for.
        """
        answer: object = None
        try:
            answer = self._answer_once(Problem(plain(id), plain(text)))
        except BaseException as error:  # the border of a Kaggle call: an escape ends the run
            with suppress(BaseException):
                log.error("predict: %s: %s", type(error).__name__, error)
        return admitted(self.competition.answers, answer)

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the solver, and writes what is outstanding."""
        making, self._making = self._making, None
        if making:
            closing = background(lambda: making.result().close())  # also if it is still to come
            wait([closing], 2 * CLOSE_S if making.done() else 0)
        self._recorder.close()

    def _answer_once(self, problem: Problem) -> int:
        with self._turn:
            if self._last is None or self._last[0] != problem:
                self._last = problem, self._answer(problem)
            return self._last[1]

    def _answer(self, problem: Problem) -> int:
        self._case = case = Case(problem)
        try:
            self._solve(case)
        except BaseException as error:  # likewise, with the votes so far
            case.reason = f"{type(error).__name__}: {error}"[:REASON]
        solution = case.solution or best_so_far(self._config, case)
        self._done += 1
        answer = solution.answer = admitted(self.competition.answers, solution.answer)
        with suppress(BaseException):  # the answer stands, whether it can be told or not
            self._record(case, solution)
        return answer

    def _solve(self, case: Case) -> None:
        if not case.problem.text.strip():
            raise UserError("the problem is empty")
        if self._left_s <= 0:
            raise TimeoutError("the time of the run is up")
        solver = self._loaded()
        self._ask(solver, case)
        if broke_off(case.solution) and case.age_s < AGAIN * self._limit_s:
            self._ask(solver, case)  # an engine that died has been started anew

    def _ask(self, solver: Solver, case: Case) -> None:
        """Has the solver solve the problem; one that does not end is replaced."""
        paces = len(solver.paces)
        work = background(lambda: solver.solve(case.problem))
        try:
            case.solution = self._attend(work, self._limit_s)
        finally:
            case.pace = solver.paces[-1] if len(solver.paces) > paces else None
            self._examine(solver, hung=not work.done())

    def _record(self, case: Case, solution: Solution) -> None:
        given_s = case.pace.given_s if case.pace else None
        stopped = str(case.pace.stopped) if case.pace else "the solver did not end it"
        row = row_of(solution, given_s, case.age_s, stopped)
        self._recorder.record(solution, row)
        line = f"{self._done}. {row.problem}: {row.answer}, {row.used_s} s, {row.reason}"
        print(f"{line}\n{progress(self._done, row)}", flush=True)

    # The solver's life

    def _begin(self, after: Future[None] | None = None) -> None:
        """Starts the making of a solver for what is left of the run, after the end of another."""
        if self._tries == TRIES:
            raise UserError(f"no solver could be made in {TRIES} tries; see the log before this")
        self._tries += 1
        self._begun, self._strikes, self._solver = time.monotonic(), 0, None
        self._given = given = dataclasses.replace(
            self._config, total_time_s=max(1.0, self._left_s), problems=self._problems_left
        )
        self._making = background(lambda: self._make(given, after))

    def _make(self, given: Config, after: Future[None] | None) -> Solver:
        if after:
            wait([after], CLOSE_S)  # two models do not fit a GPU
        self._solver = solver = self._start(given, self._watch)
        return solver.load()

    def _loaded(self) -> Solver:
        """The solver, once it is loaded; one that could not be made is tried once more."""
        making = self._making
        if making is None or making.cancelled() or (making.done() and making.exception()):
            self._begin()
        assert self._making
        try:
            solver = self._attend(self._making, self._wait_s)
        except TimeoutError:
            if self._solver:
                self._examine(self._solver, hung=False)
            raise
        self._tries = 0
        return solver

    def _attend(self, work: Future[T], limit_s: float) -> T:
        """Waits for the work; raises TimeoutError at the limit."""
        wait([work], limit_s)
        return work.result(0)

    def _examine(self, solver: Solver, *, hung: bool) -> None:
        """Replaces a solver that is lost, at once, so that the next one loads meanwhile."""
        self._strikes = 0 if solver.responds(PING_S) else self._strikes + 1
        if hung or self._strikes == STRIKES:
            log.error("the solver is lost; it is made anew")
            closing = background(solver.close)
            self._making = None
            self._begin(None if self._strikes else closing)  # a blocked one cannot be waited for

    def _watch(self, problem: Problem, trace: Trace) -> None:
        case = self._case
        if problem is case.problem:  # a solver that was given up may still be at an earlier one
            case.traces[trace.sample] = trace

    # Time

    @property
    def _left_s(self) -> float:
        return self._due - time.monotonic()

    @property
    def _problems_left(self) -> int:
        return max(1, (self._config.problems or self.competition.problems) - self._done)

    @property
    def _wait_s(self) -> float:
        """Seconds that this problem may wait for a model; for a hung one, its share at most."""
        load_s = self._load_s - (time.monotonic() - self._begun)
        return min(max(load_s, self._left_s / self._problems_left), self._answer_left_s)

    @property
    def _limit_s(self) -> float:
        """The most that the solver's budget can have given, and its grace."""
        given = self._given
        share_s = (given.total_time_s or math.inf) / (given.problems or 1)
        longest_s = min(CAP * share_s, given.problem_timeout_s or math.inf)
        return min(longest_s, max(0.0, self._answer_left_s)) + self._grace_s

    @property
    def _answer_left_s(self) -> float:
        """Seconds left for this answer; a wait for a model counts, save for the first."""
        package = self.competition.package
        if not self._done or package is None or package.answer_s is None:
            return self._left_s
        answer_s = self._config.problem_timeout_s or math.inf
        return min(self._left_s, answer_s - self._case.age_s)


def background(work: Callable[[], T]) -> Future[T]:
    """The result to come of work in a thread that may be left behind; cancelled if none begins.

    `threading.Thread` waits until the thread runs: for ever, where there is no memory for that.
    """
    future: Future[T] = Future()
    began = threading.Event()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        began.set()
        try:
            future.set_result(work())
        except BaseException as error:  # SystemExit too: it is for the caller to see
            future.set_exception(error)

    start_new_thread(run, ())
    if not began.wait(BEGIN_S):
        future.cancel()
    return future


class Case:
    """One problem under way, with all that is known of it at any moment."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.traces: dict[int, Trace] = {}
        self.solution: Solution | None = None
        self.pace: Pace | None = None
        self.reason = ""
        self._began = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the problem came."""
        return time.monotonic() - self._began


def broke_off(solution: Solution | None) -> bool:
    """True if every sample failed: one that comes to its end would come to the same again."""
    broken = (Status.ACTIVE, Status.FAILED)
    traces = solution.traces if solution else []
    return bool(traces) and all(trace.status in broken for trace in traces)


def best_so_far(config: Config, case: Case) -> Solution:
    """The vote so far on a problem that its solver did not end, or the fallback."""
    traces = list(case.traces.values())
    try:
        solution = conclude(config, case.problem, traces, case.age_s)
    except Exception:  # out of memory, perhaps: then even counting may fail
        answer, seed = competition_named(config.edition).answers.fallback, config.seed
        solution = Solution(case.problem, answer, [], [], seed, case.age_s, "fallback")
        solution.fallback = True
    solution.reason += f" ({case.reason})"
    return solution


def admitted(answers: Answers, answer: object) -> int:
    """Returns the answer as a plain int in the range and in 64 bits, else the fallback."""
    value = answers.admit(int(answer)) if isinstance(answer, int) else None
    return answers.fallback if value is None or abs(value) >= 1 << 63 else value


def plain(value: Any) -> str:
    """The text in whatever a gateway hands over: a series of one, a string, nothing."""
    if hasattr(value, "to_list"):
        value = value.to_list()
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if value is None or value != value:  # pandas has NaN where a cell is empty
        return ""
    return str(value).encode(errors="replace").decode()  # no half of a surrogate pair
