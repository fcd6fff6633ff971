"""The kernel on Kaggle: nothing that goes wrong there looks like success here.

The official package runs against the stub of `kaggle_stub.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from codecs import BOM_UTF8
from importlib.util import find_spec

import pytest

from aimo_submit.kaggle.client import gate
from aimo_submit.kaggle.client.api import Polling
from aimo_submit.kaggle.client.bundle import CONFIG, SUBMISSION, TEMPLATE
from aimo_submit.kaggle.client.gate import note as note_rehearsal
from aimo_submit.kaggle.client.kernel import log_events
from aimo_submit.kaggle.client.submission import settings_of
from tests.kaggle.kaggle_stub import BASIC, LOST, Answer, Refusal
from tests.kaggle.kit import (
    COMPLETE,
    DATASET,
    DATASET_STATUS,
    LOG,
    MODEL,
    OUTPUT,
    PAGE,
    SAVE,
    SAVED,
    STATUS,
    SUBMIT,
    TAKEN,
    Kit,
    link,
    parquet,
)
from tests.kaggle.test_metadata import AIMO_3, GOOD, write_kernel

# Looked for and not imported: the package signs in with whatever credentials it finds.
if find_spec("kaggle") is None:
    pytest.skip("needs the kaggle package", allow_module_level=True)
pytest.importorskip("pyarrow")

# push


def test_a_push_sends_what_the_metadata_say_and_ends_when_the_run_is_complete(kit: Kit) -> None:
    kit.apart = True
    kit.stub.script(SAVE, SAVED)
    running = {"status": "RUNNING"}
    kit.stub.script(STATUS, {"status": "QUEUED"}, running, running, COMPLETE)
    done = kit.run("push")
    assert "version 3 is complete" in done.stdout
    first, *waited = done.stderr.splitlines()
    assert first == gate.FOREIGN
    assert [line.split()[3] for line in waited] == ["QUEUED", "RUNNING"]
    [sent] = kit.stub.bodies(SAVE)
    text = json.loads(sent.pop("text"))
    assert text == {"cells": [{"cell_type": "code", "source": "a = 1\na", "outputs": []}]}
    assert sent == {
        "slug": "ada/aimo-submit",
        "newTitle": "aimo-submit",
        "language": "python",
        "kernelType": "notebook",
        "isPrivate": True,
        "enableGpu": True,
        "enableTpu": False,
        "enableInternet": False,
        "machineShape": "NvidiaTeslaT4",
        "dockerImagePinningType": "original",
        "datasetDataSources": GOOD["dataset_sources"],
        "kernelDataSources": GOOD["kernel_sources"],
        "modelDataSources": GOOD["model_sources"],
        "competitionDataSources": GOOD["competition_sources"],
    }
    assert {asked.authorization for asked in kit.stub.asked} == {BASIC}


def test_the_very_version_that_was_pushed_is_watched_and_recorded(kit: Kit) -> None:
    """2.2.4 drops the version from what it asks, and so reports on whatever is newest."""
    kit.stub.script(SAVE, SAVED)
    kit.stub.script(STATUS, COMPLETE)
    kit.good("push")
    about = {"userName": "ada", "kernelSlug": "aimo-submit", "versionLabel": "v3"}
    assert kit.watched() == [about]
    [entry] = kit.entries()
    assert (entry.kernel, entry.version, entry.status) == ("ada/aimo-submit", 3, "PUSHED")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": "Maximum batch GPU session\ncount reached"}, "session count reached: mend that"),
        ({**SAVED, "invalidDatasetSources": ["ada/x"]}, "dataset_sources ada/x could not be added"),
        ({**SAVED, "invalidKernelSources": ["ada/wheels"]}, "has run to its end"),
        ({**SAVED, "invalidCompetitionSources": ["ai-mo"]}, "accept the competition's rules"),
        ({**SAVED, "invalidModelSources": ["a/b/c/d/1"]}, "accept the model's licence"),
        ({**SAVED, "invalidModelSources": ["a/b/c/d/1"]}, f"version 3 runs without what it needs, "
         f"stop it at {PAGE}"),
        ({"ref": "/ada/aimo-submit", "url": PAGE}, "named no version"),
        ({**SAVED, "ref": "/ada/aimo-submit-2"}, "pushed as ada/aimo-submit-2 and not as"),
        (Refusal(400, "bad request"), "HTTP 400: bad request: mend what it names"),
        (Refusal(401, "who?"), "the credentials are not accepted"),
        (Refusal(403, "Permission denied"), "no access: check the owner"),
        (Refusal(404, "Not found"), "no such thing on Kaggle"),
        (Refusal(429, "slow down"), "wait a few minutes"),
        (Refusal(500, "oops"), "repeat the command later; a version may have been made: look at"),
        (LOST, "no answer from Kaggle"),
        (LOST, "a version may have been made"),
        (b"<html>", "what came is no answer of Kaggle's API: check the network"),
        (b"{", "what came is no answer of Kaggle's API"),
        (b"<html>", "a version may have been made"),
        (b"null", "a version may have been made"),
    ],
)  # fmt: skip
def test_every_push_that_went_wrong_fails_with_its_remedy(
    kit: Kit, answer: Answer, message: str
) -> None:
    kit.stub.script(SAVE, answer)
    said = kit.bad("push")
    assert message in said
    assert len(said.splitlines()) == 1
    assert len(kit.stub.bodies(SAVE)) == 1
    assert kit.entries() == []


def test_bad_metadata_are_refused_before_anything_is_sent(kit: Kit) -> None:
    kit.apart = True
    write_kernel(kit.folder, model_sources=["a/b/c/d"], title=None)
    assert "has 2 problems" in kit.bad("push", code=2)
    assert kit.stub.asked == []


@pytest.mark.parametrize(
    ("what", "answer", "message"),
    [
        (DATASET_STATUS, {"status": "BLOBS_RECEIVED"}, "ada/some-wheels is not ready (BLOBS_RECE"),
        (DATASET_STATUS, {"status": "FAILED"}, "could not be processed by Kaggle: upload it again"),
        (DATASET_STATUS, Refusal(404), "dataset_sources ada/some-wheels is not on Kaggle: check"),
        (DATASET_STATUS, Refusal(403), "dataset_sources ada/some-wheels is not on Kaggle: check"),
        (DATASET, {"currentVersionNumber": 2}, "ada/some-weights/3 does not exist yet, the newest"),
        (MODEL, {"versionNumber": 0}, "qwen-lm/qwen2.5/transformers/7b-instruct/1 does not"),
        (MODEL, Refusal(404), "7b-instruct/1 is not on Kaggle"),
        (f"{STATUS} wheels", {"status": "RUNNING"}, "kernel_sources ada/wheels has no output (RU"),
        (f"{STATUS} wheels", {"status": "ERROR"}, "has no output (ERROR): let it run to its end"),
    ],
)
def test_a_source_that_is_not_ready_stops_the_push_before_it_is_made(
    kit: Kit, what: str, answer: Answer, message: str
) -> None:
    """The kernel would start with the version before it, or with none."""
    kit.stub.script(what, answer)
    assert message in kit.bad("push")
    assert kit.stub.bodies(SAVE) == []


@pytest.mark.parametrize(
    ("what", "answer"), [(DATASET_STATUS, Refusal(503)), (MODEL, Refusal(403)), (MODEL, LOST)]
)
def test_what_cannot_be_looked_at_is_told_and_does_not_stop_the_push(
    kit: Kit, what: str, answer: Answer
) -> None:
    kit.stub.script(what, answer)
    kit.stub.script(SAVE, SAVED)
    done = kit.run("push", "--no-wait")
    assert done.returncode == 0
    assert "could not be looked at before the push: " in done.stderr


def test_metadata_that_windows_wrote_are_pushed(kit: Kit) -> None:
    file = kit.folder / "kernel-metadata.json"
    file.write_bytes(BOM_UTF8 + file.read_bytes())
    kit.stub.script(SAVE, SAVED)
    kit.good("push", "--no-wait")
    assert kit.stub.bodies(SAVE)[0]["machineShape"] == "NvidiaTeslaT4"


SEVEN = 'model = "tiny-tir"\nedition = "aimo-3"\nengine = "transformers"\nsamples = 7\n'


def own_notebook(kit: Kit) -> None:
    """The kernel is the kit's own notebook now, with settings."""
    (kit.folder / TEMPLATE).write_text("# %%\n# @KIT@\n# %%\n# @SETTINGS@\n")
    (kit.folder / CONFIG).write_text(SEVEN)
    (kit.folder / SUBMISSION).unlink()


