"""The kernel on Kaggle: nothing that goes wrong there looks like success here.

Every test but the ledger's and the output's runs the official package, in a process of its own,
against the stub of `kaggle_stub.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client import gate, ledger
from aimo_submit.kaggle.client.api import KaggleFailed, asking, credentials
from aimo_submit.kaggle.client.bundle import CONFIG, SUBMISSION, TEMPLATE
from aimo_submit.kaggle.client.gate import note as note_rehearsal
from aimo_submit.kaggle.client.kernel import Patience, log_events
from aimo_submit.kaggle.client.ledger import Entry
from aimo_submit.kaggle.client.output import check, checked_before, settings
from tests.kaggle.kaggle_stub import (
    BASIC,
    HANGS,
    KEY,
    LOST,
    TOKEN,
    USER,
    Answer,
    Done,
    Refusal,
    Stub,
    run_kit,
)
from tests.kaggle.test_metadata import GOOD, write_kernel

# Looked for and not imported: the package signs in with whatever credentials it finds.
if find_spec("kaggle") is None:
    pytest.skip("needs the kaggle package", allow_module_level=True)
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SAVE = "kernels.KernelsApiService/SaveKernel"
STATUS = "kernels.KernelsApiService/GetKernelSessionStatus"
OUTPUT = "kernels.KernelsApiService/ListKernelSessionOutput"
SUBMIT = "competitions.CompetitionApiService/CreateCodeSubmission"
LISTED = "competitions.CompetitionApiService/ListSubmissions"
SIGN_IN = "security.OAuthService/IntrospectToken"
DATASET = "datasets.DatasetApiService/GetDataset"
DATASET_STATUS = "datasets.DatasetApiService/GetDatasetStatus"
MODEL = "models.ModelApiService/GetModelInstance"

PAGE = "https://www.kaggle.com/code/ada/aimo-submit"
SAVED = {"ref": "/ada/aimo-submit", "url": PAGE, "versionNumber": 3}
COMPLETE = {"status": "COMPLETE"}
LOG = json.dumps(
    [
        {"stream_name": "stdout", "time": 1.5, "data": "hello\n"},
        {"stream_name": "stderr", "time": 2.5, "data": "world\nthe last line\n"},
    ]
)


class Kit:
    """A folder with a kernel, a home with credentials, and the commands run there."""

    def __init__(self, stub: Stub, folder: Path) -> None:
        self.stub = stub
        self.folder = write_kernel(folder / "work")
        self.home = folder / "home"
        self.environ = stub.environ(self.home)
        (self.home / ".kaggle").mkdir()
        key = self.home / ".kaggle" / "kaggle.json"
        key.write_text(json.dumps({"username": USER, "key": KEY}))
        key.chmod(0o600)
        stub.script(DATASET, {"currentVersionNumber": 3})
        stub.script(DATASET_STATUS, {"status": "READY"})
        stub.script(MODEL, {"versionNumber": 1})
        stub.script(f"{STATUS} wheels", COMPLETE)

    def run(self, *words: str) -> Done:
        """The outcome of a command."""
        return run_kit(words, self.environ, self.folder)

    def good(self, *words: str) -> str:
        """What a command that must succeed prints."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bad(self, *words: str, code: int = 1) -> str:
        """The line that a command ends with that must fail; what stands above it is the log."""
        done = self.run(*words)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def watched(self) -> list[Any]:
        """The questions where the pushed kernel stands."""
        asked = self.stub.bodies(STATUS)
        return [body for body in asked if body["kernelSlug"] == "aimo-submit"]

    def entries(self) -> list[Entry]:
        """The ledger."""
        return ledger.read(self.folder / ledger.LEDGER)

    def pushed(self) -> None:
        """Version 3 stands in the ledger as pushed."""
        config = {"samples": 48, "seed": 1}
        ledger.append(
            Entry("ada/aimo-submit", 3, git="abc", config=config), self.folder / ledger.LEDGER
        )

    def fetched(self) -> None:
        """The output of version 3 has been fetched and checked."""
        self.pushed()
        self.stub.script(STATUS, COMPLETE)
        self.put_output(parquet([7, 9]))
        self.good("output")

    def put_output(self, content: bytes, **others: bytes) -> None:
        """The kernel's output: submission.parquet, other files, and the log."""
        files = {"submission.parquet": content, **others}
        self.stub.script(OUTPUT, {"files": [link(name) for name in files], "log": LOG})
        for name, data in files.items():
            self.stub.script(f"files/{name}", data)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with Stub() as stub:
        yield Kit(stub, tmp_path)
        strangers = {a.what for a in stub.asked} - {
            SAVE, STATUS, OUTPUT, SUBMIT, LISTED, SIGN_IN, DATASET, DATASET_STATUS, MODEL
        }  # fmt: skip
        assert all(what.startswith("files/") for what in strangers)


