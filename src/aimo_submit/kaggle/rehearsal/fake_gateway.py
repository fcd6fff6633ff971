"""A fake of a competition's gateway, where its package is absent.

`FakeGateway` follows the rules of the AIMO packages as they were found out by running them: the
types that arrive, what is refused, what passes although wrong, the time limits.
It ends with a `Verdict`. Does not reproduce gRPC: `predict` runs in a thread of this process.

A rehearsal lays this file into the competition's folder, where the notebook imports it beside its
own kit: it may import what travels and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError

TOO_LARGE = 1 << 63
SETTINGS = "fake_gateway.json"  # beside the copy of this file


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
    """The gateway ends the run without a submission."""


class FakeGateway:
    """A competition's package: it has what the notebook calls, under the name that has there.

    Problems come from the csv in its types, in the order that is usual there. `speed` divides the
    limits of time. `report` is told the verdict when a run has ended.
    """

    def __init__(
        self,
        edition: str,
        csv: Path,
        folder: Path,
        *,
        speed: float = 1.0,
        seed: int = 0,
        report: Callable[[Verdict], None] = lambda verdict: None,
    ) -> None:
        self.competition, self.csv = competition_named(edition), csv
        if self.competition.package is None:
            raise UserError(f"{edition} has no gateway: name a competition that has a [package]")
        self.package = self.competition.package
        self._folder, self._seed, self.report = folder, seed, report
        self._answer_s = (self.package.answer_s or float("inf")) / speed
        self._run_s = self.competition.hours * 3600 / speed
        self.verdict = Verdict(0)

    def __getattr__(self, name: str) -> Callable[..., Env | Server]:
        if name != self.package.name:
            raise AttributeError(name)
        return self._env if self.package.interface == "environment" else self._server

    def _env(self) -> Env:
        return Env(self)

    def _server(self, predict: Callable[..., Any]) -> Server:
        plain = hasattr(predict, "__code__") and not hasattr(predict, "__self__")
        if self.package.plain_functions and not plain:
            raise ValueError("endpoint listeners must be plain functions")
        return Server(self, predict)

    def begin(self, csv: Path) -> list[Any]:
        """The problems, each a polars frame of one row, in the order in which they come."""
        import polars as pl

        rows = list(pl.read_csv(csv).iter_slices(1))
        if self.package.shuffled:
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
            raise Refused(f"{id}: no answer within the limit")

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

    def write(self, rows: Sequence[tuple[object, object]]) -> None:
        """Leaves the submission file, unless the answers cannot stand in one column."""
        import polars as pl

        try:
            columns = {"id": [id for id, _ in rows], "answer": [answer for _, answer in rows]}
            table, file = pl.DataFrame(columns), self._folder / self.package.submission
            table.write_csv(file) if file.suffix == ".csv" else table.write_parquet(file)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            raise Refused(f"the file cannot be written: {error}") from error
        self.verdict.rows = len(rows)


class Server:
    """An inference server of AIMO-2 or AIMO-3, with the gateway in the same process."""

    def __init__(self, gateway: FakeGateway, predict: Callable[..., Any]) -> None:
        self._gateway, self._predict = gateway, predict
        self._calls: queue.SimpleQueue[tuple[Sequence[Any], Future[Any]] | None]
        self._calls = queue.SimpleQueue()

    def serve(self) -> None:
        """Runs the gateway on the gateway's own problems, as the competition rerun would."""
        self.run_local_gateway((str(self._gateway.csv),))

    def run_local_gateway(self, data_paths: Sequence[str]) -> None:
        """Runs the gateway on a csv, and leaves its `verdict`."""
        threading.Thread(target=self._answer, daemon=True, name="gateway").start()
        rows, answers = self._gateway.begin(Path(data_paths[0])), []
        kinds: set[str] = set()
        try:
            for row in rows:
                id = row.item(0, 0)
                frame = self._call(id, row.get_columns())
                kinds.add(_kind(frame))
                answers.append(self._entry(id, frame))
            if len(kinds) > 1 or "scalar" in kinds:
                raise Refused(f"answers of the kinds {', '.join(kinds)} do not make one file")
            self._gateway.write(answers)
        except Refused as refusal:
            self._gateway.verdict.faults.append(str(refusal))
        self._calls.put(None)
        self._gateway.report(self._gateway.verdict)

    def _call(self, id: object, columns: Sequence[Any]) -> Any:
        """Calls predict; raises `Refused` where it raises, or takes longer than the limit."""
        answer: Future[Any] = Future()
        start = time.monotonic()
        self._calls.put((columns, answer))
        wait([answer], min(self._gateway.patience_s, threading.TIMEOUT_MAX) + 0.05)
        self._gateway.time(id, time.monotonic() - start)
        error = answer.exception(0)
        if error:
            raise Refused(f"{id}: predict raised {type(error).__name__}: {error}")
        return answer.result(0)

    def _answer(self) -> None:
        """Calls predict in one thread, as a server does: there may be no memory for another."""
        while call := self._calls.get():
            columns, answer = call
            try:
                answer.set_result(self._predict(*columns))
            except BaseException as error:  # reported as the gateway does: it is the user's own
                answer.set_exception(error)

    def _entry(self, id: object, frame: Any) -> tuple[object, object]:
        if _kind(frame) == "scalar":
            return id, frame
        columns = list(frame.columns)
        if len(frame) != 1 or columns != ["id", "answer"]:
            raise Refused(f"{id}: {len(frame)} rows of {columns}, not one of id and answer")
        given, answer = frame["id"].to_list()[0], frame["answer"].to_list()[0]
        if given != id or type(given) is not type(id):
            self._wrong_id(id, given)
        if isinstance(answer, int) and abs(answer) >= TOO_LARGE:
            raise Refused(f"{id}: {answer} has more than 64 bits")
        self._gateway.remark(id, answer)
        return id, answer

    def _wrong_id(self, id: object, given: object) -> None:
        if self._gateway.package.refuses_wrong_ids:
            raise Refused(f"{id}: answered as {given!r}")
        self._gateway.verdict.wrong.append(f"{id}: answered as {given!r}, overwritten")