def test_the_kits_own_notebook_is_built_and_not_pushed_unless_it_was_rehearsed(kit: Kit) -> None:
    own_notebook(kit)
    kit.stub.script(SAVE, SAVED)
    assert "has not been rehearsed" in kit.bad("push", code=2)
    assert kit.stub.asked == []
    note_rehearsal(kit.folder, "aimo-3", "fine")
    kit.good("push", "--no-wait")
    (kit.folder / CONFIG).write_text(SEVEN.replace("7", "8"))
    assert "is not what was rehearsed" in kit.bad("push", code=2)
    assert len(kit.stub.bodies(SAVE)) == 1
    [entry] = kit.entries()
    assert (entry.config["samples"], entry.note) == (7, "")
    assert entry.notebook


def test_what_was_not_rehearsed_is_pushed_on_demand_and_the_ledger_says_so(kit: Kit) -> None:
    own_notebook(kit)
    kit.stub.script(SAVE, SAVED)
    done = kit.run("push", "--no-wait", "--unrehearsed")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, gate.UNREHEARSED)
    [entry] = kit.entries()
    assert (entry.note, entry.config["samples"]) == (gate.UNREHEARSED, 7)
    [sent] = kit.stub.bodies(SAVE)
    assert "samples = 7" in sent["text"]


