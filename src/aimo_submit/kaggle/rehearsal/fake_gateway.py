"""A fake of a competition's gateway, where its package is absent.

`FakeGateway` follows the rules of the AIMO packages as they were found out by running them: the
types that arrive, what is refused and by which code, what passes although wrong, the order, the
time limits, and a request that is sent again because its connection broke.
It ends with a `Verdict`, and in a rerun with `result.json`, as Kaggle's do.

Not as Kaggle has it: `predict` runs in a thread of this process, without gRPC, and so `serve`
returns when all is answered, for the kernel to end. A late answer is GRPC_DEADLINE_EXCEEDED, which
AIMO-2's package calls SERVER_CONNECTION_FAILED.

A rehearsal lays this file into the competition's folder, where the notebook imports it beside its
own kit: it may import what travels and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aimo_submit.competition import Package, competition_named
from aimo_submit.errors import UserError
from aimo_submit.kaggle.runtime import process_age_s

TOO_LARGE = 1 << 63
LONGEST_WORDS = 16_000  # of an exception, in bytes: a longer one breaks the connection
SENT_AGAIN = 1  # the place of the problem whose answer is lost, counted from 0
START_LEAST_S = 120.0  # a kernel's start and its imports take as long at any speed
SETTINGS = "fake_gateway.json"  # beside the copy of this file
RESULT = "result.json"
CODES = (
    "UNSPECIFIED",
    "SERVER_NEVER_STARTED",
    "SERVER_CONNECTION_FAILED",
    "SERVER_RAISED_EXCEPTION",
    "SERVER_MISSING_ENDPOINT",
    "GATEWAY_RAISED_EXCEPTION",
    "INVALID_SUBMISSION",
    "GRPC_DEADLINE_EXCEEDED",
)


@dataclass(slots=True)
class Verdict:
    """The gateway's account of a run. `rows` stand in the submission; 0: none was written."""

    problems: int
    rows: int = 0
    faults: list[str] = field(default_factory=list)  # any of these means: no submission
    wrong: list[str] = field(default_factory=list)  # accepted, and no answer of the edition
    late: list[str] = field(default_factory=list)  # ids
    seconds: list[float] = field(default_factory=list)  # of each answer

    @property
    def valid(self) -> bool:
        """True if Kaggle would score the file and every answer in it is one of the edition."""
        return self.rows == self.problems and not (self.faults or self.wrong or self.late)


class Refused(Exception):
    """The gateway ends the run without a submission; `code` is one of CODES."""

    def __init__(self, details: str, code: str = "INVALID_SUBMISSION") -> None:
        super().__init__(f"{code}: {details}")
        self.details, self.code = details, code


def start_limit_s(package: Package, speed: float) -> float:
    """Seconds within which a server has to be up, divided by the speed as far as that goes."""
    return max(package.startup_s / speed, START_LEAST_S)


