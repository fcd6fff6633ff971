"""Rehearsals: the built notebook in a real kernel, and a verdict on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aimo_submit.cli import main
from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client import gate
from aimo_submit.kaggle.client.bundle import CONFIG, SUBMISSION, TEMPLATE, build
from aimo_submit.kaggle.client.metadata import FILE
from aimo_submit.kaggle.rehearsal.player import Faults, Job
from aimo_submit.kaggle.rehearsal.rehearsal import is_free, rehearse
from aimo_submit.kaggle.rehearsal.tree import Tree, plant
from aimo_submit.kaggle.rehearsal.verdict import judge, refused
from tests import ROOT
from tests.faults.cases import Case
from tests.kaggle.rehearsing import CARD, built, notebook_of, passes, rehearsal_of
from tests.kaggle.test_metadata import AIMO_3

pytest.importorskip("nbclient")

LOOKALIKE = Path(__file__).parent / "lookalike"
LONG = str(86_400 + os.getpid())  # seconds that no other test run sleeps


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook that the tree builds."""
    return built(tmp_path_factory.mktemp("built"))


# Every edition, on the model


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("edition", "rerun", "layout"),
    [("aimo-1", True, "old"), ("aimo-2", True, "new")],  # aimo-3: with the mark, below
)
def test_the_built_notebook_answers_every_edition(
    edition: str, rerun: bool, layout: str, notebook: Path
) -> None:
    result = passes(rehearse(rehearsal_of(notebook, edition, layout=layout), rerun=rerun))
    assert (result.rows, result.problems) == (2, 2)
    assert result.fallbacks is not None
    assert result.fallbacks < 2


@pytest.mark.kernel
@pytest.mark.parametrize("edition", ["aimo-2", "aimo-3"])
def test_a_gateway_in_a_process_of_its_own_gets_its_answers_over_grpc(
    edition: str, notebook: Path, tmp_path: Path
) -> None:
    pytest.importorskip("grpc")
    package = LOOKALIKE / "kaggle_evaluation"
    rehearsal = rehearsal_of(notebook, edition, problems=3, package=package, keep=tmp_path)
    result = passes(rehearse(rehearsal, rerun=True, faults=Case(scripted=True)))
    assert (result.rows, result.fallbacks) == (3, 0)
    left = tmp_path / "plain-rerun"
    assert json.loads((left / "gateway/result.json").read_text()) == {"Succeeded": True}
    assert not (left / "working/submission.parquet").exists()  # it is in the other container
    assert not (left / "verdict.json").exists()  # the fake gateway had no part


@pytest.mark.kernel
def test_what_the_gateway_says_is_told_in_its_words(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    code = """
import glob, os, sys
[csv] = glob.glob("../input/**/test.csv", recursive=True)
sys.path.insert(0, os.path.dirname(csv))
import polars as pl
from kaggle_evaluation.aimo_3_inference_server import AIMO3InferenceServer
def predict(id, problem):
    return pl.DataFrame({"id": [1, 2], "answer": [1, 2]})
AIMO3InferenceServer(predict).serve()
"""
    package = LOOKALIKE / "kaggle_evaluation"
    result = rehearse(rehearsal_of(notebook_of(tmp_path, code), package=package), rerun=True)
    [line] = result.against[:1]
    assert line.startswith("the gateway says INVALID_SUBMISSION: invalid answer")
    assert "mend the notebook" not in " ".join(result.against)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"Succeeded": true}', ""),
        ('{"Succeeded": false, "ErrorType": 99, "ErrorName": null}', "error 99: no details"),
        ('{"Succeeded": false, "ErrorName": "NEW", "ErrorDetails": "a\\nb"}', "NEW: a b"),
        ("[1]", "result.json is broken"),
        ("{", "result.json is broken"),
    ],
)
def test_any_result_of_a_gateway_is_told_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    said = refused(tmp_path)
    assert words in said
    assert bool(said) == bool(words)


def test_what_the_fake_of_an_environment_says_is_told_for_want_of_a_result(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "aimo-1", "new", CARD)
    plant(tree, [("a", "1+1?")], None, speed=1.0)
    said = "GATEWAY_RAISED_EXCEPTION: the file cannot be written"
    tree.verdict.write_text(json.dumps({"problems": 1, "faults": [said]}))
    job = Job("", str(tree.working), str(tree.inputs), {}, {}, limit_s=9.0)
    assert said in judge(tree, [{"ended": 1.0}], job, Faults(), rerun=True).against


def test_a_package_without_its_gateway_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "kaggle_evaluation"
    half.mkdir()
    (half / "aimo_3_inference_server.py").touch()
    file = notebook_of(tmp_path, "pass")
    command = ["rehearse", "--notebook", str(file), "--edition", "aimo-3"]
    assert main([*command, "--folder", str(tmp_path), "--package", str(half)]) == 2
    assert "has no aimo_3_gateway.py" in capsys.readouterr().err