def test_a_notebook_that_is_not_the_kits_is_pushed_as_it_lies(kit: Kit) -> None:
    own_notebook(kit)
    write_kernel(kit.folder, code_file="notebooks/mine.ipynb")
    (kit.folder / "notebooks/mine.ipynb").write_text('{"cells": []}')
    kit.stub.script(SAVE, SAVED)
    assert gate.FOREIGN in kit.run("push", "--no-wait").stderr
    assert kit.entries()[0].note == gate.FOREIGN


@pytest.mark.parametrize("status", ["ERROR", "CANCEL_REQUESTED", "CANCEL_ACKNOWLEDGED"])
@pytest.mark.parametrize("words", [("push",), ("status", "--version", "3"), ("output",)])
def test_a_run_that_failed_shows_why_and_the_end_of_its_log(
    kit: Kit, status: str, words: tuple[str, ...]
) -> None:
    kit.pushed()
    kit.stub.script(SAVE, SAVED)
    kit.stub.script(STATUS, {"status": status, "failureMessage": "out of disk"})
    kit.stub.script(OUTPUT, {"files": [], "log": LOG})
    said = kit.bad(*words)
    assert f"version 3 ended with {status} (out of disk): " in said.splitlines()[-1]
    assert "| the last line" in said


def test_a_failed_run_without_a_log_still_fails_clearly(kit: Kit) -> None:
    kit.stub.script(SAVE, SAVED)
    kit.stub.script(STATUS, {"status": "ERROR"})
    kit.stub.script(OUTPUT, Refusal(500))
    assert "ended with ERROR: mend what its log ends with" in kit.bad("push")


def test_hiccups_while_waiting_are_borne(kit: Kit) -> None:
    kit.stub.script(SAVE, SAVED)
    kit.stub.script(
        STATUS, Refusal(404), Refusal(503), LOST, {"status": "RUNNING"}, Refusal(429), b"<html>",
        COMPLETE,
    )  # fmt: skip
    assert "version 3 is complete" in kit.good("push")


def test_a_lasting_trouble_ends_the_wait(kit: Kit) -> None:
    kit.stub.script(SAVE, SAVED)
    kit.stub.script(STATUS, Refusal(503, "down"))
    assert "trouble at Kaggle" in kit.bad("push")
    assert len(kit.watched()) == Polling(print).misses


def test_what_cannot_pass_ends_the_wait_at_once(kit: Kit) -> None:
    kit.stub.script(SAVE, SAVED)
    kit.stub.script(STATUS, Refusal(403, "no"))
    kit.bad("push")
    assert len(kit.watched()) == 1


@pytest.mark.slow
def test_kaggles_own_command_line_sends_the_same(kit: Kit) -> None:
    kit.fetched()
    kit.stub.script(SAVE, SAVED)
    kit.stub.script(SUBMIT, TAKEN)
    kit.good("push", "--no-wait")
    kit.good("submit", "-m", "x", "--no-wait")
    submission = ("submit", AIMO_3, "-k", "ada/aimo-submit", "-v", "3",
                  "-f", "submission.parquet", "-m", "x", "-q")  # fmt: skip
    for words in (("kernels", "push"), ("competitions", *submission)):
        kaggle = [sys.executable, "-m", "kaggle", *words]
        subprocess.run(kaggle, env=kit.environ, cwd=kit.folder, capture_output=True, check=True)
    for what in (SAVE, SUBMIT):
        ours, kaggles = kit.stub.bodies(what)
        assert ours == kaggles


