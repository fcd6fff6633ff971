"""Kaggle's calls: an answer to every problem, whatever happens, through every edition's gateway."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from aimo_submit.competition import competition_named
from aimo_submit.config import Config
from aimo_submit.engines import Engine, Sampling
from aimo_submit.engines.scripted import ScriptedEngine, ScriptedSandbox
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.formats.families import FORMATS
from aimo_submit.journal import settings_in, solutions_in
from aimo_submit.kaggle.rehearsal.fake_gateway import SENT_AGAIN, FakeGateway, Refused
from aimo_submit.kaggle.runtime import process_age_s
from aimo_submit.kaggle.runtime.gateway import package_faults, predict_function, serve
from aimo_submit.kaggle.runtime.mounts import survey
from aimo_submit.kaggle.runtime.predictor import (
    Predictor,
    Start,
    Watch,
    admitted,
    background,
    plain,
)
from aimo_submit.kaggle.runtime.recorder import read_progress
from aimo_submit.records import Completion, Execution, Outcome, Problem, Solution
from aimo_submit.sandbox import Sandbox
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.solver import Solver
from tests import ROOT
from tests.scripted import ANSWER, ASK, replies

# A deadline that a busy machine keeps, too; and what comes later than this did not heed it.
QUICK = Config(samples=2, edition="aimo-2", problem_timeout_s=3, total_time_s=3600)
LATE_S = 30.0
TEXT = "What is $6 \\cdot 7$?"
Script = Callable[[str, Sampling], str]


class Hanging(ScriptedEngine):
    """Never returns for a problem that says so."""

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        if b"fault: hang" in bytes(prompt):
            await asyncio.Event().wait()
        return await super().complete(prompt, sampling)


class Scripted(Solver):
    """A solver whose own `solve` can be at fault, too."""

    def solve(self, problem: Problem) -> Solution:
        if "fault: solver" in problem.text:
            raise SystemExit(3)
        return super().solve(problem)


def scripted_sandbox() -> Sandbox:
    return ScriptedSandbox(lambda code: Execution(Outcome.OK, "42", 0.0))


def forks() -> Sandbox:
    server = ForkServer(2)
    server.start()
    return server


def starter(
    script: Script | None = None,
    *,
    make_sandbox: Callable[[], Sandbox] = scripted_sandbox,
    kind: type[Solver] = Scripted,
) -> Start:
    """Makes real solvers on the scripted engine."""

    async def engine() -> Engine:
        return Hanging(script or replies(ASK, ANSWER))

    async def sandbox() -> Sandbox:
        return make_sandbox()

    def start(config: Config, watch: Watch) -> Solver:
        return kind(config, FORMATS["numina_tir"], engine, sandbox, watch=watch, grace_s=0.2)

    return start


def predicting(start: Start, config: Config, folder: Path) -> Predictor:
    return Predictor(start, config, folder, load_s=LATE_S, grace_s=0.6)


def faulty(prompt: str, sampling: Sampling) -> str:
    """Writes the right answer, unless the problem names a fault."""
    name = prompt.partition("fault: ")[2].partition(";")[0]
    if name in FAULTS:
        FAULTS[name]()
    return replies(ASK, ANSWER)(prompt, sampling)


def throw(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


FAULTS: dict[str, Callable[[], None]] = {
    "exception": throw(ZeroDivisionError("of the engine")),
    "memory": throw(MemoryError()),
    "exit": throw(SystemExit(1)),
    "interrupt": throw(KeyboardInterrupt()),
    "kill": throw(EngineDied("its process was killed")),
    "block": lambda: time.sleep(2.0),  # twice, for two samples: beyond deadline and grace
}
AT_FAULT = [*FAULTS, "hang", "solver"]


def problems_csv(folder: Path, ids: Sequence[object], texts: Sequence[str | None]) -> Path:
    path = folder / "test.csv"
    pl.DataFrame({"id": ids, "problem": texts}, strict=False).write_csv(path)
    return path


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary-1.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# Every edition


@pytest.mark.slow
@pytest.mark.parametrize("edition", ["aimo-1", "aimo-2", "aimo-3"])
def test_every_edition_ends_in_a_valid_submission(
    edition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config(samples=3, edition=edition, problem_timeout_s=20)
    texts = [TEXT, "Wie groß ist $6·7$? 求积 🧮", "x" * 100_000, None, TEXT]
    data = problems_csv(tmp_path, ["229ee8", "246d26", "2fc4ad", "430b63", "5277ed"], texts)
    package = FakeGateway(edition, data, tmp_path)
    with predicting(starter(make_sandbox=forks), config, tmp_path / "runs") as predictor:
        serve(predictor, data, package)
    assert package.verdict.valid, package.verdict
    left = tmp_path / competition_named(edition).submission
    submission = pl.read_csv(left) if left.suffix == ".csv" else pl.read_parquet(left)
    assert submission.schema == {"id": pl.String, "answer": pl.Int64}
    answers = dict(submission.iter_rows())
    assert answers == {i: 0 if i == "430b63" else 42 for i in answers}
    assert len(answers) == 5


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [([12, 345], pl.Int64), (["424e18", "1e3"], pl.Float64), (["0a", "0b"], pl.String)],
)
def test_an_id_comes_back_as_the_csv_made_it(
    ids: Sequence[object],
    dtype: type[pl.DataType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = problems_csv(tmp_path, ids, [TEXT] * 2)
    package = FakeGateway("aimo-2", data, tmp_path)
    with predicting(starter(), QUICK, tmp_path / "runs") as predictor:
        serve(predictor, data, package)
        frame = predict_function(predictor)(pl.Series("id", ids[:1]), pl.Series("problem", [TEXT]))
    assert package.verdict.valid, package.verdict
    assert pl.read_parquet(tmp_path / "submission.parquet")["id"].dtype == dtype
    assert frame["id"].to_list() == list(ids[:1])


def test_predict_is_a_plain_function_that_may_get_a_gold_answer(tmp_path: Path) -> None:
    with predicting(starter(), QUICK, tmp_path) as predictor:
        predict = predict_function(predictor)
        assert predict.__name__ == "predict"
        frame = predict(pl.Series("id", [7]), pl.Series("problem", [TEXT]), pl.Series([1]))
        row = pl.DataFrame({"id": [7], "problem": [TEXT]})
        whole = predict(row, pl.DataFrame({"id": [7], "answer": [0]}))
    assert frame.equals(pl.DataFrame({"id": [7], "answer": [42]}))
    assert whole.equals(frame)


def test_a_missing_package_of_the_competition_names_the_remedy(tmp_path: Path) -> None:
    with predicting(starter(), QUICK, tmp_path) as predictor, pytest.raises(UserError, match="add"):
        serve(predictor, tmp_path / "test.csv")


# Nothing escapes, nothing is late


@pytest.mark.slow
def test_two_hundred_problems_with_a_fifth_at_fault_get_two_hundred_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = random.Random(1)
    faults = [AT_FAULT[k % len(AT_FAULT)] for k in range(40)] + [""] * 160
    rng.shuffle(faults)
    texts = [f"{TEXT} fault: {name};" for name in faults]
    data = problems_csv(tmp_path, range(200), texts)
    package = FakeGateway("aimo-3", data, tmp_path)
    threads, children = threads_of_this(), children_of_this()
    config = Config(
        samples=2, edition="aimo-3", problem_timeout_s=3, total_time_s=18_000, problems=200
    )
    start = starter(faulty, make_sandbox=forks)
    with predicting(start, config, tmp_path / "runs") as predictor:
        tries = itertools.count()
        assert soon(lambda: predictor.predict(f"to have the sandbox up {next(tries)}", TEXT) == 42)
        serve(predictor, data, package)
    verdict = package.verdict
    assert verdict.valid, verdict
    assert len(verdict.seconds) == 200
    assert max(verdict.seconds) < LATE_S  # 3 of deadline, .6 of grace, and a busy machine
    answers = dict(pl.read_parquet(tmp_path / "submission.parquet").iter_rows())
    right = [answers[k] for k, fault in enumerate(faults) if not fault].count(42)
    assert right >= 155  # all 160, where the machine has a second for each
    assert len(table_of(tmp_path / "runs")) > 200
    assert soon(lambda: threads_of_this() <= threads)
    assert soon(lambda: children_of_this() <= children)


def soon(holds: Callable[[], bool]) -> bool:
    """Whether it holds before it is late."""
    end = time.monotonic() + LATE_S
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def threads_of_this() -> int:
    """How many threads this process has, without those of polars, which have names of their own."""
    name = Path("/proc/self/comm").read_text()
    return [p.read_text() for p in Path("/proc/self/task").glob("*/comm")].count(name)


def children_of_this() -> set[str]:
    """The processes that this one has started and that have not ended."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, also in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_of_the_call_itself_is_answered_at_once(tmp_path: Path) -> None:
    class Interrupting(Scripted):
        def solve(self, problem: Problem) -> Solution:
            if problem.id == "b":  # by now the call waits for this thread
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            return super().solve(problem)

    patient = dataclasses.replace(QUICK, problem_timeout_s=60)
    with predicting(starter(kind=Interrupting), patient, tmp_path) as predictor:
        predictor.predict("a", TEXT)
        start = time.monotonic()
        assert predictor.predict("b", TEXT + " fault: hang") == 0
        assert time.monotonic() - start < LATE_S
        assert predictor.predict("c", TEXT) == 42
    assert "KeyboardInterrupt" in table_of(tmp_path)[1]["reason"]


