"""From a fetched output to a score: only what was checked is submitted, and nothing twice."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from aimo_submit.competition import competition_named
from aimo_submit.kaggle.client.api import KaggleFailed
from aimo_submit.kaggle.client.ledger import git_sha
from aimo_submit.kaggle.client.submission import check_output, checked_file
from tests.kaggle.kaggle_stub import HANGS, LOST, Answer, Refusal
from tests.kaggle.kit import LISTED, LOG, SAVE, SUBMIT, TAKEN, Kit, parquet
from tests.kaggle.test_metadata import AIMO_3, write_kernel

# Looked for and not imported: the package signs in with whatever credentials it finds.
if find_spec("kaggle") is None:
    pytest.skip("needs the kaggle package", allow_module_level=True)
pa = pytest.importorskip("pyarrow")

# the check


def put(folder: Path, content: bytes, log: str = LOG, table: str = "") -> Path:
    """A fetched output."""
    (folder / "submission.parquet").write_bytes(content)
    (folder / "kernel.log").write_text(log)
    if table:
        (folder / "summary-1.csv").write_text(table)
    return folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "is no parquet file"),
        (b"", "is no parquet file"),
        (parquet([7], extra=[1]), "must be id and answer"),
        (parquet([7.0, 8.0]), "answers of type double: must be integers"),
        (parquet(["7"]), "answers of type string: must be integers"),
        (parquet([True]), "answers of type bool: must be integers"),
        (parquet([7, None]), "has nulls"),
        (parquet(pa.array([], pa.int64()), ids=pa.array([], pa.string())), "has no rows"),
        (parquet([7, 8], ids=["a", "a"]), "names a problem twice"),
        (parquet([7, 1000]), "problem p1 has the answer 1000: aimo-2 takes 0..999"),
        (parquet([-1]), "has the answer -1"),
    ],
)
def test_a_file_that_kaggle_would_reject_or_misread_fails(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(KaggleFailed, match=message):
        check_output(put(tmp_path, content), competition_named("aimo-2"), accept=True)
    assert not checked_file(tmp_path)


def test_the_file_that_the_competition_names_is_checked_and_no_other(tmp_path: Path) -> None:
    """AIMO-1's package leaves a submission.csv."""
    folder = put(tmp_path, parquet([1]))
    with pytest.raises(KaggleFailed, match="no .*submission.csv: the kernel left none"):
        check_output(folder, competition_named("aimo-1"))
    (folder / "submission.csv").write_text("id,answer\na,7\nb,9\n")
    assert check_output(folder, competition_named("aimo-1")).rows == 2
    assert checked_file(folder) == ("submission.csv", "aimo-1")
    (folder / "submission.csv").write_text("id,answer\na,7\nb,x\n")
    with pytest.raises(KaggleFailed, match="answers of type string"):
        check_output(folder, competition_named("aimo-1"))


ERRORS = json.dumps([{"stream_name": "stderr", "data": "x\ntorch.OutOfMemoryError: CUDA\n"}])
TABLE = "problem,answer,fallback,reason\na,0,False,vote\nb,0,True,nothing better\n"
OLD_TABLE = "problem,answer,reason\na,0,vote\nb,0,fallback: no sample answered\n"


@pytest.mark.parametrize(
    ("answers", "log", "table", "message"),
    [
        ([0, 0], LOG, "", "every answer is the fallback, 0"),
        ([0, 7], LOG, TABLE, "1 of the run's answers are fallbacks"),
        ([0, 7], LOG, OLD_TABLE, "1 of the run's answers are fallbacks"),
        ([1, 7], ERRORS, "", "the log says 'torch.OutOfMemoryError: CUDA'"),
    ],
)
def test_an_unhealthy_run_fails_unless_it_is_accepted(
    tmp_path: Path, answers: list[int], log: str, table: str, message: str
) -> None:
    """A fallback everywhere gives a valid file too."""
    folder = put(tmp_path, parquet(answers), log, table)
    with pytest.raises(KaggleFailed, match=message):
        check_output(folder, competition_named("aimo-3"))
    assert not checked_file(folder)
    check_output(folder, competition_named("aimo-3"), accept=True)
    assert checked_file(folder)