class Env:
    """The environment of AIMO-1: pandas frames of one row, each answered before the next."""

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway
        self._answers: list[tuple[object, object]] = []
        self._due: object = None
        self._waiting = self._used = False
        self._asked = 0.0

    def iter_test(self) -> Iterator[tuple[Any, Any]]:
        """Problem and sample submission, one at a time, once."""
        import pandas as pd

        if self._used:
            raise RuntimeError("iter_test() can be called once only")
        self._used = True
        for row in self._gateway.begin(self._gateway.csv):
            if self._waiting:
                raise RuntimeError("call predict() before the next problem")
            self._due, self._waiting = row.item(0, 0), True
            self._asked = time.monotonic()
            test = pd.DataFrame(row.select("id", "problem").to_dict(as_series=False))
            yield test, pd.DataFrame({"id": [self._due], "answer": [0]})
        self._finish()

    def predict(self, submission: Any) -> None:
        """Takes the answer to the last problem."""
        if not self._waiting:
            raise RuntimeError("there is no problem to be answered")
        if _kind(submission) != "pandas" or len(submission) != 1:
            raise TypeError("predict() takes the sample submission with its answer filled in")
        self._waiting = False
        id, answer = submission["id"].to_list()[0], submission["answer"].to_list()[0]
        try:
            self._gateway.time(self._due, time.monotonic() - self._asked)
        except Refused as refusal:
            self._gateway.verdict.faults.append(str(refusal))
        if id != self._due:
            self._gateway.verdict.faults.append(f"{self._due}: answered as {id!r}")
        self._gateway.remark(id, answer)
        self._answers.append((self._due, answer))

    def _finish(self) -> None:
        verdict = self._gateway.verdict
        try:
            if not verdict.faults and not self._waiting:
                self._gateway.write(self._answers)
        except Refused as refusal:
            verdict.faults.append(str(refusal))
        self._gateway.report(verdict)


def open_gateway(folder: Path) -> FakeGateway:
    """The gateway that the folder's settings describe; it writes into the working directory."""
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    verdict = Path(settings["verdict"])
    return FakeGateway(
        settings["edition"],
        Path(settings["csv"]),
        Path(),
        speed=settings["speed"],
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