@pytest.mark.slow
def test_a_solver_that_hangs_is_cut_with_its_votes_so_far_and_replaced(tmp_path: Path) -> None:
    class Stuck(Solver):
        def solve(self, problem: Problem) -> Solution:
            solution = super().solve(problem)
            if problem.id == "a":
                threading.Event().wait()
            return solution

    made: list[Config] = []

    def start_one(config: Config, watch: Watch) -> Solver:
        made.append(config)
        return starter(kind=Stuck)(config, watch)

    with predicting(start_one, QUICK, tmp_path) as predictor:
        start = time.monotonic()
        assert predictor.predict("a", TEXT) == 42
        assert time.monotonic() - start < LATE_S
        assert predictor.predict("b", TEXT) == 42
    assert len(made) == 2
    assert [row["reason"].split(" ")[0] for row in table_of(tmp_path)] == ["vote", "vote"]


@pytest.mark.slow
def test_an_event_loop_that_stays_blocked_is_given_up_after_two_problems(tmp_path: Path) -> None:
    release = threading.Event()

    def script(prompt: str, sampling: Sampling) -> str:
        if "fault: for good" in prompt:
            release.wait()
        return replies(ASK, ANSWER)(prompt, sampling)

    with predicting(starter(script), QUICK, tmp_path) as predictor:
        texts = [TEXT + " fault: for good", TEXT, TEXT]
        answers = [predictor.predict(k, text) for k, text in enumerate(texts)]
        release.set()
    assert answers == [0, 0, 42]