def link(name: str) -> dict[str, str]:
    """A file as Kaggle lists it."""
    return {"url": f"http://localhost/files/{name}", "fileName": name}


def parquet(answers: Any, ids: list[str] | None = None, **others: Any) -> bytes:
    """A submission file with these answers."""
    ids = ids or [f"p{k}" for k in range(len(answers))]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ids, "answer": answers, **others}), sink)
    return bytes(sink.getvalue().to_pybytes())


# push


def test_a_push_sends_what_the_metadata_say_and_ends_when_the_run_is_complete(kit: Kit) -> None:
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


def own_notebook(kit: Kit) -> None:
    """The kernel is the kit's own notebook now, with settings."""
    (kit.folder / TEMPLATE).write_text("# %%\n# @KIT@\n# %%\n# @SETTINGS@\n")
    (kit.folder / CONFIG).write_text('model = "tiny-tir"\nsamples = 7\n')
    (kit.folder / SUBMISSION).unlink()


def test_the_kits_own_notebook_is_built_and_not_pushed_unless_it_was_rehearsed(kit: Kit) -> None:
    own_notebook(kit)
    kit.stub.script(SAVE, SAVED)
    assert "has not been rehearsed" in kit.bad("push", code=2)
    assert kit.stub.asked == []
    note_rehearsal(kit.folder, "aimo-1", "fine")
    kit.good("push", "--no-wait")
    (kit.folder / CONFIG).write_text('model = "tiny-tir"\nsamples = 8\n')
    assert "is not what was rehearsed" in kit.bad("push", code=2)
    assert len(kit.stub.bodies(SAVE)) == 1
    [entry] = kit.entries()
    assert (entry.config, entry.note) == ({"model": "tiny-tir", "samples": 7}, "")
    assert entry.notebook


def test_what_was_not_rehearsed_is_pushed_on_demand_and_the_ledger_says_so(kit: Kit) -> None:
    own_notebook(kit)
    kit.stub.script(SAVE, SAVED)
    done = kit.run("push", "--no-wait", "--unrehearsed")
    assert (done.returncode, done.stderr.strip()) == (0, gate.UNREHEARSED)
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
    assert len(kit.watched()) == Patience(print).misses


def test_an_error_of_this_machine_is_not_laid_at_kaggles_door() -> None:
    with pytest.raises(KaggleFailed, match="fetching: .*No space left.*: mend that"):
        with asking("fetching"):
            raise OSError(28, "No space left on device")


def test_what_cannot_pass_ends_the_wait_at_once(kit: Kit) -> None:
    kit.stub.script(SAVE, SAVED)
    kit.stub.script(STATUS, Refusal(403, "no"))
    kit.bad("push")
    assert len(kit.watched()) == 1


def test_a_wait_has_an_end() -> None:
    now = [0.0]
    patience = Patience(
        lambda line: None, sleep=lambda s: now.append(now.pop() + s), clock=lambda: now[0]
    )
    with pytest.raises(KaggleFailed, match=r"no end after 12\.5 h"):
        patience.wait(lambda: "RUNNING", lambda seen: False, str)