def test_zeros_that_were_voted_for_are_healthy(tmp_path: Path) -> None:
    """The three public problems of AIMO-3 all have the answer 0."""
    table = "problem,answer,reason\na,0,vote\nb,0,vote\n"
    found = check_output(put(tmp_path, parquet([0, 0]), LOG, table), competition_named("aimo-3"))
    assert (found.rows, found.fallbacks, found.alarms) == (2, 0, ())


def test_a_samples_own_error_is_no_alarm(tmp_path: Path) -> None:
    log = json.dumps([{"stream_name": "stdout", "data": "Traceback (most recent call last)\n"}])
    assert check_output(put(tmp_path, parquet([1]), log), competition_named("any")).alarms == ()


TRACKER = """Traceback (most recent call last):
  File "/usr/lib/python3.12/multiprocessing/resource_tracker.py", line 239, in main
    cache[rtype].remove(name)
KeyError: '/psm_2f6b'"""
AT_EXIT = """Exception ignored in atexit callback <function shutdown at 0x7f>:
Traceback (most recent call last):
  File "/usr/lib/python3.12/logging/__init__.py", line 2260, in shutdown
    h.close()
ValueError: I/O operation on closed file"""


def events(text: str, stream: str = "stderr") -> list[dict[str, object]]:
    return [{"stream_name": stream, "time": 1.0, "data": f"{line}\n"} for line in text.split("\n")]


@pytest.mark.parametrize(
    "text",
    [
        TRACKER,
        AT_EXIT,
        "WARNING 11-28 [cuda.py] Failed to import vllm._C: No module named 'vllm._C'",
        "INFO [importing.py] Triton is not installed: No module named 'triton'",
    ],
)
def test_noise_in_a_log_does_not_block_a_submission(text: str, tmp_path: Path) -> None:
    folder = put(tmp_path, parquet([1]), json.dumps(events(text)))
    assert check_output(folder, competition_named("any")).alarms == ()


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "Tesla P100-PCIE-16GB with CUDA capability sm_60 is not compatible",
        "ModuleNotFoundError: No module named 'aimo_submit'",
        f"{TRACKER}\n{TRACKER}\nTraceback (most recent call last):\n  File 'x'\nValueError: mine",
    ],
)
def test_what_is_real_in_a_log_blocks_it_in_every_form_of_log(text: str, tmp_path: Path) -> None:
    pieces = events(text)
    lines = "\n".join(json.dumps(piece) for piece in pieces)
    cut = json.dumps([*pieces, {"stream_name": "stdout", "data": "x" * 99}])[:-60]
    for log in (json.dumps(pieces), lines, cut, text):
        folder = put(tmp_path, parquet([1]), log)
        found = check_output(folder, competition_named("any"), accept=True)
        assert len(found.alarms) == 1, (log, found)


# submit


def listed(status: str, **others: Any) -> dict[str, Any]:
    """The competition's submissions: an older one, and ours."""
    mine = {"ref": 41, "status": status, "date": "2026-11-21T00:00:00.000Z", **others}
    other = {"ref": 40, "status": "COMPLETE", "publicScore": "1", "date": mine["date"]}
    return {"submissions": [other, mine]}