def test_an_engine_that_dies_costs_no_problem_while_there_is_time(tmp_path: Path) -> None:
    died: list[str] = []

    def script(prompt: str, sampling: Sampling) -> str:
        if not died:
            died.append(prompt)
            raise EngineDied("its process was killed")
        return replies(ASK, ANSWER)(prompt, sampling)

    config = dataclasses.replace(QUICK, samples=1, problem_timeout_s=20)
    with predicting(starter(script), config, tmp_path) as predictor:
        assert predictor.predict("a", TEXT) == 42
    assert len(died) == 1


@pytest.mark.slow
def test_a_wait_for_the_model_counts_against_an_answer_of_aimo_2(tmp_path: Path) -> None:
    """The gateway waits half an hour for an answer, whatever it is that takes so long."""
    hang = threading.Event()
    loads: list[float] = []

    class Stuck(Solver):
        def solve(self, problem: Problem) -> Solution:
            if problem.id == "b":
                hang.wait()
            return super().solve(problem)

    def start(config: Config, watch: Watch) -> Solver:
        loads.append(time.monotonic())
        if len(loads) > 1:
            hang.wait()
        return starter(kind=Stuck)(config, watch)

    with Predictor(start, QUICK, tmp_path, load_s=30.0, grace_s=0.6) as predictor:
        assert predictor.predict("a", TEXT) == 42
        assert predictor.predict("b", TEXT) == 0
        began = time.monotonic()
        assert predictor.predict("c", TEXT) == 0
        assert time.monotonic() - began < 30 + LATE_S
        hang.set()
    assert len(loads) >= 2


@pytest.mark.parametrize("error", [OSError("no GPU"), SystemExit(1), MemoryError()])
def test_a_solver_that_cannot_be_made_is_tried_three_times(
    error: BaseException, tmp_path: Path
) -> None:
    tries: list[float] = []

    def start(config: Config, watch: Watch) -> Solver:
        tries.append(time.monotonic())
        raise error

    with predicting(start, QUICK, tmp_path) as predictor:
        assert [predictor.predict(k, TEXT) for k in range(6)] == [0] * 6
    assert len(tries) == 3