def test_kaggles_own_command_line_sends_the_same(kit: Kit) -> None:
    kit.fetched()
    kit.stub.script(SAVE, SAVED)
    kit.stub.script(SUBMIT, TAKEN)
    kit.good("push", "--no-wait")
    kit.good("submit", "-m", "x", "--no-wait")
    submission = ("submit", "ai-mathematical-olympiad-prize", "-k", "ada/aimo-submit", "-v", "3",
                  "-f", "submission.parquet", "-m", "x", "-q")  # fmt: skip
    for words in (("kernels", "push"), ("competitions", *submission)):
        kaggle = [sys.executable, "-m", "kaggle", *words]
        subprocess.run(kaggle, env=kit.environ, cwd=kit.folder, capture_output=True, check=True)
    for what in (SAVE, SUBMIT):
        ours, kaggles = kit.stub.bodies(what)
        assert ours == kaggles


# credentials


def test_missing_credentials_are_said_first_and_nothing_is_sent(kit: Kit) -> None:
    (kit.home / ".kaggle" / "kaggle.json").unlink()
    write_kernel(kit.folder, title=None)
    for command in ("push", "status", "logs", "output", "submit"):
        assert kit.bad(command, code=2).startswith("aimo-submit: no Kaggle credentials: make a tok")
    assert kit.stub.asked == []


def test_a_token_that_kaggle_does_not_know_is_named(kit: Kit) -> None:
    (kit.home / ".kaggle" / "kaggle.json").unlink()
    kit.environ["KAGGLE_API_TOKEN"] = TOKEN
    kit.stub.script(SIGN_IN, {"active": False})
    assert "does not accept the credentials in KAGGLE_API_TOKEN" in kit.bad("push")


def test_a_token_signs_in(kit: Kit) -> None:
    kit.environ["KAGGLE_API_TOKEN"] = TOKEN
    kit.stub.script(SIGN_IN, {"active": True, "username": USER})
    kit.stub.script(STATUS, {"status": "RUNNING"})
    assert kit.good("status", "--version", "3") == "version 3: RUNNING\n"
    assert kit.stub.asked[-1].authorization == f"Bearer {TOKEN}"


def test_a_wrong_key_is_named(kit: Kit) -> None:
    kit.environ |= {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": "wrong"}
    assert "the credentials are not accepted" in kit.bad("logs", "--version", "3")


@pytest.mark.parametrize(
    ("environ", "files", "found"),
    [
        ({}, {}, None),
        ({"KAGGLE_API_TOKEN": "x"}, {}, "KAGGLE_API_TOKEN"),
        ({"KAGGLE_USERNAME": "x"}, {}, None),
        ({"KAGGLE_USERNAME": "x", "KAGGLE_KEY": "y"}, {}, "KAGGLE_USERNAME and KAGGLE_KEY"),
        ({}, {".kaggle/access_token": "x"}, "~/.kaggle/access_token"),
        ({}, {".kaggle/access_token": " \n"}, None),
        ({}, {".kaggle/kaggle.json": '{"username": "x", "key": "y"}'}, "kaggle.json"),
        ({}, {".kaggle/kaggle.json": '{"username": "x"}'}, None),
        ({}, {".kaggle/kaggle.json": "{"}, None),
        ({}, {".config/kaggle/kaggle.json": '{"username": "x", "key": "y"}'}, "kaggle.json"),
        ({}, {".kaggle/credentials.json": "{}"}, "~/.kaggle/credentials.json"),
    ],
)
def test_credentials_are_found_where_the_package_looks(
    tmp_path: Path, environ: Mapping[str, str], files: Mapping[str, str], found: str | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    where = credentials(environ, tmp_path)
    assert where == found or (found and where and where.endswith(found))


# a Kaggle that takes the connection and says nothing


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (SAVE, ("push",)),
        (STATUS, ("status", "--version", "3")),
        (OUTPUT, ("logs", "--version", "3")),
        (SUBMIT, ("submit", "-m", "x")),
    ],
)
def test_a_kaggle_that_never_answers_is_given_up_with_a_line(
    kit: Kit, what: str, words: tuple[str, ...]
) -> None:
    """The package alone would wait for ever."""
    kit.fetched()
    kit.stub.script(what, HANGS)
    done = run_kit(words, kit.environ, kit.folder, silence_s=0.5)
    assert done.returncode == 1, done.stderr
    said = done.stderr.splitlines()[-1]
    assert "no answer from Kaggle" in said
    assert "Read timed out" in said
    assert said.startswith("aimo-submit: ")