class FakeGateway:
    """A competition's package: it has what the notebook calls, under the name that has there.

    Problems come from the csv in its types, in the order that is usual there. A rerun leaves its
    file in `folder`, which stands for the gateway's container, a run at home in the working
    directory. `speed` divides the limits of time. `report` is told the verdict at a run's end.
    """

    def __init__(
        self,
        edition: str,
        csv: Path,
        folder: Path,
        *,
        speed: float = 1.0,
        seed: int | None = None,
        age_s: Callable[[], float] = lambda: 0.0,
        report: Callable[[Verdict], None] = lambda verdict: None,
    ) -> None:
        self.competition, self.csv = competition_named(edition), csv
        if self.competition.package is None:
            raise UserError(f"{edition} has no gateway: name a competition that has a [package]")
        self.package = self.competition.package
        self.folder, self._seed, self.report = folder, seed, report
        self.age_s = age_s  # seconds since the gateway began to wait for the server
        self.start_s = start_limit_s(self.package, speed)
        self._answer_s = (self.package.answer_s or float("inf")) / speed
        self._run_s = self.competition.hours * 3600 / speed
        self._made = False
        self.verdict = Verdict(0)

    def __getattr__(self, name: str) -> Callable[..., Env | Server]:
        if name != self.package.name:
            raise AttributeError(name)
        return self._env if self.package.interface == "environment" else self._server

    def _env(self) -> Env:
        if self._made:
            raise RuntimeError("make_env() can be called once only")
        self._made = True
        return Env(self)

    def _server(self, predict: Callable[..., Any]) -> Server:
        plain = hasattr(predict, "__code__") and not hasattr(predict, "__self__")
        if self.package.plain_functions and not plain:
            raise ValueError("endpoint listeners must be plain functions")
        return Server(self, predict)

    def begin(self, csv: Path, *, rerun: bool = False) -> list[Any]:
        """The problems, each a polars frame of one row, in the order in which they come."""
        import polars as pl

        rows = list(pl.read_csv(csv).iter_slices(1))
        if self.package.shuffled and not (rerun and self.competition.private.in_order):
            random.Random(self._seed).shuffle(rows)
        self.verdict = Verdict(len(rows))
        return rows

    def time(self, id: object, seconds: float) -> None:
        """Takes down an answer's seconds; ends the run where a limit was passed."""
        verdict = self.verdict
        limit_s = self._answer_s if verdict.seconds else float("inf")
        verdict.seconds.append(seconds)
        if seconds > limit_s or sum(verdict.seconds) > self._run_s:
            verdict.late.append(str(id))
            raise Refused(f"{id}: no answer within the limit", "GRPC_DEADLINE_EXCEEDED")

    @property
    def patience_s(self) -> float:
        """Seconds that the next answer is waited for."""
        left_s = self._run_s - sum(self.verdict.seconds)
        return min(left_s, self._answer_s) if self.verdict.seconds else left_s

    def remark(self, id: object, answer: object) -> None:
        """Takes down an answer that passes although it is none."""
        answers = self.competition.answers
        if not is_whole(answer) or answers.admit(int(str(answer))) != answer:
            self.verdict.wrong.append(f"{id}: {answer!r} is none of {answers}")

    def write(self, rows: Sequence[tuple[object, object]], folder: Path) -> None:
        """Leaves the submission file, unless the answers cannot stand in one column."""
        import polars as pl

        try:
            columns = {"id": [id for id, _ in rows], "answer": [answer for _, answer in rows]}
            table, file = pl.DataFrame(columns), folder / self.package.submission
            table.write_csv(file) if file.suffix == ".csv" else table.write_parquet(file)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            words = f"the file cannot be written: {error}"
            raise Refused(words, "GATEWAY_RAISED_EXCEPTION") from error
        self.verdict.rows = len(rows)

    def end(self, refusal: Refused | None) -> None:
        """Reports the run that has ended, or been refused."""
        if refusal:
            self.verdict.faults.append(str(refusal))
        self.report(self.verdict)

    def write_result(self, refusal: Refused | None) -> None:
        """Leaves how a rerun ended, as Kaggle's gateways do."""
        result: dict[str, Any] = {"Succeeded": refusal is None}
        if refusal:
            code = {"ErrorType": CODES.index(refusal.code), "ErrorName": refusal.code}
            result |= code | {"ErrorDetails": refusal.details[:8000]}
        (self.folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


class Server:
    """An inference server of AIMO-2 or AIMO-3, with the gateway in the same process."""

    def __init__(self, gateway: FakeGateway, predict: Callable[..., Any]) -> None:
        self._gateway, self._predict = gateway, predict
        self._calls: queue.SimpleQueue[tuple[Sequence[Any], Future[Any]] | None]
        self._calls = queue.SimpleQueue()

    def serve(self) -> None:
        """Runs the gateway on the gateway's own problems, as the competition rerun would."""
        gateway, refusal = self._gateway, None
        try:
            if gateway.age_s() > gateway.start_s:
                raise Refused(f"not up within {gateway.start_s:.0f} s", "SERVER_NEVER_STARTED")
            self._play(gateway.begin(gateway.csv, rerun=True), gateway.folder)
        except Refused as refused:
            refusal = refused
        gateway.end(refusal)
        gateway.write_result(refusal)

    def run_local_gateway(self, data_paths: Sequence[str]) -> None:
        """Runs the gateway on a csv; raises `Refused`, as Kaggle's does at home."""
        refusal = None
        try:
            self._play(self._gateway.begin(Path(data_paths[0])), Path())
        except Refused as refused:
            refusal = refused
            raise
        finally:
            self._gateway.end(refusal)

    def _play(self, rows: Sequence[Any], folder: Path) -> None:
        """Asks for every row, and leaves the submission file in the folder."""
        threading.Thread(target=self._answer, daemon=True, name="gateway").start()
        answers, kinds = [], set[str]()
        try:
            for place, row in enumerate(rows):
                id = row.item(0, "id")
                frame = self._call(id, row.get_columns(), again=place == SENT_AGAIN)
                kinds.add(_kind(frame))
                answers.append(self._entry(id, frame))
        finally:
            self._calls.put(None)
        if len(kinds) > 1 or "scalar" in kinds:
            words = f"answers of the kinds {', '.join(sorted(kinds))} do not make one file"
            raise Refused(words, "GATEWAY_RAISED_EXCEPTION")
        self._gateway.write(answers, folder)

    def _call(self, id: object, columns: Sequence[Any], *, again: bool) -> Any:
        """Calls predict, twice if the first answer is lost; raises `Refused` for an error."""
        answer: Future[Any] = Future()
        start = time.monotonic()
        if again:
            self._calls.put((columns, Future()))
        self._calls.put((columns, answer))
        wait([answer], min(self._gateway.patience_s, threading.TIMEOUT_MAX) + 0.05)
        self._gateway.time(id, time.monotonic() - start)
        error = answer.exception(0)
        if error:
            words = f"{id}: predict raised {type(error).__name__}: {error}"
            lost = len(words.encode(errors="replace")) > LONGEST_WORDS
            raise Refused(words, "SERVER_CONNECTION_FAILED" if lost else "SERVER_RAISED_EXCEPTION")
        return answer.result(0)

    def _answer(self) -> None:
        """Calls predict in one thread, as a server does: there may be no memory for another.

        After SystemExit or KeyboardInterrupt the call is never answered.
        """
        while call := self._calls.get():
            columns, answer = call
            try:
                answer.set_result(self._predict(*columns))
            except Exception as error:  # reported as the gateway does: it is the user's own
                answer.set_exception(error)
            except BaseException:  # ends the thread there
                return

    def _entry(self, id: object, frame: Any) -> tuple[object, object]:
        if _kind(frame) == "scalar":
            if self._gateway.package.refuses_wrong_ids:  # it looks for the id at once
                raise Refused(f"{id}: {frame!r} has no columns", "GATEWAY_RAISED_EXCEPTION")
            return id, frame
        columns = list(frame.columns)
        if len(frame) != 1 or columns != ["id", "answer"]:
            raise Refused(f"{id}: {len(frame)} rows of {columns}, not one of id and answer")
        given, answer = frame["id"].to_list()[0], frame["answer"].to_list()[0]
        if given != id or type(given) is not type(id):
            self._wrong_id(id, given)
        if isinstance(answer, int) and abs(answer) >= TOO_LARGE:
            words = f"{id}: {answer} has more than 64 bits"
            raise Refused(words, "GATEWAY_RAISED_EXCEPTION")
        self._gateway.remark(id, answer)
        return id, answer

    def _wrong_id(self, id: object, given: object) -> None:
        if self._gateway.package.refuses_wrong_ids:
            raise Refused(f"{id}: answered as {given!r}")
        self._gateway.verdict.wrong.append(f"{id}: answered as {given!r}, overwritten")


class Env:
    """The environment of AIMO-1: pandas frames of one row, each answered before the next.

    It prints what is wrong with a call, and writes whatever frame it is given.
    """

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway
        self._answers: list[tuple[object, object]] = []
        self._due: object = None
        self._waiting = self._used = False
        self._asked = 0.0

    def iter_test(self) -> Iterator[tuple[Any, Any] | None]:
        """Problem and sample submission, one at a time, once; None before the last is answered."""
        import pandas as pd

        if self._used:
            raise RuntimeError("iter_test() can be called once only")
        self._used = True
        for row in self._gateway.begin(self._gateway.csv):
            self._due, self._waiting = row.item(0, "id"), True
            self._asked = time.monotonic()
            test = pd.DataFrame(row.drop("row_id", strict=False).to_dict(as_series=False))
            yield test, pd.DataFrame({"id": [self._due], "answer": [0]})
            while self._waiting:
                print("call predict() successfully before the next problem")
                yield None
        self._finish()

    def predict(self, submission: Any) -> None:
        """Takes the answer to the last problem."""
        if not self._waiting:
            print("get the next problem from iter_test() first")
            return
        if _kind(submission) != "pandas":
            raise TypeError("predict() takes a DataFrame")
        self._waiting = False
        verdict = self._gateway.verdict
        try:
            self._gateway.time(self._due, time.monotonic() - self._asked)
        except Refused as refusal:
            verdict.faults.append(str(refusal))
        for id, answer in zip(submission["id"], submission["answer"], strict=True):
            if id != self._due:
                verdict.wrong.append(f"{self._due}: answered as {id!r}")
            answer = getattr(answer, "item", lambda given=answer: given)()  # numpy's, as Python's
            self._gateway.remark(id, answer)
            self._answers.append((id, answer))

    def _finish(self) -> None:
        gateway, refusal = self._gateway, None
        try:
            if not gateway.verdict.faults:
                gateway.write(self._answers, Path())
        except Refused as refused:
            refusal = refused
        gateway.end(refusal)


def open_gateway(folder: Path) -> FakeGateway:
    """The gateway that the folder's settings describe; it writes into the working directory."""
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    verdict = Path(settings["verdict"])
    return FakeGateway(
        settings["edition"],
        Path(settings["csv"]),
        Path(settings["folder"]),
        speed=settings["speed"],
        age_s=lambda: process_age_s(math.inf),
        report=lambda v: _write(verdict, v),
    )


def _write(file: Path, verdict: Verdict) -> None:
    file.write_text(json.dumps(dataclasses.asdict(verdict)), encoding="utf-8")


def is_whole(answer: object) -> bool:
    """True for an integer, and not for a float or a string that looks like one."""
    return isinstance(answer, int) and not isinstance(answer, bool)


def _kind(frame: Any) -> str:
    """polars, pandas or scalar; whatever else is refused at once."""
    package = type(frame).__module__.split(".")[0]
    if package in ("polars", "pandas") and type(frame).__name__ == "DataFrame":
        return package
    if isinstance(frame, int | str):
        return "scalar"
    raise Refused(f"predict returned a {type(frame).__name__}, not a frame")