def test_a_solver_that_fails_to_load_once_is_made_for_the_next_problem(tmp_path: Path) -> None:
    tries: list[Config] = []

    def start(config: Config, watch: Watch) -> Solver:
        tries.append(config)
        if len(tries) == 1:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return starter()(config, watch)

    with predicting(start, QUICK, tmp_path) as predictor:
        time.sleep(0.1)
        assert predictor.predict("a", TEXT) == 42
    first_s, second_s = (config.total_time_s or 0 for config in tries)
    assert 0.1 <= first_s - second_s < 60


@pytest.mark.parametrize("where", ["start", "engine"])
def test_a_loading_that_hangs_costs_the_first_problem_its_patience(
    where: str, tmp_path: Path
) -> None:
    async def engine() -> Engine:
        await asyncio.Event().wait()
        raise AssertionError

    async def sandbox() -> Sandbox:
        return scripted_sandbox()

    def start(config: Config, watch: Watch) -> Solver:
        if where == "start":
            threading.Event().wait()
        return Solver(config, FORMATS["numina_tir"], engine, sandbox)

    config = Config(edition="aimo-2", total_time_s=10, problems=20)
    began = time.monotonic()
    predictor = Predictor(start, config, tmp_path, load_s=1.0, grace_s=0.6)
    assert [predictor.predict(k, TEXT) for k in range(3)] == [0] * 3
    assert 1.0 < time.monotonic() - began < LATE_S


def test_loading_begins_before_the_first_problem_comes(tmp_path: Path) -> None:
    begun = threading.Event()

    def start(config: Config, watch: Watch) -> Solver:
        begun.set()
        return starter()(config, watch)

    with predicting(start, QUICK, tmp_path):
        assert begun.wait(LATE_S)


def test_when_the_time_is_up_answers_come_at_once(tmp_path: Path) -> None:
    config = Config(edition="aimo-2", samples=2, total_time_s=1, problems=50)
    with predicting(starter(lambda p, s: time.sleep(2) or ANSWER), config, tmp_path) as predictor:
        time.sleep(1.1)
        start = time.monotonic()
        assert [predictor.predict(k, TEXT) for k in range(20)] == [0] * 20
        assert time.monotonic() - start < LATE_S
    assert "the time of the run is up" in table_of(tmp_path)[-1]["reason"]


# What comes in, what goes out