def test_a_sign_in_that_is_never_answered_is_given_up(kit: Kit) -> None:
    kit.environ["KAGGLE_API_TOKEN"] = TOKEN
    kit.stub.script(SIGN_IN, HANGS)
    done = run_kit(("logs",), kit.environ, kit.folder, silence_s=0.5)
    assert "signing in: no answer from Kaggle" in done.stderr
    assert done.returncode == 1


# log and output


def test_the_log_is_printed_line_by_line(kit: Kit) -> None:
    kit.stub.script(OUTPUT, {"files": [], "log": LOG})
    assert kit.good("logs", "--version", "3") == "hello\nworld\nthe last line\n"
    assert kit.stub.bodies(OUTPUT)[0]["versionLabel"] == "v3"


TRACES = b'{"settings":{"samples":8}}\n{"problem":{"id":"a"},"answer":7}\n'


def test_an_unfinished_log_is_shown_as_it_is() -> None:
    assert list(log_events('[{"data": "a')) == [("", ['[{"data": "a'])]
    assert list(log_events("")) == []


def test_the_output_is_fetched_page_by_page_and_checked(kit: Kit) -> None:
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
    assert settings(folder) == {"samples": 8}
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
        check(put(tmp_path, content), competition_named("aimo-2"), accept=True)
    assert not checked_before(tmp_path)


ERRORS = json.dumps([{"stream_name": "stderr", "data": "x\ntorch.OutOfMemoryError: CUDA\n"}])
TABLE = "problem,answer,reason\na,0,vote\nb,0,fallback: no sample answered\n"


@pytest.mark.parametrize(
    ("answers", "log", "table", "message"),
    [
        ([0, 0], LOG, "", "every answer is the fallback, 0"),
        ([0, 7], LOG, TABLE, "1 of the run's answers are fallbacks"),
        ([1, 7], ERRORS, "", "the log says 'torch.OutOfMemoryError: CUDA'"),
    ],
)
def test_an_unhealthy_run_fails_unless_it_is_accepted(
    tmp_path: Path, answers: list[int], log: str, table: str, message: str
) -> None:
    """A fallback everywhere gives a valid file too."""
    folder = put(tmp_path, parquet(answers), log, table)
    with pytest.raises(KaggleFailed, match=message):
        check(folder, competition_named("aimo-3"))
    assert not checked_before(folder)
    check(folder, competition_named("aimo-3"), accept=True)
    assert checked_before(folder)


def test_zeros_that_were_voted_for_are_healthy(tmp_path: Path) -> None:
    """The three public problems of AIMO-3 all have the answer 0."""
    table = "problem,answer,reason\na,0,vote\nb,0,vote\n"
    found = check(put(tmp_path, parquet([0, 0]), LOG, table), competition_named("aimo-3"))
    assert (found.rows, found.fallbacks, found.alarms) == (2, 0, ())


def test_a_samples_own_error_is_no_alarm(tmp_path: Path) -> None:
    log = json.dumps([{"stream_name": "stdout", "data": "Traceback (most recent call last)\n"}])
    assert check(put(tmp_path, parquet([1]), log), competition_named("any")).alarms == ()


# submit


def listed(status: str, **others: Any) -> dict[str, Any]:
    """The competition's submissions: an older one, and ours."""
    mine = {"ref": 41, "status": status, "date": "2026-11-21T00:00:00.000Z", **others}
    other = {"ref": 40, "status": "COMPLETE", "publicScore": "1", "date": mine["date"]}
    return {"submissions": [other, mine]}


TAKEN = {"message": "Successfully submitted to AIMO", "ref": 41}


