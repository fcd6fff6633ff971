"""Rehearsals: the built notebook in a real kernel, what goes wrong on Kaggle done to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aimo_submit.cards import load_card
from aimo_submit.cli import main
from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.kaggle.client import gate
from aimo_submit.kaggle.client.bundle import SUBMISSION, built
from aimo_submit.kaggle.rehearsal import faults
from aimo_submit.kaggle.rehearsal.rehearsal import Plan, checked, rehearse
from aimo_submit.kaggle.rehearsal.verdict import Result
from tests import ROOT

pytest.importorskip("nbclient")

LOOKALIKE = Path(__file__).parent / "lookalike"
CARD = load_card("tiny-tir")


@pytest.fixture(scope="session")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook that the tree builds."""
    file = tmp_path_factory.mktemp("built") / "submission.ipynb"
    file.write_text(built(ROOT)[ROOT / SUBMISSION])
    return file


def plan_of(notebook: Path, edition: str = "aimo-3", problems: int = 2, **other: object) -> Plan:
    chosen = load_problems("tiny", competition_named(edition))[:problems]
    plan = Plan(notebook, edition, chosen, CARD, settings={"samples": 2}, scripted=True)
    return replace(plan, **other)  # type: ignore[arg-type]


def notebook_of(folder: Path, *cells: str) -> Path:
    """A notebook of our own, with these cells."""
    file = folder / "small.ipynb"
    made = [
        {"cell_type": "code", "id": f"c{k}", "metadata": {}, "source": source, "outputs": [],
         "execution_count": None}
        for k, source in enumerate(cells)
    ]  # fmt: skip
    file.write_text(
        json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    return file


def passes(result: Result) -> Result:
    assert result.passed, result
    assert result.used_s < result.limit_s
    return result


# Every edition, on the model


@pytest.mark.parametrize(
    ("edition", "rerun", "layout"),
    [("aimo-1", True, "old"), ("aimo-2", True, "new")],  # aimo-3: with the mark, below
)
def test_the_built_notebook_answers_every_edition(
    edition: str, rerun: bool, layout: str, notebook: Path
) -> None:
    plan = plan_of(notebook, edition, layout=layout, scripted=False)
    result = passes(rehearse(plan, rerun=rerun))
    assert (result.rows, result.problems) == (2, 2)
    assert result.fallbacks is not None
    assert result.fallbacks < 2


@pytest.mark.parametrize("edition", ["aimo-2", "aimo-3"])
def test_a_gateway_in_a_process_of_its_own_gets_its_answers_over_grpc(
    edition: str, notebook: Path, tmp_path: Path
) -> None:
    pytest.importorskip("grpc")
    package = LOOKALIKE / "kaggle_evaluation"
    plan = plan_of(notebook, edition, problems=3, package=package, keep=tmp_path)
    result = passes(rehearse(plan, rerun=True))
    assert (result.rows, result.fallbacks) == (3, 0)
    assert not (tmp_path / "plain-rerun" / "verdict.json").exists()  # the stand-in had no part


# What goes wrong

IN_PROBLEMS = "long-problem+empty-problem+null-problem+non-ascii+quoted-ids"
IN_ENGINE = "engine-dies+engine-exits+engine-memory+engine-hangs+loop-blocked"
CASES = [
    # the case, problems, fallbacks that it may cost
    (IN_PROBLEMS, 2, 2),
    ("integer-ids+config-invalid", 2, 0),
    ("float-ids+clock-jumps", 2, 0),
    (IN_ENGINE, 7, 6),
    ("engine-unloadable", 2, 2),
    ("model-missing", 2, 2),
    ("model-truncated", 2, 2),
    ("no-gpu", 2, 2),
    ("wheels-missing", 2, 2),
    ("wheels-broken", 2, 2),
    ("out-of-memory", 4, 3),
    ("disk-full", 4, 0),
    ("sandbox-killed", 4, 4),
    ("sandbox-storm", 4, 4),
    ("paused", 4, 1),
]


@pytest.mark.parametrize(("case", "problems", "lost"), CASES, ids=[case for case, _, _ in CASES])
def test_whatever_goes_wrong_every_row_of_the_rerun_is_answered(
    case: str, problems: int, lost: int, notebook: Path
) -> None:
    settings = {"samples": 2, "problem_timeout_s": 4}
    plan = plan_of(notebook, problems=problems, settings=settings)
    result = passes(rehearse(plan, rerun=True, case=case))
    assert result.rows == result.problems >= problems
    assert result.fallbacks is not None
    assert result.fallbacks <= lost
    assert bool(result.injected) == bool(faults.injections_of(case))


def test_every_case_that_needs_no_gpu_is_among_those_tested() -> None:
    tested = {name for case, _, _ in CASES for name in case.split("+")}
    assert tested == set(faults.cases_of([faults.ALL], "transformers"))
    assert len(tested) >= 15


@pytest.mark.parametrize(
    ("case", "word"),
    [("model-missing", "model"), ("config-invalid", "samples"), ("wheels-broken", "wheels")],
)
def test_the_interactive_run_stops_early_and_says_why(
    case: str, word: str, notebook: Path
) -> None:
    result = passes(rehearse(plan_of(notebook), rerun=False, case=case))
    assert word in result.stopped
    assert result.rows == 0


# The rehearsal itself


def test_a_notebook_that_hangs_ends_at_the_limit_with_all_it_started(tmp_path: Path) -> None:
    code = "import subprocess; subprocess.Popen(['setsid', 'sleep', '86399'])\nwhile True: pass"
    plan = plan_of(notebook_of(tmp_path, code), speed=5 * 3600 / 6)
    start = time.monotonic()
    result = rehearse(plan, rerun=True)
    assert time.monotonic() - start < 60
    assert "the notebook was not done within the limit" in result.against
    assert not running("86399")


def test_a_rehearsal_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    code = "import subprocess; subprocess.Popen(['setsid', 'sleep', '86398']).wait()"
    file = notebook_of(tmp_path, code)
    command = [sys.executable, "-m", "aimo_submit", "rehearse", "--limit", "1", "--run"]
    command += ["rerun", "--notebook", str(file), "--edition", "aimo-3", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(command, env={**environment, "TMPDIR": str(tmp_path)})
    assert soon(lambda: running("86398"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert soon(lambda: not running("86398"))


def running(word: str) -> bool:
    """Whether a `sleep` of so many seconds runs."""
    lines = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                lines.append(process.joinpath("cmdline").read_bytes().split(b"\0"))
            except OSError:
                continue
    return any(line[:2] == [b"sleep", word.encode()] for line in lines)


def soon(holds: Callable[[], bool], within_s: float = 60) -> bool:
    end = time.monotonic() + within_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.1)
    return holds()


def test_the_kit_comes_from_the_notebook_and_never_from_here(tmp_path: Path) -> None:
    result = rehearse(plan_of(notebook_of(tmp_path, "import aimo_submit")), rerun=True)
    assert "the notebook has not unpacked its kit" in result.stopped
    assert not result.passed


def test_there_is_no_network_and_no_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    code = f"""
import os, socket, sys
assert "KAGGLE_KEY" not in os.environ and os.environ["HF_HUB_OFFLINE"] == "1"
assert os.path.expanduser("~") != {str(Path.home())!r}
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError:
    raise SystemError("apart")
"""
    result = rehearse(plan_of(notebook_of(tmp_path, code)), rerun=True)
    assert result.stopped == "SystemError: apart"


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ("[1]", "1 problems are not answered"),
        ("[1, 100000]", "100000"),
        ("[1.0, 2.0]", "must be integers"),
        ("[1, None]", "nulls"),
    ],
)
def test_a_submission_that_is_wrong_does_not_pass(
    answers: str, why: str, tmp_path: Path
) -> None:
    code = f"""
import glob, polars as pl
[csv] = glob.glob("../input/**/test.csv", recursive=True)
answers = {answers}
ids = pl.read_csv(csv)["id"][:len(answers)]
pl.DataFrame({{"id": ids, "answer": answers}}).write_parquet("submission.parquet")
"""
    result = rehearse(plan_of(notebook_of(tmp_path, code)), rerun=True)
    assert not result.passed
    assert why in " ".join(result.against)


def test_a_speed_that_leaves_no_time_is_refused_with_the_highest(notebook: Path) -> None:
    with pytest.raises(UserError, match="at most 85.7"):
        checked(plan_of(notebook, "aimo-2", speed=100))


# The command and its mark


def kernel_folder(folder: Path) -> Path:
    """A folder such as a user has: metadata, template, settings."""
    (folder / "notebooks").mkdir()
    for name in ("submission.py", "config.toml"):
        shutil.copy(ROOT / "notebooks" / name, folder / "notebooks")
    sources = [competition_named("aimo-3").slug]
    metadata = {"code_file": str(SUBMISSION), "competition_sources": sources}
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    return folder


def test_what_was_rehearsed_may_be_pushed_until_it_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kernel_folder(tmp_path)
    assert "has not been rehearsed" in str(gate.why_unrehearsed(folder))
    command = ["rehearse", "--folder", str(folder), "--limit", "1", "-c", "samples=2"]
    assert main(command) == 0, capsys.readouterr()
    assert "2 of 2 runs passed" in capsys.readouterr().out
    assert gate.why_unrehearsed(folder) is None
    mark = json.loads((folder / gate.MARK).read_text())
    assert mark["edition"] == "aimo-3"

    metadata = (folder / "kernel-metadata.json").read_text()
    (folder / "kernel-metadata.json").write_text(metadata + " ")
    assert "kernel-metadata.json has changed" in str(gate.why_unrehearsed(folder))
    (folder / "kernel-metadata.json").write_text(metadata)
    book = json.loads((folder / SUBMISSION).read_text())
    book["cells"][-1]["source"] = "print(1)"
    (folder / SUBMISSION).write_text(json.dumps(book))
    assert "is not what was rehearsed" in str(gate.why_unrehearsed(folder))


def test_a_mark_of_another_edition_or_of_no_sense_does_not_count(
    tmp_path: Path, notebook: Path
) -> None:
    folder = kernel_folder(tmp_path)
    shutil.copy(notebook, folder / SUBMISSION)
    gate.note(folder, "aimo-2", "passed")
    assert "rehearsed as aimo-2" in str(gate.why_unrehearsed(folder))
    (folder / gate.MARK).write_text("[")
    assert "cannot be read" in str(gate.why_unrehearsed(folder))


def test_a_failed_rehearsal_ends_with_code_1_and_leaves_no_mark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = notebook_of(tmp_path, "raise ValueError('no')")
    command = ["rehearse", "--notebook", str(file), "--run", "rerun", "--edition", "aimo-3"]
    assert main([*command, "--folder", str(tmp_path)]) == 1
    assert "FAILED: the notebook stopped: ValueError: no" in capsys.readouterr().out
    assert not (tmp_path / gate.MARK).exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--chaos", "engine-hang"], "known are"),
        (["--chaos", "engine-killed"], "--engine vllm"),
        (["--limit", "0"], "--limit"),
        (["--speed", "0"], "--speed"),
        (["--package", "nowhere"], "aimo_3_gateway.py"),
        (["--model", "nonesuch"], "no card"),
        (["-c", "sampels=3"], "samples"),
    ],
)
def test_misuse_is_one_line_and_code_2(
    options: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = notebook_of(tmp_path, "pass")
    command = ["rehearse", "--notebook", str(file), "--edition", "aimo-3", *options]
    assert main([*command, "--folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert len(error.splitlines()) == 1