class Hostile:
    """An id or a text that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "text",
    [None, "", " \n", float("nan"), 7, b"\xff", [], Hostile(), "\ud800", pl.Series([None]),
     pl.Series("problem", [], dtype=pl.String), pd.Series(["x", "y"]), "\x00" * 100_000],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_any_text_gets_a_plain_int(text: object, tmp_path: Path) -> None:
    with predicting(starter(), QUICK, tmp_path) as predictor:
        assert type(predictor.predict(Hostile(), text)) is int
        assert type(predictor.predict("a", text)) is int
        assert predictor.predict("b", TEXT) == 42


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pl.Series(["a b"]), "a b"),
        (pd.Series(["a b"]), "a b"),
        (pl.Series([424e18]), "4.24e+20"),
        (pd.Series([None, 1.0])[:1], ""),
        ("\ud800x", "?x"),
        (12, "12"),
    ],
)
def test_the_text_is_found_in_what_a_gateway_hands_over(value: object, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    ("edition", "answer", "sent"),
    [
        ("aimo-1", 1042, 42), ("aimo-2", 1042, 42), ("aimo-3", 99_999, 99_999),
        ("aimo-3", 100_000, 0), ("aimo-2", -1, 0), ("aimo-2", None, 0), ("aimo-2", 4.0, 0),
        ("any", 1 << 63, 0), ("any", -5, -5), ("aimo-2", "7", 0),
    ],
)  # fmt: skip
def test_an_answer_out_of_range_is_the_fallback(edition: str, answer: object, sent: int) -> None:
    assert admitted(competition_named(edition).answers, answer) == sent


# What is left behind


def test_traces_and_table_grow_with_every_problem(tmp_path: Path) -> None:
    with predicting(starter(faulty), QUICK, tmp_path) as predictor:
        for k in range(3):
            predictor.predict(k, TEXT if k != 1 else "")
            assert len(table_of(tmp_path)) == k + 1
            settings = settings_in(tmp_path / "traces-1.jsonl")
            solutions = list(solutions_in(tmp_path / "traces-1.jsonl"))
            assert len(solutions) == k + 1
    assert settings["edition"] == "aimo-2"
    assert [len(s.traces) for s in solutions] == [2, 0, 2]
    row = table_of(tmp_path)[0]
    assert (row["answer"], row["votes"], row["margin"], row["reason"]) == (
        "42", "42:2", "1.0", "vote",
    )  # fmt: skip
    assert row["stopped"] == "the vote was decided"
    assert float(row["given_s"]) == QUICK.problem_timeout_s
    assert "the problem is empty" in table_of(tmp_path)[1]["reason"]


def test_a_second_run_in_the_folder_leaves_the_first_alone(tmp_path: Path) -> None:
    for samples in (1, 2):
        config = Config(samples=samples, edition="aimo-2", problem_timeout_s=1)
        with predicting(starter(), config, tmp_path) as predictor:
            predictor.predict("a", TEXT)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["summary-1.csv", "summary-2.csv", "traces-1.jsonl", "traces-2.jsonl"]


def test_a_folder_that_cannot_be_written_costs_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with predicting(starter(), QUICK, tmp_path / "file") as predictor:
        assert predictor.predict("a", TEXT) == 42
        (tmp_path / "file").unlink()
        assert predictor.predict("b", TEXT) == 42
    assert [row["problem"] for row in table_of(tmp_path / "file")] == ["a", "b"]


def test_each_answer_is_told_to_programs_in_a_line_of_json(tmp_path: Path) -> None:
    printed = io.StringIO()
    with predicting(starter(), QUICK, tmp_path) as predictor, redirect_stdout(printed):
        predictor.predict("a", TEXT)
        predictor.predict("b", "")
    lines = printed.getvalue().splitlines()
    assert [read_progress(line) for line in lines] == [None, 1, None, 2]
    told = json.loads(lines[1])
    assert (told["problem"], told["answer"]) == ("a", 42)


@pytest.mark.parametrize("line", ["", "3. a: 42", '{"answered": ', '{"answered": null}', "[3]"])
def test_any_other_line_is_no_progress(line: str) -> None:
    assert read_progress(line) is None


def test_an_answer_that_cannot_be_printed_is_given_all_the_same(tmp_path: Path) -> None:
    closed = io.StringIO()
    closed.close()
    with predicting(starter(), QUICK, tmp_path) as predictor, redirect_stdout(closed):
        assert predictor.predict("a", TEXT) == 42


def test_a_disk_that_is_full_for_a_while_loses_only_what_came_then(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with predicting(starter(), QUICK, tmp_path) as predictor:
        assert predictor.predict("a", TEXT) == 42
        size = (tmp_path / "traces-1.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, hard))  # EFBIG in place of ENOSPC
        try:
            assert predictor.predict("b", TEXT) == 42
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert predictor.predict("c", TEXT) == 42
    solutions = list(solutions_in(tmp_path / "traces-1.jsonl"))
    assert [s.problem.id for s in solutions] == ["a", "c"]
    assert [row["problem"] for row in table_of(tmp_path)] == ["a", "b", "c"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_age_of_the_process_is_known_or_taken_as_nothing() -> None:
    first = process_age_s(1e9)
    time.sleep(0.1)
    assert 0.05 < process_age_s(1e9) - first < LATE_S
    assert process_age_s(0.0) == 0.0


def famine() -> None:
    """Puts work into the background with hardly any memory, more of it each time.

    Ends after a thread that had the memory to be made, and none to begin.
    """
    background(int).result(60)  # its stack is kept for the others
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    for spare in range(200):
        hoard, size = [], 1 << 20
        resource.setrlimit(resource.RLIMIT_AS, (0, hard))
        while size > 16:
            try:
                hoard.append(bytes(size))
            except MemoryError:
                size //= 2
        for _ in range(min(spare, len(hoard))):
            hoard.pop()
        lost = False
        with suppress(MemoryError, RuntimeError):
            lost = background(int).cancelled()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        if lost:
            return


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_thread_that_has_no_memory_to_begin_is_not_waited_for() -> None:
    """The notebook stood still until it was killed."""
    famished = "from tests.kaggle.test_gateway import famine; famine()"
    root = ROOT
    path = os.pathsep.join(filter(None, [str(root), *sys.path]))
    environ = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", famished], env=environ, timeout=600, check=True)


# The fake gateway refuses what the gateways refuse


def frame(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(columns, strict=False)


def verdict_of(edition: str, predict: Callable[..., Any], folder: Path, speed: float = 1.0) -> Any:
    data = problems_csv(folder, ["a", "b", "c"], [TEXT] * 3)
    gateway = FakeGateway(edition, data, folder, speed=speed)
    with suppress(Refused):
        server_of(gateway, edition)(predict).serve()
    return gateway.verdict


def server_of(gateway: FakeGateway, edition: str) -> Any:
    """The edition's own class, as its notebook calls it."""
    return gateway.AIMO2InferenceServer if edition == "aimo-2" else gateway.AIMO3InferenceServer