def test_a_checked_version_is_submitted_scored_and_recorded(kit: Kit) -> None:
    kit.fetched()
    kit.stub.script(SUBMIT, TAKEN)
    kit.stub.script(
        LISTED, {"submissions": []}, listed("PENDING"), listed("COMPLETE", publicScore="12.0")
    )
    assert "submission 41: 12" in kit.good("submit", "-m", "N=48")
    assert kit.stub.bodies(SUBMIT) == [
        {
            "competitionName": "ai-mathematical-olympiad-prize",
            "kernelOwner": "ada",
            "kernelSlug": "aimo-submit",
            "kernelVersion": 3,
            "fileName": "submission.parquet",
            "submissionDescription": "N=48",
        }
    ]
    assert kit.stub.bodies(LISTED)[0]["competitionName"] == "ai-mathematical-olympiad-prize"
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
    done = run_kit(words, kit.environ, kit.folder, until=lambda: kit.stub.wait_for(what))
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


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


def test_a_submission_needs_a_message_and_a_competition(kit: Kit) -> None:
    kit.fetched()
    assert "give it with -m" in kit.bad("submit", code=2)
    write_kernel(kit.folder, competition_sources=[])
    assert "name the competition" in kit.bad("submit", "-m", "x", code=2)


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


# ledger


def scored(version: int, score: float | None, status: str = "COMPLETE", **config: Any) -> Entry:
    """A submission's entry."""
    return Entry("a/b", version, config=config, ref=version, status=status, score=score)


def test_the_last_line_about_a_submission_counts_and_a_torn_one_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "runs/ledger.jsonl"
    ledger.append(Entry("a/b", 1, git="x"), path)
    ledger.append(scored(1, None, "PENDING"), path)
    with path.open("a") as file:
        file.write('{"kernel": "a/b", "ver')
    ledger.append(scored(1, 5.0), path)
    assert [(e.ref, e.score) for e in ledger.read(path)] == [(None, None), (1, 5.0)]


def test_scores_are_averaged_over_seeds_and_kept_apart_by_config() -> None:
    entries = [
        scored(1, 10.0, samples=16, rounds=4, seed=0),
        scored(2, 14.0, samples=16, rounds=4, seed=1),
        scored(3, 20.0, samples=48, rounds=4, seed=0),
        scored(4, None, "ERROR", samples=48, rounds=4, seed=1),
        scored(5, None, "PENDING", samples=48, rounds=4, seed=2),
        Entry("a/b", 6, config={"samples": 99}),
    ]
    best, other = ledger.by_config(entries)
    assert (best.label, best.scores, best.spread) == ("samples=48", (20.0,), None)
    assert (best.pending, best.failed) == (1, 1)
    assert (other.label, other.scores) == ("samples=16", (10.0, 14.0))
    assert other.spread == pytest.approx(2.83, abs=0.01)


def test_what_cannot_be_recorded_is_told_so_that_it_can_be_added_by_hand(tmp_path: Path) -> None:
    """It has been pushed or submitted by then, and must not be so twice."""
    with pytest.raises(UserError, match="cannot be written .Is a directory.: mend") as error:
        ledger.append(scored(7, 5.0), tmp_path)
    path = tmp_path / "ledger.jsonl"
    path.write_text(str(error.value).partition("add this line to it: ")[2] + "\n")
    assert [(e.version, e.score) for e in ledger.read(path)] == [(7, 5.0)]


def test_a_line_of_rubbish_in_the_ledger_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"\xff\xfe\x00\n")
    ledger.append(scored(1, 5.0), path)
    assert [e.score for e in ledger.read(path)] == [5.0]


@pytest.mark.parametrize(
    "line", ['{"other": 1}', "[1]", "7", '{"kernel": "a/b", "version": 1, "ref": []}']
)
def test_a_strange_ledger_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(UserError, match="line 1 is no entry"):
        ledger.read(path)


def test_the_commit_is_named_and_changes_are_marked(tmp_path: Path) -> None:
    assert ledger.git_sha(tmp_path / "none") == ""
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    clean = ledger.git_sha(tmp_path)
    (tmp_path / "new").write_text("")
    assert len(clean) == 12
    assert ledger.git_sha(tmp_path) == clean + "+"