def test_a_package_that_lies_in_the_folder_is_told_of_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(LOOKALIKE / "kaggle_evaluation", tmp_path / "kaggle_evaluation")
    file = notebook_of(tmp_path, "pass")
    command = ["rehearse", "--notebook", str(file), "--edition", "aimo-3", "--speed", "1e9"]
    assert main([*command, "--folder", str(tmp_path)]) == 2  # for the speed
    assert "to rehearse with it: aimo-submit rehearse --package" in capsys.readouterr().err


# The rehearsal itself


@pytest.mark.kernel
def test_a_notebook_that_hangs_ends_at_the_limit_with_all_it_started(tmp_path: Path) -> None:
    code = f"import subprocess; subprocess.Popen(['setsid', 'sleep', '{LONG}'])\nwhile True: pass"
    rehearsal = rehearsal_of(notebook_of(tmp_path, code), speed=5 * 3600 / 6)
    start = time.monotonic()
    result = rehearse(rehearsal, rerun=True)
    assert time.monotonic() - start < 300
    assert "the notebook was not done within the limit" in result.against
    assert not running(LONG)


@pytest.mark.kernel
def test_a_rehearsal_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    code = f"import subprocess; subprocess.Popen(['setsid', 'sleep', '{LONG}']).wait()"
    file = notebook_of(tmp_path, code)
    command = [sys.executable, "-m", "aimo_submit", "rehearse", "--limit", "1", "--run"]
    command += ["rerun", "--notebook", str(file), "--edition", "aimo-3", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(command, env={**environment, "TMPDIR": str(tmp_path)})
    assert soon(lambda: running(LONG))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert soon(lambda: not running(LONG))


def running(word: str) -> bool:
    """True while a `sleep` of so many seconds runs."""
    lines = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                lines.append(process.joinpath("cmdline").read_bytes().split(b"\0"))
            except OSError:
                continue
    return any(line[:2] == [b"sleep", word.encode()] for line in lines)


def soon(holds: Callable[[], bool], within_s: float = 300) -> bool:
    end = time.monotonic() + within_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.1)
    return holds()


@pytest.mark.kernel
def test_the_kit_comes_from_the_notebook_and_never_from_here(tmp_path: Path) -> None:
    result = rehearse(rehearsal_of(notebook_of(tmp_path, "import aimo_submit")), rerun=True)
    assert "the notebook has not unpacked its kit" in result.stopped
    assert not result.passed


@pytest.mark.kernel
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
    result = rehearse(rehearsal_of(notebook_of(tmp_path, code)), rerun=True)
    assert result.stopped == "SystemError: apart"


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ("[1]", "1 problems are not answered"),
        ("[1, 100000]", "100000"),
        ("[1.0, 2.0]", "must be integers"),
        ("[1, None]", "nulls"),
    ],
)
def test_a_submission_that_is_wrong_does_not_pass(answers: str, why: str, tmp_path: Path) -> None:
    code = f"""
import glob, polars as pl
[csv] = glob.glob("../input/**/test.csv", recursive=True)
answers = {answers}
ids = pl.read_csv(csv)["id"][:len(answers)]
pl.DataFrame({{"id": ids, "answer": answers}}).write_parquet("submission.parquet")
"""
    result = rehearse(rehearsal_of(notebook_of(tmp_path, code)), rerun=False)
    assert not result.passed
    assert why in " ".join(result.against)


def test_a_speed_that_leaves_no_time_is_refused_with_the_highest(notebook: Path) -> None:
    with pytest.raises(UserError, match="at most 85.7"):
        rehearsal_of(notebook, "aimo-2", speed=100).check()


def test_a_port_is_taken_while_somebody_listens_and_not_by_what_has_just_ended() -> None:
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        caller = socket.create_connection(("localhost", port))
        server.accept()[0].close()  # first, so that this side waits the connection out
        caller.close()
        assert not is_free(port)
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("localhost", port))
    assert is_free(port)


# The command and its mark


def kernel_folder(folder: Path) -> Path:
    """A folder such as a user has: metadata, template, settings."""
    (folder / TEMPLATE).parent.mkdir()
    shutil.copy(ROOT / TEMPLATE, folder / TEMPLATE)
    settings = (ROOT / CONFIG).read_text()
    (folder / CONFIG).write_text(settings.replace('"aimo-1"', '"aimo-3"'))
    write_metadata(folder)
    return folder