@pytest.mark.parametrize(
    "returned",
    [
        lambda id: frame(id=[id, id], answer=[1, 2]),
        lambda id: [1],
        lambda id: {"id": id, "answer": 1},
        lambda id: None,
        lambda id: 1,
        lambda id: "1",
        lambda id: (pd.DataFrame if id == "b" else pl.DataFrame)({"id": [id], "answer": [1]}),
        lambda id: frame(id=[id], answer=pl.Series([1 << 100], dtype=pl.Object)),
        lambda id: 1 / 0,
        lambda id: sys.exit(),
    ],
    ids=["two rows", "list", "dict", "None", "int", "str", "mixed", "bits", "raises", "exits"],
)  # fmt: skip
def test_the_gateway_ends_a_run_without_a_submission(
    returned: Callable[[str], Any], tmp_path: Path
) -> None:
    verdict = verdict_of("aimo-3", lambda id, problem: returned(id[0]), tmp_path, speed=5 * 3600)
    assert verdict.faults
    assert (verdict.valid, verdict.rows) == (False, 0)
    assert not (tmp_path / "submission.parquet").exists()


@pytest.mark.parametrize("answer", [1.0, "1", -1, 100_000, None])
def test_the_gateway_accepts_and_reports_a_wrong_kind_of_answer(
    answer: object, tmp_path: Path
) -> None:
    verdict = verdict_of("aimo-3", lambda id, p: frame(id=id, answer=[answer]), tmp_path)
    assert (verdict.rows, len(verdict.wrong), verdict.valid) == (3, 3, False)


def test_a_wrong_id_is_overwritten_in_aimo_3_and_refused_in_aimo_2(tmp_path: Path) -> None:
    verdicts = [
        verdict_of(e, lambda id, p: frame(id=["z"], answer=[1]), tmp_path)
        for e in ("aimo-2", "aimo-3")
    ]
    assert [(v.rows, len(v.faults), len(v.wrong)) for v in verdicts] == [(0, 1, 0), (3, 0, 3)]
    assert pl.read_parquet(tmp_path / "submission.parquet")["id"].to_list() == ["a", "b", "c"]


@pytest.mark.slow
def test_a_late_answer_ends_the_run_but_the_first_may_take_long(tmp_path: Path) -> None:
    calls: list[str] = []

    def predict(id: pl.Series, problem: pl.Series) -> pl.DataFrame:
        calls.append(id[0])
        time.sleep(2.5 if len(calls) in (1, 4) else 0.0)  # the second problem comes twice
        return frame(id=id, answer=[1])

    verdict = verdict_of("aimo-2", predict, tmp_path, speed=30 * 60 / 1.5)
    assert (verdict.late, verdict.rows, len(verdict.seconds)) == ([calls[3]], 0, 3)


def test_the_order_is_that_of_the_file_only_where_aimo_3_is_run_again(tmp_path: Path) -> None:
    data = problems_csv(tmp_path, range(20), [TEXT] * 20)

    def order(edition: str, *, rerun: bool) -> list[int]:
        rows = FakeGateway(edition, data, tmp_path).begin(data, rerun=rerun)
        return [row.item(0, "id") for row in rows]

    assert order("aimo-3", rerun=True) == list(range(20))
    for shuffled in (order("aimo-2", rerun=True), order("aimo-3", rerun=False)):
        assert shuffled != list(range(20))
        assert sorted(shuffled) == list(range(20))
    assert order("aimo-2", rerun=True) != order("aimo-2", rerun=True)  # a new seed each time


