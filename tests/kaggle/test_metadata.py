"""kernel-metadata.json: what Kaggle would ignore, refuse or misread is found before anything is
sent, all of it at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.bundle import SUBMISSION
from aimo_submit.kaggle.client.metadata import read_metadata, slugify

AIMO_3 = "ai-mathematical-olympiad-progress-prize-3"
GOOD: dict[str, Any] = {
    "id": "ada/aimo-submit",
    "title": "aimo-submit",
    "code_file": str(SUBMISSION),
    "language": "python",
    "kernel_type": "notebook",
    "is_private": True,
    "enable_gpu": True,
    "enable_internet": False,
    "machine_shape": "NvidiaTeslaT4",
    "docker_image_pinning_type": "original",
    "dataset_sources": ["ada/some-wheels", "ada/some-weights/3"],
    "kernel_sources": ["ada/wheels", "ada/wheels/12"],
    "model_sources": ["qwen-lm/qwen2.5/transformers/7b-instruct/1"],
    "competition_sources": [AIMO_3],
}


def write_kernel(folder: Path, **changes: Any) -> Path:
    """The folder, now with a notebook and metadata; a change to `...` takes the key out."""
    data = {k: v for k, v in (GOOD | changes).items() if v is not ...}
    for name in ("notebooks", SUBMISSION.parent):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cell = {"cell_type": "code", "source": ["a = 1\n", "a"], "outputs": [{"text": "1"}]}
    (folder / SUBMISSION).write_text(json.dumps({"cells": [cell]}))
    (folder / "notebooks/plain.py").write_text("print(1)\n")
    (folder / "kernel-metadata.json").write_text(json.dumps(data))
    return folder


def complaint(folder: Path, **changes: Any) -> str:
    """What is said of metadata with these changes."""
    with pytest.raises(UserError) as error:
        read_metadata(write_kernel(folder, **changes))
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_privat": True}, "is_privat: Kaggle ignores this key: did you mean is_private?"),
        ({"colour": 1}, "colour: Kaggle ignores this key: take it out"),
        ({"title": None}, "title = null: must be a string"),
        ({"enable_gpu": 1}, "enable_gpu = 1: must be true or false"),
        ({"enable_gpu": "yes"}, 'enable_gpu = "yes": must be true or false'),
        ({"dataset_sources": "ada/x"}, "must be a list of strings"),
        ({"dataset_sources": None}, "dataset_sources = null: must be a list of strings"),
        ({"keywords": [1]}, "keywords = [1]: must be a list of strings"),
        ({"id": ...}, 'id is missing: add "owner/slug"'),
        ({"title": ...}, "title is missing"),
        ({"code_file": ...}, "code_file is missing"),
        ({"language": ...}, "language is missing"),
        ({"kernel_type": ...}, "kernel_type is missing"),
        ({"enable_internet": ...}, "Kaggle's default is true: set false"),
        ({"enable_internet": True}, "a submission must run without internet"),
        ({"id": "aimo-submit"}, "must be owner/slug"),
        ({"id": "ada/aimo-submit/3"}, "must be owner/slug, without a version"),
        ({"id": "your-kaggle-name/aimo-submit"}, "put your Kaggle name"),
        ({"id": "ada/aimo", "title": "aimo "}, "lengthen the slug to at least 5"),
        ({"title": "a" * 51, "id": "ada/" + "a" * 51}, "title has 51 characters"),
        ({"title": "Another title"}, "becomes the slug 'another-title', not 'aimo-submit'"),
        ({"code_file": "submission.ipynb"}, "no file"),
        ({"code_file": "/etc/passwd"}, "give it relative to kernel-metadata.json"),
        ({"code_file": "notebooks"}, "no file"),
        ({"code_file": "notebooks/plain.py"}, "is not a notebook"),
        ({"kernel_type": "script"}, "set kernel_type to notebook"),
        ({"kernel_type": "job"}, "must be one of script, notebook"),
        ({"language": "julia"}, "must be one of python, r, rmarkdown"),
        ({"docker_image_pinning_type": "newest"}, "must be one of original, latest"),
        ({"enable_tpu": True}, "enable_tpu is deprecated"),
        ({"machine_shape": "NvidiaTeslaP100"}, "is retired: set NvidiaTeslaT4"),
        ({"machine_shape": "nvidiateslat4"}, "write it NvidiaTeslaT4"),
        ({"machine_shape": "NvidiaTeslaT4x2"}, "write it NvidiaTeslaT4"),
        ({"machine_shape": "NvidiaTelsaT4"}, "write it NvidiaTeslaT4"),
        ({"machine_shape": "NvidiaH10"}, "write it NvidiaH100"),
        ({"machine_shape": "T4"}, "no such machine; known are NvidiaTeslaT4"),
        ({"enable_gpu": False}, "enable_gpu = false against machine_shape = 'NvidiaTeslaT4'"),
        ({"dataset_sources": ["wheels"]}, "must be owner/slug or owner/slug/version"),
        ({"dataset_sources": ["ada/x/1/2"]}, "must be owner/slug or owner/slug/version"),
        ({"dataset_sources": ["ada/wheels/new"]}, "must be owner/slug or owner/slug/version"),
        ({"dataset_sources": [""]}, "must be owner/slug or owner/slug/version"),
        ({"dataset_sources": ["datasets/ada/wheels"]}, "write 'ada/wheels'"),
        ({"kernel_sources": ["code/ada/wheels"]}, "write 'ada/wheels'"),
        ({"kernel_sources": ["ada/whl"]}, "the slug of at least 5 characters"),
        ({"model_sources": ["qwen-lm/qwen2.5/transformers/7b"]}, "its version is missing"),
        ({"model_sources": ["qwen-lm/qwen2.5/transformers/7b/latest"]}, "its version is 'latest'"),
        ({"model_sources": ["qwen-lm/qwen 2.5/transformers/7b/1"]}, "its model is 'qwen 2.5'"),
        ({"model_sources": ["a/b/c/d/1/e"]}, "'e' is too much"),
        ({"enableGpu": True}, "did you mean enable_gpu?"),
        ({"accelerator": "T4"}, "did you mean machine_shape?"),
        ({"gpu_type": "T4"}, "did you mean machine_shape?"),
        ({"machine_shape": "NvidiaTeslaT4Highmem"}, "is for Kaggle's administrators"),
        ({"model_sources": ["models/a/b/c/d/1"]}, "write 'a/b/c/d/1'"),
        ({"competition_sources": ["c/ai-mo"]}, "write 'ai-mo'"),
        ({"competition_sources": ["a/b"]}, "the competition's slug alone"),
    ],
)  # fmt: skip
def test_what_kaggle_would_misread_is_named_with_its_remedy(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    said = complaint(tmp_path, **changes)
    assert message in said
    assert "has 1 problem:" in said


def test_a_short_title_is_refused_with_its_short_slug(tmp_path: Path) -> None:
    said = complaint(tmp_path, title="abcd", id="ada/abcd")
    assert "title has 4 characters: must have 5 to 50" in said
    assert "lengthen the slug" in said


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    said = complaint(tmp_path, id="x", language="perl", title=None, dataset_sources=["a", "b"])
    assert "has 5 problems:" in said
    assert len(said.splitlines()) == 6


def test_good_metadata_is_read(tmp_path: Path) -> None:
    found = read_metadata(write_kernel(tmp_path))
    assert (found.id, found.slug) == ("ada/aimo-submit", "aimo-submit")
    assert found.competition == AIMO_3
    assert found.sources["kernel_sources"] == ("ada/wheels", "ada/wheels/12")


def test_what_kaggles_own_tools_write_is_accepted(tmp_path: Path) -> None:
    """`kernels init` writes booleans as strings, `pull` an id_no and a shape for the CPU."""
    changes = {"is_private": "true", "enable_gpu": "false", "id_no": 7, "machine_shape": "None"}
    assert read_metadata(write_kernel(tmp_path, **changes)).id == GOOD["id"]


@pytest.mark.parametrize("shape", ["NvidiaL4X1", "NvidiaTeslaA100", "TpuV6E8", "NvidiaB300Ultra"])
def test_machines_that_the_kit_is_not_for_or_does_not_know_yet_are_accepted(
    tmp_path: Path, shape: str
) -> None:
    assert read_metadata(write_kernel(tmp_path, machine_shape=shape)).id == GOOD["id"]


def test_a_kernel_with_internet_and_no_competition_is_accepted(tmp_path: Path) -> None:
    folder = write_kernel(tmp_path, enable_internet=True, competition_sources=[])
    assert read_metadata(folder).competition is None


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "push from the folder that holds it"), ("{", "not valid JSON"), ("[]", "one JSON obj")],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "kernel-metadata.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_metadata(tmp_path)


TITLES = [
    "AIMO  Submit!",
    "qwen2.5 7B - v1.0",
    "1,000 problems",
    "it's a_title",
    "Zoë's T4",
    "--a--",
]


@pytest.mark.parametrize("title", TITLES)
def test_slugs_are_those_of_the_package(title: str) -> None:
    package = pytest.importorskip("slugify")
    assert slugify(title) == package.slugify(title)
