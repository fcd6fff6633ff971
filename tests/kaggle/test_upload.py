"""Uploads: neither a file that is missing on Kaggle nor a version half ready looks like success.

Most tests run the official package against the stub of `kaggle_stub.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.filesize import decimal

from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.api import KaggleFailed, Polling
from aimo_submit.kaggle.client.sources import FAILED, READY, SourceStatus, attach
from aimo_submit.kaggle.upload import ready_version, target
from aimo_submit.kaggle.upload.folder import files_in, left_out
from tests.kaggle.kaggle_stub import HANGS, LOST, Answer, Refusal, Stub
from tests.kaggle.kit import DATASET, DATASET_STATUS, MODEL, Kit
from tests.kaggle.test_metadata import GOOD

pytestmark = pytest.mark.slow

BLOB = "blobs.BlobApiService/StartBlobUpload"
NEW = "datasets.DatasetApiService/CreateDataset"
NEWER = "datasets.DatasetApiService/CreateDatasetVersion"
FILES = "datasets.DatasetApiService/ListDatasetFiles"
PARENT = "models.ModelApiService/GetModel"
NEW_MODEL = "models.ModelApiService/CreateModel"
NEW_VARIATION = "models.ModelApiService/CreateModelInstance"
NEWER_VARIATION = "models.ModelApiService/CreateModelInstanceVersion"
MODEL_FILES = "models.ModelApiService/ListModelInstanceVersionFiles"

NO = Refusal(404, "none")
WHEELS = ("upload", "wheels", "--name", "ada/t4-wheels")
WEIGHTS = ("upload", "wheels", "--name", "ada/tiny/transformers/4m")
CONTENT = b"0123456789"


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with Stub() as stub:
        kit = Kit(stub, tmp_path)
        (kit.folder / "wheels").mkdir()
        put(kit, "a.whl")
        stub.script(BLOB, begun("a"))
        stub.script("store/a", {})
        stub.script(DATASET_STATUS, NO, {"status": "BLOBS_RECEIVED"}, {"status": "READY"})
        stub.script(DATASET, {"currentVersionNumber": 1})
        stub.script(NEW, {"status": "ok", "ref": "/ada/t4-wheels"})
        stub.script(NEWER, {"status": "ok"})
        stub.script(FILES, {"datasetFiles": [{"name": "a.whl"}]})
        yield kit


def put(kit: Kit, name: str, content: bytes = CONTENT) -> Path:
    """A file in the folder to upload."""
    file = kit.folder / "wheels" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (1000, 1000))
    return file


def begun(name: str) -> dict[str, str]:
    """Kaggle's answer to a file that is announced."""
    return {"token": f"token-{name}", "createUrl": f"http://localhost/store/{name}"}


def exists(kit: Kit) -> None:
    """The dataset is there, with three versions; the fourth will be ready at the second look."""
    kit.stub.script(DATASET_STATUS, {"status": "READY"})
    versions = [{"currentVersionNumber": n} for n in (3, 3, 4)]
    kit.stub.script(DATASET, *versions)


# what is sent


def test_a_new_dataset_is_private_and_waited_for(kit: Kit) -> None:
    kit.apart = True
    put(kit, "b.whl", b"b" * 2_000_000)
    kit.stub.script(BLOB, begun("a"), begun("b"))
    kit.stub.script("store/b", {})
    kit.stub.script(FILES, {"datasetFiles": [{"name": "a.whl"}, {"name": "b.whl"}]})
    done = kit.run(*WHEELS, "--license", "other")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        '"ada/t4-wheels/1" is ready; put it into dataset_sources of kernel-metadata.json\n'
    )
    assert "2 files, 2.0 MB, as a new private dataset ada/t4-wheels" in done.stderr
    assert kit.stub.bodies(BLOB) == [
        {"type": "DATASET", "name": "a.whl", "contentLength": 10, "lastModifiedEpochSeconds": 1000},
        {
            "type": "DATASET",
            "name": "b.whl",
            "contentLength": 2_000_000,
            "lastModifiedEpochSeconds": 1000,
        },
    ]
    assert kit.stub.bodies("store/a") == [CONTENT]
    assert kit.stub.bodies("store/b") == [b"b" * 2_000_000]
    assert kit.stub.bodies(NEW) == [
        {
            "ownerSlug": "ada",
            "slug": "t4-wheels",
            "title": "t4-wheels",
            "licenseName": "other",
            "isPrivate": True,
            "files": [{"token": "token-a"}, {"token": "token-b"}],
        }
    ]