@pytest.mark.slow
def test_a_checked_version_is_submitted_scored_and_recorded(kit: Kit) -> None:
    kit.apart = True
    kit.fetched()
    kit.stub.script(SUBMIT, TAKEN)
    kit.stub.script(
        LISTED, {"submissions": []}, listed("PENDING"), listed("COMPLETE", publicScore="12.0")
    )
    assert "submission 41: 12" in kit.good("submit", "-m", "N=48")
    assert kit.stub.bodies(SUBMIT) == [
        {
            "competitionName": AIMO_3,
            "kernelOwner": "ada",
            "kernelSlug": "aimo-submit",
            "kernelVersion": 3,
            "fileName": "submission.parquet",
            "submissionDescription": "N=48",
        }
    ]
    assert kit.stub.bodies(LISTED)[0]["competitionName"] == AIMO_3
    last = kit.entries()[-1]
    assert (last.version, last.ref, last.score, last.status) == (3, 41, 12.0, "COMPLETE")
    assert (last.git, last.message, last.config["samples"]) == ("abc", "N=48", 48)
    assert "12" in kit.good("scores")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"message": "You have reached the daily submission limit"}, "after midnight UTC"),
        ({"message": "Submission limit reached", "ref": 41}, "Kaggle did not take the submission"),
        ({"message": "Successfully submitted"}, "Kaggle did not take the submission"),
        ({}, "no reason given"),
        (Refusal(400, "Kernel has not finished"), "HTTP 400: Kernel has not finished"),
        (Refusal(403, "rules"), "accept the competition's rules"),
        (Refusal(404, "none"), "no such thing on Kaggle"),
        (Refusal(500, "oops"), "it may have been taken: look at the competition's page"),
        (LOST, "it may have been taken"),
        (b"null", "it may have been taken"),
    ],
)
def test_a_submission_that_was_not_taken_fails(kit: Kit, answer: Answer, message: str) -> None:
    kit.fetched()
    kit.stub.script(SUBMIT, answer)
    assert message in kit.bad("submit", "-m", "x")
    assert len(kit.stub.bodies(SUBMIT)) == 1
    assert [e.ref for e in kit.entries()] == [None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "words", "message"),
    [
        (SAVE, ("push",), "stopped; a version may have been made: look at"),
        (SUBMIT, ("submit", "-m", "x"), "stopped; it may have been taken: look at"),
    ],
)
def test_ctrl_c_in_the_middle_of_what_cannot_be_undone_says_what_may_have_happened(
    kit: Kit, what: str, words: tuple[str, ...], message: str
) -> None:
    """ "The same command resumes" would cost a submission."""
    kit.fetched()
    kit.stub.script(what, HANGS)
    done = kit.run(*words, until=lambda: kit.stub.wait_for(what))
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_the_title_of_a_competition_refuses_nothing(kit: Kit) -> None:
    kit.fetched()
    told = "Successfully submitted to Predict Pump Failures"
    kit.stub.script(SUBMIT, {"message": told, "ref": 41})
    kit.good("submit", "--no-wait")
    assert kit.entries()[-1].ref == 41


def test_a_submission_that_kaggle_never_lists_fails(kit: Kit) -> None:
    """ "Successfully submitted" was also said at the daily limit."""
    kit.fetched()
    kit.stub.script(SUBMIT, TAKEN)
    kit.stub.script(LISTED, {"submissions": []})
    assert "Kaggle does not list submission 41" in kit.bad("submit", "-m", "x")


def test_a_submission_that_cannot_be_scored_fails_and_is_recorded(kit: Kit) -> None:
    kit.fetched()
    kit.stub.script(SUBMIT, TAKEN)
    kit.stub.script(LISTED, listed("ERROR", errorDescription="Notebook Timeout"))
    assert "submission 41 could not be scored: Notebook Timeout" in kit.bad("submit", "-m", "x")
    assert kit.entries()[-1].status == "ERROR"


def test_an_output_that_was_not_checked_is_not_submitted(kit: Kit) -> None:
    kit.pushed()
    assert "aimo-submit output --version 3 first" in kit.bad("submit", "-m", "x", code=2)
    assert kit.stub.asked == []


def test_an_output_that_changed_after_its_check_is_not_submitted(kit: Kit) -> None:
    kit.fetched()
    file = kit.folder / "runs/kernels/aimo-submit/3/submission.parquet"
    file.write_bytes(parquet([1, 2, 3]))
    assert "has not been checked" in kit.bad("submit", "-m", "x", code=2)
    assert kit.stub.bodies(SUBMIT) == []