# log and output


def test_the_log_is_printed_line_by_line(kit: Kit) -> None:
    kit.stub.script(OUTPUT, {"files": [], "log": LOG})
    assert kit.good("logs", "--version", "3") == "hello\nworld\nthe last line\n"
    assert kit.stub.bodies(OUTPUT)[0]["versionLabel"] == "v3"


TRACES = b'{"settings":{"samples":8}}\n{"problem":{"id":"a"},"answer":7}\n'


def test_an_unfinished_log_is_shown_as_it_is() -> None:
    assert list(log_events('[{"data": "a')) == [("", ['[{"data": "a'])]
    assert list(log_events("")) == []


@pytest.mark.slow
def test_the_output_is_fetched_page_by_page_and_checked(kit: Kit) -> None:
    kit.apart = True
    kit.pushed()
    kit.stub.script(STATUS, COMPLETE)
    kit.put_output(parquet([7, 9]), **{"a/traces-1.jsonl": TRACES})
    kit.stub.script(
        OUTPUT,
        {"files": [link("submission.parquet")], "log": LOG, "nextPageToken": "t"},
        {"files": [link("a/traces-1.jsonl")]},
    )
    assert "2 answers" in kit.good("output")
    folder = kit.folder / "runs/kernels/aimo-submit/3"
    assert (folder / "submission.parquet").read_bytes() == parquet([7, 9])
    assert (folder / "kernel.log").read_text() == LOG
    assert settings_of(folder) == {"samples": 8}
    assert [body.get("pageToken") for body in kit.stub.bodies(OUTPUT)] == [None, "t"]


@pytest.mark.parametrize(
    ("status", "message"), [("RUNNING", "version 3 is RUNNING"), ("QUEUED", "is QUEUED")]
)
def test_an_output_is_not_fetched_before_the_run_is_complete(
    kit: Kit, status: str, message: str
) -> None:
    kit.stub.script(STATUS, {"status": status})
    assert message in kit.bad("output", "--version", "3")
    assert kit.stub.bodies(OUTPUT) == []


def test_an_expired_link_is_not_taken_for_the_file(kit: Kit) -> None:
    """2.2.4 saves the error page as submission.parquet."""
    kit.stub.script(STATUS, COMPLETE)
    kit.put_output(parquet([7]))
    kit.stub.script("files/submission.parquet", Refusal(403, "expired"))
    assert "download of submission.parquet: HTTP 403" in kit.bad("output", "--version", "3")


def test_a_file_name_cannot_lead_out_of_the_folder(kit: Kit) -> None:
    kit.stub.script(STATUS, COMPLETE)
    kit.put_output(parquet([7]), **{"../../../../evil": b"x"})
    assert "named '../../../../evil'" in kit.bad("output", "--version", "3")
    assert not (kit.folder / "evil").exists()


def test_kaggles_log_is_not_lost_to_a_file_of_its_name(kit: Kit) -> None:
    kit.stub.script(STATUS, COMPLETE)
    kit.put_output(parquet([7]), **{"kernel.log": b"\xff"})
    kit.good("output", "--version", "3")
    assert (kit.folder / "runs/kernels/aimo-submit/3/kernel.log").read_text() == LOG


def test_an_output_that_this_disk_does_not_take_fails_with_a_line(kit: Kit) -> None:
    kit.stub.script(STATUS, COMPLETE)
    kit.put_output(parquet([7]), **{"submission.parquet/x": b"x"})
    said = kit.bad("output", "--version", "3")
    assert "output of ada/aimo-submit version 3: [Errno 17] File exists" in said
    assert len(said.splitlines()) == 1


def test_an_output_without_a_submission_file_fails(kit: Kit) -> None:
    kit.stub.script(STATUS, COMPLETE)
    kit.stub.script(OUTPUT, {"files": [], "log": LOG})
    assert "the kernel left none; mend the notebook" in kit.bad("output", "--version", "3")