def test_only_what_is_to_be_public_is(kit: Kit) -> None:
    kit.stub.script(DATASET_STATUS, NO)
    said = kit.good(*WHEELS, "--license", "MIT", "--public", "--no-wait")
    assert "not ready before https://www.kaggle.com/datasets/ada/t4-wheels says so" in said
    assert not kit.stub.bodies(NEW)[0].get("isPrivate")
    assert kit.stub.bodies(FILES) == []


def test_a_dataset_that_exists_gets_a_version_and_the_old_one_is_not_taken_for_it(kit: Kit) -> None:
    exists(kit)
    assert '"ada/t4-wheels/4" is ready' in kit.good(*WHEELS, "-m", "torch 2.10")
    [sent] = kit.stub.bodies(NEWER)
    assert (sent["ownerSlug"], sent["datasetSlug"]) == ("ada", "t4-wheels")
    assert sent["body"]["versionNotes"] == "torch 2.10"
    assert sent["body"]["files"] == [{"token": "token-a"}]
    assert not sent["body"].get("deleteOldVersions")
    assert len(kit.stub.bodies(DATASET_STATUS)) == 3
    assert kit.stub.bodies(FILES)[0]["datasetVersionNumber"] == 4


def test_a_new_variation_of_a_new_model_creates_both(kit: Kit) -> None:
    kit.apart = True
    kit.stub.script(MODEL, NO, NO, {"versionNumber": 1})
    kit.stub.script(PARENT, NO)
    kit.stub.script(NEW_MODEL, {"ref": "ada/tiny"})
    kit.stub.script(NEW_VARIATION, {"ref": "ada/tiny/transformers/4m"})
    kit.stub.script(MODEL_FILES, {"files": [{"name": "a.whl"}]})
    said = kit.good(*WEIGHTS, "--license", "Apache 2.0", "--title", "Tiny TIR")
    assert '"ada/tiny/transformers/4m/1" is ready; put it into model_sources' in said
    assert kit.stub.bodies(NEW_MODEL) == [
        {
            "ownerSlug": "ada",
            "slug": "tiny",
            "title": "Tiny TIR",
            "isPrivate": True,
            "description": "",
        }
    ]
    [sent] = kit.stub.bodies(NEW_VARIATION)
    assert (sent["ownerSlug"], sent["modelSlug"]) == ("ada", "tiny")
    body = sent["body"]
    assert (body["instanceSlug"], body["licenseName"]) == ("4m", "Apache 2.0")
    assert body["framework"] == "MODEL_FRAMEWORK_TRANSFORMERS"
    assert [file["token"] for file in body["files"]] == ["token-a"]
    assert kit.stub.bodies(BLOB)[0]["type"] == "MODEL"


def test_a_variation_that_exists_gets_a_version(kit: Kit) -> None:
    kit.stub.script(MODEL, {"versionNumber": 2}, {"versionNumber": 2}, {"versionNumber": 3})
    kit.stub.script(NEWER_VARIATION, {"ref": "x"})
    kit.stub.script(MODEL_FILES, {"files": [{"name": "a.whl"}]})
    assert '"ada/tiny/transformers/4m/3" is ready' in kit.good(*WEIGHTS)
    [sent] = kit.stub.bodies(NEWER_VARIATION)
    assert sent["framework"] == "MODEL_FRAMEWORK_TRANSFORMERS"
    assert (sent["modelSlug"], sent["instanceSlug"]) == ("tiny", "4m")
    assert [file["token"] for file in sent["body"]["files"]] == ["token-a"]


def test_subfolders_are_not_skipped(kit: Kit) -> None:
    """The official package skips them, and prints that among other lines."""
    put(kit, "sub/deep/b.whl")
    put(kit, ".git/config")
    kit.stub.script(BLOB, begun("a"), begun("b"))
    kit.stub.script("store/b", {})
    kit.stub.script(FILES, {"datasetFiles": [{"name": "a.whl"}, {"name": "sub/deep/b.whl"}]})
    done = kit.run(*WHEELS, "--license", "other")
    assert done.returncode == 0, done.stderr
    assert ".git stays here" in done.stderr
    [sent] = kit.stub.bodies(NEW)
    leaf = {"name": "deep", "files": [{"token": "token-b"}]}
    assert sent["files"] == [{"token": "token-a"}]
    assert sent["directories"] == [{"name": "sub", "directories": [leaf]}]