def test_a_gateway_says_how_a_rerun_ended_and_at_home_it_raises(tmp_path: Path) -> None:
    def result() -> dict[str, Any]:
        return dict(json.loads((tmp_path / "result.json").read_text()))

    verdict_of("aimo-3", lambda id, problem: frame(id=id, answer=[1]), tmp_path)
    assert result() == {"Succeeded": True}
    verdict_of("aimo-3", lambda id, problem: 1 / 0, tmp_path)
    assert (result()["ErrorType"], result()["ErrorName"]) == (3, "SERVER_RAISED_EXCEPTION")
    verdict_of("aimo-3", lambda id, problem: [].index("x" * 20_000), tmp_path)
    assert result()["ErrorName"] == "SERVER_CONNECTION_FAILED"
    verdict_of("aimo-2", lambda id, problem: 1, tmp_path)
    assert result()["ErrorName"] == "GATEWAY_RAISED_EXCEPTION"
    data = problems_csv(tmp_path, ["a"], [TEXT])
    with pytest.raises(Refused, match="INVALID_SUBMISSION"):
        server_of(FakeGateway("aimo-3", data, tmp_path), "aimo-3")(
            lambda id, problem: frame(id=["a", "a"], answer=[1, 1])
        ).run_local_gateway((str(data),))


def test_a_server_that_is_not_up_in_time_is_never_asked(tmp_path: Path) -> None:
    data = problems_csv(tmp_path, ["a"], [TEXT])
    gateway = FakeGateway("aimo-3", data, tmp_path, age_s=lambda: 901.0)
    gateway.AIMO3InferenceServer(lambda id, problem: 1 / 0).serve()
    assert "SERVER_NEVER_STARTED" in gateway.verdict.faults[0]


def test_aimo_1_wants_each_problem_answered_before_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = problems_csv(tmp_path, ["a", "b"], [TEXT] * 2)
    package = FakeGateway("aimo-1", data, tmp_path)
    rows = package.make_env().iter_test()
    assert next(rows) is not None
    assert next(rows) is None
    assert "predict()" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="once"):
        package.make_env()


# A connection that broke, columns in another order, another package in the way


def test_a_request_that_is_sent_again_is_not_solved_again(tmp_path: Path) -> None:
    prompts: list[str] = []

    def script(prompt: str, sampling: Sampling) -> str:
        prompts.append(prompt)
        return replies(ASK, ANSWER)(prompt, sampling)

    config = dataclasses.replace(QUICK, problem_timeout_s=20)
    with predicting(starter(script), config, tmp_path) as predictor:
        waiting = [background(lambda: predictor.predict("a", TEXT)) for _ in range(2)]
        assert [each.result(LATE_S) for each in waiting] == [42, 42]
        once = len(prompts)
        assert predictor.predict("a", TEXT) == 42
        assert len(prompts) == once
        assert predictor.predict("b", TEXT) == 42
    assert [row["problem"] for row in table_of(tmp_path)] == ["a", "b"]


def test_the_gateway_of_a_rehearsal_sends_a_request_again(tmp_path: Path) -> None:
    calls: list[str] = []

    def predict(id: pl.Series, problem: pl.Series) -> pl.DataFrame:
        calls.append(id[0])
        return frame(id=id, answer=[1])

    assert verdict_of("aimo-3", predict, tmp_path).valid
    assert len(calls) == 4
    assert calls[SENT_AGAIN] == calls[SENT_AGAIN + 1]