def write_metadata(folder: Path, **changed: object) -> None:
    """Metadata that fit the settings of `kernel_folder`, but for what is changed."""
    metadata = json.loads((ROOT / FILE).read_text()) | {
        "competition_sources": [AIMO_3],
        "machine_shape": "NvidiaH100",
        **changed,
    }
    (folder / FILE).write_text(json.dumps(metadata))


AIMO_2 = competition_named("aimo-2").slug


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"competition_sources": [AIMO_2]}, "competition_sources is that of aimo-2"),
        ({"competition_sources": [AIMO_3, AIMO_2]}, "a submission goes to one"),
        ({"competition_sources": []}, "competition_sources is empty"),
        ({"competition_sources": [AIMO_3.replace("olympiad", "olimpiad")]}, "did you mean"),
        ({"competition_sources": ["predict-pump-failures"]}, "describe that competition"),
        ({"dataset_sources": [], "kernel_sources": []}, "no model is attached"),
        ({"kernel_sources": []}, "needs the model and the wheels"),
        ({"machine_shape": "", "enable_gpu": False}, "needs a GPU"),
    ],
)
def test_settings_that_do_not_fit_the_metadata_are_refused_by_name(
    changed: dict[str, object], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kernel_folder(tmp_path)
    assert gate.compare(folder) == []
    write_metadata(folder, **changed)
    for command in ("build", "rehearse", "push"):
        assert main([command, "--folder", str(folder)]) == 2
        error = capsys.readouterr().err
        assert word in error or (command == "push" and "credentials" in error)
    assert not (folder / SUBMISSION).exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"is_private": False}, "everybody will see"),
        ({"machine_shape": "NvidiaTeslaT4"}, "aimo-3 runs on NvidiaH100"),
        ({"kernel_sources": [], "dataset_sources": ["a/model", "a/wheels"]}, "vLLM's wheels must"),
    ],
)
def test_what_is_merely_odd_is_told_and_built(
    changed: dict[str, object], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kernel_folder(tmp_path)
    write_metadata(folder, **changed)
    assert main(["build", "--folder", str(folder)]) == 0
    assert word in capsys.readouterr().err


@pytest.mark.kernel
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


@pytest.mark.kernel
def test_a_notebook_that_was_built_to_be_read_runs_as_the_packed_one_does(tmp_path: Path) -> None:
    readable = built(tmp_path, readable=True)
    result = passes(rehearse(rehearsal_of(readable), rerun=True, faults=Case(scripted=True)))
    assert (result.rows, result.fallbacks) == (2, 0)


@pytest.mark.slow
def test_the_notebook_keeps_its_form_until_another_is_asked_for(tmp_path: Path) -> None:
    folder = kernel_folder(tmp_path)
    assert main(["build", "--readable", "--folder", str(folder)]) == 0
    gate.note(folder, "aimo-3", "passed")
    build(folder)  # as rehearse and push do
    assert "r'''" in (folder / SUBMISSION).read_text()
    assert gate.why_unrehearsed(folder) is None
    assert main(["build", "--folder", str(folder)]) == 0
    assert "is not what was rehearsed" in str(gate.why_unrehearsed(folder))


@pytest.mark.slow
def test_a_notebook_that_was_edited_by_hand_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kernel_folder(tmp_path)
    build(folder)
    book = json.loads((folder / SUBMISSION).read_text())
    book["cells"][-1]["source"] = "print('mine')"
    edited = json.dumps(book)
    (folder / SUBMISSION).write_text(edited)
    for command in ("build", "rehearse"):
        assert main([command, "--folder", str(folder)]) == 2
        assert "was edited after it was built" in capsys.readouterr().err
    assert (folder / SUBMISSION).read_text() == edited
    (folder / SUBMISSION).unlink()
    assert main(["build", "--folder", str(folder)]) == 0


def test_a_mark_of_another_edition_or_of_no_sense_does_not_count(
    tmp_path: Path, notebook: Path
) -> None:
    folder = kernel_folder(tmp_path)
    (folder / SUBMISSION).parent.mkdir()
    shutil.copy(notebook, folder / SUBMISSION)
    gate.note(folder, "aimo-2", "passed")
    assert "rehearsed as aimo-2" in str(gate.why_unrehearsed(folder))
    (folder / gate.MARK).write_text("[")
    assert "cannot be read" in str(gate.why_unrehearsed(folder))


@pytest.mark.kernel
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
        (["--limit", "0"], "--limit"),
        (["--speed", "0"], "--speed"),
        (["--package", "nowhere"], "aimo_3_inference_server.py"),
        (["--package", __file__], "unpack it and give the folder"),
        (["--package", str(LOOKALIKE), "--edition", "aimo-1"], "is the package of aimo-"),
        (["--python", "no/such/python"], "--python"),
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