def test_kaggles_own_command_line_sends_the_same(kit: Kit) -> None:
    kit.stub.script(DATASET_STATUS, NO)
    kit.good(*WHEELS, "--license", "other", "--no-wait")
    metadata = {"id": "ada/t4-wheels", "title": "t4-wheels", "licenses": [{"name": "other"}]}
    (kit.folder / "wheels/dataset-metadata.json").write_text(json.dumps(metadata))
    kaggle = [sys.executable, "-m", "kaggle", "datasets", "create", "-p", "wheels"]
    subprocess.run(kaggle, env=kit.environ, cwd=kit.folder, capture_output=True, check=True)
    for what in (BLOB, "store/a", NEW):
        ours, kaggles = kit.stub.bodies(what)
        assert ours == kaggles


def test_what_is_ready_is_written_into_the_kernels_metadata(kit: Kit) -> None:
    assert "is in dataset_sources" in kit.good(*WHEELS, "--license", "other", "--attach")
    written = json.loads((kit.folder / "kernel-metadata.json").read_text())
    assert written["dataset_sources"] == [*GOOD["dataset_sources"], "ada/t4-wheels/1"]


def test_a_new_version_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    sources = ["ada/x", "ada/wheels", "ada/wheels/2", "ada/y/3"]
    (tmp_path / "kernel-metadata.json").write_text(json.dumps({"dataset_sources": sources}))
    attach(tmp_path, "dataset_sources", "ada/wheels/12")
    attach(tmp_path, "model_sources", "a/b/c/d/1")
    written = json.loads((tmp_path / "kernel-metadata.json").read_text())
    assert written["dataset_sources"] == ["ada/x", "ada/y/3", "ada/wheels/12"]
    assert written["model_sources"] == ["a/b/c/d/1"]


# what goes wrong


@pytest.mark.parametrize(
    ("what", "answer", "message"),
    [
        (BLOB, Refusal(403, "quota exceeded"), "upload of a.whl: HTTP 403 (quota exceeded)"),
        (BLOB, {"token": "t"}, "Kaggle named no place for it: repeat the command"),
        (BLOB, LOST, "upload of a.whl: no answer from Kaggle"),
        ("store/a", LOST, "upload of a.whl: no answer from Kaggle"),
        ("store/a", Refusal(403, "expired"), "upload of a.whl: HTTP 403"),
        ("store/a", Refusal(503, "busy"), "upload of a.whl: HTTP 503"),
        ("store/a", Refusal(308, "", "bytes=0-"), "the store took nothing"),
        (NEW, {"status": "error", "error": "The requested title is already in use"},
         "Kaggle refused ada/t4-wheels: The requested title is already in use: mend that"),
        (NEW, {"status": "error"}, "Kaggle refused ada/t4-wheels: error"),
        (NEW, {"error": "over your private quota"}, "over your private quota"),
        (NEW, Refusal(403, "no"), "upload as ada/t4-wheels: HTTP 403"),
        (NEW, Refusal(409, "name taken"), "HTTP 409: name taken"),
        (NEW, Refusal(500, "oops"), "it may have been made: look at https://www.kaggle.com/data"),
        (NEW, LOST, "it may have been made: look at"),
        (FILES, {"datasetFiles": []}, "version 1 holds 0 of 1 files"),
    ],
)  # fmt: skip
def test_every_upload_that_went_wrong_fails_with_its_remedy(
    kit: Kit, what: str, answer: Answer, message: str
) -> None:
    kit.stub.script(what, answer)
    said = kit.bad(*WHEELS, "--license", "other", "--attach")
    assert message in said.splitlines()[-1]
    assert json.loads((kit.folder / "kernel-metadata.json").read_text()) == GOOD
    assert len(kit.stub.bodies(NEW)) <= 1


def test_a_dataset_that_kaggle_cannot_process_fails(kit: Kit) -> None:
    kit.stub.script(DATASET_STATUS, NO, {"status": "BLOBS_RECEIVED"}, {"status": "FAILED"})
    said = kit.bad(*WHEELS, "--license", "other")
    assert "could not process ada/t4-wheels: see why at https://www.kaggle.com/datasets" in said


def test_a_model_that_is_refused_fails(kit: Kit) -> None:
    kit.stub.script(MODEL, NO)
    kit.stub.script(PARENT, NO)
    kit.stub.script(NEW_MODEL, {"error": "slug is taken", "errorCode": 409})
    assert "slug is taken: mend that" in kit.bad(*WEIGHTS, "--license", "MIT")
    kit.stub.script(PARENT, {"ref": "ada/tiny"})
    kit.stub.script(NEW_VARIATION, {"error": "no such licence"})
    assert "no such licence: mend that" in kit.bad(*WEIGHTS, "--license", "MIT")