class Nameless:
    """A column whose very name cannot be asked for."""

    @property
    def name(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("columns", [(), (None,), (Nameless(), Nameless()), ([1], {"name": []})])
def test_whatever_a_gateway_hands_over_is_answered_with_a_frame(
    columns: Sequence[object], tmp_path: Path
) -> None:
    with predicting(starter(), QUICK, tmp_path) as predictor:
        predict = predict_function(predictor)
        assert predict(*columns)["answer"].dtype == pl.Int64
        named = {"id": pl.Series("id", ["x"]), "problem": pl.Series("problem", [TEXT])}
        assert predict(**named).equals(frame(id=["x"], answer=[42]))


class Cutting:
    """A proxy before a port that cuts, once, the connection on which an answer is awaited."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._listener = socket.create_server(("localhost", 0))
        self.port = self._listener.getsockname()[1]
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near = self._listener.accept()[0]
            far = socket.create_connection(("localhost", self._behind))
            self.pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)

    def cut(self) -> None:
        """Breaks every connection there is."""
        for pair in self.pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


def test_a_connection_cut_in_an_answer_costs_neither_the_problem_nor_a_second_solve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("grpc")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent / "lookalike")
    package = import_module("kaggle_evaluation.aimo_3_inference_server")
    solves: list[str] = []

    class Cut(Scripted):
        def solve(self, problem: Problem) -> Solution:
            solves.append(problem.id)
            if len(solves) == 2:
                proxy.cut()
            return super().solve(problem)

    data = problems_csv(tmp_path, ["a", "b", "c"], [TEXT] * 3)
    config = dataclasses.replace(QUICK, edition="aimo-3", problem_timeout_s=30)
    with predicting(starter(kind=Cut), config, tmp_path / "runs") as predictor:
        server = package.AIMO3InferenceServer(predict_function(predictor))
        proxy = Cutting(server.port)
        server.serve()
        gateway = package.AIMO3Gateway((str(data),))
        gateway.client.ports = [proxy.port]
        gateway.run()
    assert sorted(solves) == ["a", "b", "c"]
    rows = dict(pl.read_parquet(tmp_path / "submission.parquet").iter_rows())
    assert rows == {"a": 42, "b": 42, "c": 42}
    assert len(table_of(tmp_path / "runs")) == 3


@pytest.mark.parametrize(
    "names", [("id", "problem"), ("problem", "id"), ("answer", "question", "id")]
)
def test_columns_are_known_by_their_names(names: Sequence[str], tmp_path: Path) -> None:
    cells = {"id": ["x"], "problem": [TEXT], "question": [TEXT], "answer": [7]}
    columns = [pl.Series(name, cells[name]) for name in names]
    with predicting(starter(), QUICK, tmp_path) as predictor:
        predict = predict_function(predictor)
        assert predict(*columns).equals(frame(id=["x"], answer=[42]))
        assert predict(pl.DataFrame(columns)).equals(frame(id=["x"], answer=[42]))
    assert table_of(tmp_path)[0]["problem"] == "x"


def test_a_port_that_is_taken_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("grpc")
    monkeypatch.syspath_prepend(Path(__file__).parent / "lookalike")
    package = import_module("kaggle_evaluation.aimo_2_inference_server")
    with predicting(starter(), QUICK, tmp_path) as predictor, socket.create_server(("", 0)) as own:
        monkeypatch.setattr(package.AIMO2InferenceServer, "ports", [own.getsockname()[1]])
        with pytest.raises(UserError, match="cannot listen.*restart the kernel"):
            serve(predictor, tmp_path / "test.csv", package)


def mounted(root: Path, code: str, name: str = "aimo_2_inference_server.py") -> Path:
    """A competition's folder, whose package has that code."""
    package = root / "ai-mathematical-olympiad-progress-prize-2" / "kaggle_evaluation"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / name).write_text(code)
    return package.parent


def faults_of(root: Path) -> str:
    found = package_faults(competition_named("aimo-2"), survey(root))
    return "; ".join(fault.text for fault in found)


def test_a_package_that_is_missing_or_cannot_be_imported_is_told_apart(tmp_path: Path) -> None:
    assert "competition_sources" in faults_of(tmp_path)
    folder = mounted(tmp_path / "a", "import no_such_thing")
    assert f"mounted at {folder}, its import needs no_such_thing" in faults_of(tmp_path / "a")
    mounted(tmp_path / "b", "print('files are missing'); raise SystemExit(1)")
    assert "its import fails (files are missing)" in faults_of(tmp_path / "b")
    folder = mounted(tmp_path / "c", "from .compiled import server")
    (folder / "kaggle_evaluation/compiled.cpython-38-x86_64-linux-gnu.so").touch()
    here = f"3.{sys.version_info.minor}"
    assert f"is built for Python 3.8, here is {here}" in faults_of(tmp_path / "c")
    assert "docker_image" in faults_of(tmp_path / "c")
    mounted(tmp_path / "d", "AIMO2InferenceServer = None")
    assert faults_of(tmp_path / "d") == ""


def test_the_mounted_package_wins_over_one_that_is_loaded(tmp_path: Path) -> None:
    older = mounted(tmp_path / "older", "import side; which = side.which")
    (older / "kaggle_evaluation/side.py").write_text("which = 'older'")
    (older / "kaggle_evaluation/__init__.py").write_text("import sys; sys.path.append(__path__[0])")
    shutil.copytree(older, tmp_path / "newer")
    (tmp_path / "newer/kaggle_evaluation/side.py").write_text("which = 'newer'")
    package = competition_named("aimo-2").package
    assert package
    code = f"""
import sys
from pathlib import Path
from aimo_submit.competition import competition_named
from aimo_submit.kaggle.runtime.gateway import put_first
sys.path.insert(0, {str(older)!r})
import kaggle_evaluation.aimo_2_inference_server
put_first(Path({str(tmp_path / "newer")!r}), competition_named("aimo-2").package)
import kaggle_evaluation.aimo_2_inference_server
print(kaggle_evaluation.aimo_2_inference_server.which)
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.stdout == "newer\n", done.stderr