def test_a_submission_needs_a_competition(kit: Kit) -> None:
    kit.fetched()
    write_kernel(kit.folder, competition_sources=[])
    assert "name the competition" in kit.bad("submit", "-m", "x", code=2)


@pytest.mark.parametrize("subject", ["`touch ran`", "$(touch ran)", "a \"quote\" and 'another'"])
def test_without_a_message_it_is_the_pushed_commits_and_no_shell_sees_it(
    subject: str, kit: Kit
) -> None:
    author = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", subject)):
        subprocess.run(["git", *author, *words], cwd=kit.folder, check=True)
    kit.fetched(git=git_sha(kit.folder))
    kit.stub.script(SUBMIT, TAKEN)
    kit.good("submit", "--no-wait")
    [body] = kit.stub.bodies(SUBMIT)
    assert body["submissionDescription"].endswith(f" {subject}")
    assert not (kit.folder / "ran").exists()


def test_outside_a_repository_the_message_is_the_version(kit: Kit) -> None:
    kit.fetched(git="")
    kit.stub.script(SUBMIT, TAKEN)
    kit.good("submit", "--no-wait")
    assert kit.stub.bodies(SUBMIT)[0]["submissionDescription"] == "version 3"


def test_a_version_goes_to_no_competition_that_it_was_not_pushed_for(kit: Kit) -> None:
    kit.fetched(competition=AIMO_3)
    write_kernel(kit.folder, competition_sources=["ai-mathematical-olympiad-prize"])
    assert f"was pushed for {AIMO_3}" in kit.bad("submit", code=2)
    assert kit.stub.bodies(SUBMIT) == []


def test_a_version_goes_to_no_competition_that_it_was_not_checked_for(kit: Kit) -> None:
    kit.fetched(competition="")
    write_kernel(kit.folder, competition_sources=["ai-mathematical-olympiad-progress-prize-2"])
    assert "was checked for aimo-3, the competition is aimo-2" in kit.bad("submit", code=2)
    assert kit.stub.bodies(SUBMIT) == []


def test_a_submission_that_is_pending_is_waited_for_and_not_made_twice(kit: Kit) -> None:
    kit.fetched()
    kit.stub.script(SUBMIT, TAKEN)
    kit.good("submit", "-m", "x", "--no-wait")
    kit.stub.script(LISTED, listed("COMPLETE", publicScore="9"))
    assert "submission 41: 9" in kit.good("submit", "-m", "x")
    assert "was submitted and scored 9.0" in kit.bad("submit", "-m", "x", code=2)
    assert len(kit.stub.bodies(SUBMIT)) == 1
    kit.good("submit", "-m", "x", "--again")
    assert len(kit.stub.bodies(SUBMIT)) == 2


def test_scores_looks_up_what_is_pending(kit: Kit) -> None:
    kit.fetched()
    kit.stub.script(SUBMIT, TAKEN)
    kit.good("submit", "-m", "x", "--no-wait")
    kit.stub.script(LISTED, listed("COMPLETE", publicScore="9"))
    assert "9.00" in kit.good("scores")
    assert kit.entries()[-1].score == 9


def test_scores_are_shown_although_kaggle_is_out_of_reach(kit: Kit) -> None:
    kit.fetched()
    kit.stub.script(SUBMIT, TAKEN)
    kit.good("submit", "-m", "x", "--no-wait")
    kit.stub.script(LISTED, LOST)
    done = kit.run("scores")
    assert done.returncode == 0
    assert "what is pending was not looked up: score of submission 41: no answer" in done.stderr


def test_without_a_push_or_a_submission_the_next_step_is_named(kit: Kit) -> None:
    assert "nothing was pushed as ada/aimo-submit" in kit.bad("status", code=2)
    assert "nothing has been submitted" in kit.bad("scores", code=2)