def test_someone_elses_dataset_is_not_taken_for_a_new_one(kit: Kit) -> None:
    """Kaggle answers 403 for one's own that does not exist, and for another's that does."""
    kit.stub.script(DATASET_STATUS, Refusal(403, "denied"))
    said = kit.bad("upload", "wheels", "--name", "bob/t4-wheels", "--license", "other")
    assert "no access: check the owner and the slug" in said
    assert kit.stub.bodies(BLOB) == []
    kit.stub.script(DATASET_STATUS, Refusal(403, "denied"), {"status": "READY"})
    kit.good(*WHEELS, "--license", "other")


def test_something_new_needs_a_licence_before_anything_is_sent(kit: Kit) -> None:
    assert "name the licence of what you upload, as in --license other" in kit.bad(*WHEELS, code=2)
    assert kit.stub.bodies(BLOB) == []


def test_a_break_is_mended_where_the_store_stopped(kit: Kit) -> None:
    kit.stub.script("store/a", LOST, Refusal(308, "", "bytes=0-3"), {})
    kit.good(*WHEELS, "--license", "other")
    sent = [(asked.part, asked.body) for asked in kit.stub.asked if asked.what == "store/a"]
    assert sent == [("", CONTENT), ("bytes */10", b""), ("bytes 4-9/10", CONTENT[4:])]


@pytest.mark.slow
def test_a_store_that_never_says_where_the_bytes_go_is_given_up(kit: Kit) -> None:
    kit.stub.script(BLOB, HANGS)
    done = kit.run(*WHEELS, "--license", "other", silence_s=0.5)
    assert done.returncode == 1
    assert "upload of a.whl: no answer from Kaggle" in done.stderr.splitlines()[-1]


def test_a_long_way_over_a_bad_line_is_borne(kit: Kit) -> None:
    """Twenty breaks, a byte further each time, are not eight breaks in a row."""
    size = 20
    put(kit, "a.whl", b"x" * size)
    steps: list[Answer] = [LOST]
    for byte in range(size - 1):
        steps += [Refusal(308, "", f"bytes=0-{byte}"), LOST]
    kit.stub.script("store/a", *steps, {})
    kit.good(*WHEELS, "--license", "other")


def test_after_ctrl_c_the_same_command_goes_on_where_it_stopped(kit: Kit) -> None:
    put(kit, "b.whl")
    kit.stub.script(BLOB, begun("a"), begun("b"))
    kit.stub.script("store/b", HANGS)
    words = (*WHEELS, "--license", "other")
    done = kit.run(*words, until=lambda: kit.stub.wait_for("store/b"))
    assert done.returncode == 130
    assert kit.stub.bodies(NEW) == []
    kit.stub.script(DATASET_STATUS, NO, {"status": "READY"})
    kit.stub.script(FILES, {"datasetFiles": [{"name": "a.whl"}, {"name": "b.whl"}]})
    kit.stub.script("store/b", Refusal(308, "", "bytes=0-6"), {})
    kit.good(*words)
    assert len(kit.stub.bodies(BLOB)) == 2
    assert kit.stub.bodies("store/a") == [CONTENT]
    assert kit.stub.bodies("store/b")[-1] == CONTENT[7:]
    assert [file["token"] for file in kit.stub.bodies(NEW)[0]["files"]] == ["token-a", "token-b"]
    started = kit.folder / "runs/uploads.json"
    assert json.loads(started.read_text()) == {}
    assert started.stat().st_mode & 0o077 == 0  # whoever has such an address can write to it


def test_ctrl_c_while_kaggle_works_says_what_the_same_command_would_do(kit: Kit) -> None:
    kit.stub.script(DATASET_STATUS, NO, {"status": "BLOBS_RECEIVED"})
    words = (*WHEELS, "--license", "other")
    done = kit.run(*words, until=lambda: kit.stub.wait_for(DATASET_STATUS, 4))
    assert done.returncode == 130
    assert "the same command would upload it again" in done.stderr


def test_a_file_that_changed_since_is_sent_anew(kit: Kit) -> None:
    kit.stub.script(NEW, Refusal(500))
    kit.bad(*WHEELS, "--license", "other")
    put(kit, "a.whl", b"others")
    kit.stub.script(DATASET_STATUS, NO, {"status": "READY"})
    kit.stub.script(NEW, {"status": "ok"})
    kit.good(*WHEELS, "--license", "other")
    assert kit.stub.bodies("store/a") == [CONTENT, b"others"]


def test_a_wait_that_has_no_end_is_ended() -> None:
    now, seen = [0.0], SourceStatus(3, READY)
    polling = Polling(
        lambda line: None, sleep=lambda s: now.append(now.pop() + s), clock=lambda: now[0],
        limit_s=7200,
    )  # fmt: skip
    with pytest.raises(KaggleFailed, match=r"no end after 2\.0 h: look at its page"):
        ready_version(lambda: seen, target("ada/t4-wheels"), seen, polling)


def test_an_old_failure_is_not_taken_for_the_new_versions() -> None:
    old, looks = SourceStatus(3, FAILED), [SourceStatus(3, FAILED), None, SourceStatus(4, READY)]
    polling = Polling(lambda line: None, sleep=lambda s: None)
    found = ready_version(lambda: looks.pop(0), target("ada/t4-wheels"), old, polling)
    assert found == 4


# checked before anything is sent


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("upload", "nowhere", "--name", "ada/t4-wheels"), "no folder nowhere"),
        (("upload", "wheels", "--name", "t4-wheels"), "a dataset is named owner/slug"),
        (("upload", "wheels", "--name", "ada/t4/1"), "a dataset is named owner/slug, without"),
        ((*WHEELS, "--as", "model"), "a model is named owner/model/framework/variation"),
        (("upload", "wheels", "--name", "your-kaggle-name/wheels"), "put your Kaggle name"),
        (("upload", "wheels", "--name", "ada/wheel"), "the slug must have 6 to 50 lower-case"),
        (("upload", "wheels", "--name", "ada/T4-wheels"), "lower-case letters, digits and single"),
        (("upload", "wheels", "--name", "ada/tiny/torch2/4m"), "no framework 'torch2' on Kaggle"),
        ((*WHEELS, "--title", "x" * 51), "--title has 51 characters: must have 6 to 50"),
        ((*WHEELS, "--attach", "--folder", "wheels"), "cannot read wheels/kernel-metadata.json"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(
    kit: Kit, words: tuple[str, ...], message: str
) -> None:
    assert message in kit.bad(*words, code=2)
    assert kit.stub.asked == []


def test_a_framework_is_known_whatever_its_case() -> None:
    assert target("ada/tiny/pyTorch/4m").kind == target("ada/tiny/vllm/4m").kind == "model"


def test_all_that_speaks_against_a_folder_is_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.whl").touch()
    (tmp_path / "half.safetensors.incomplete").write_text("x")
    (tmp_path / "link").symlink_to("nothing")
    index: dict[str, Any] = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1.safetensors").write_text("x")
    with pytest.raises(UserError) as error:
        files_in(tmp_path)
    said = str(error.value).splitlines()
    assert len(said) == 5
    assert "empty.whl is empty" in said[1]
    assert "is half a download" in said[2]
    assert "link is no file, or a link to nothing" in said[3]
    assert "names model-2.safetensors, which is not there" in said[4]


@pytest.mark.parametrize("name", ["bad&name.ini", "@PaxHeader", "x:y.txt", "a#b", "a\\b", "w*?"])
def test_a_name_that_kaggle_refuses_is_refused_before_a_byte_is_sent(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text("x")
    (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match="rename it") as error:
        files_in(tmp_path)
    assert name in str(error.value)


def test_locks_and_checkpoints_stay_and_usual_names_go(tmp_path: Path) -> None:
    (tmp_path / ".ipynb_checkpoints").mkdir()
    good = {"torch-2.10.0+cu128-cp312-cp312-linux_x86_64.whl", "a b.txt", "model_(1).bin"}
    for name in (*good, "gemma.gguf.lock", ".ipynb_checkpoints/a.ipynb"):
        (tmp_path / name).write_text("x")
    assert {file.name for file in files_in(tmp_path)} == good
    assert left_out(tmp_path) == [".ipynb_checkpoints", "gemma.gguf.lock"]


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("x")
    with pytest.raises(UserError, match="holds no files to upload"):
        files_in(tmp_path)


def test_sizes_are_told_in_words() -> None:
    assert [decimal(n) for n in (7, 1500, 15_200_000_000)] == ["7 bytes", "1.5 kB", "15.2 GB"]
