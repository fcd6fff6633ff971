"""What is mounted, found in the old and the new places, and without reading all there is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from aimo_submit.cards import Card, Source
from aimo_submit.kaggle.runtime import mounts
from aimo_submit.kaggle.runtime.mounts import survey

SLUG = "ai-mathematical-olympiad-progress-prize-2"
CARD = Card("numina", Path(), "numina_tir", 4096, source=Source(kaggle="me/numina/pytorch/int8/2"))
OLD = {
    "problems": f"{SLUG}/test.csv",
    "package": f"{SLUG}/kaggle_evaluation/aimo_2_inference_server.py",
    "model": "numina/pytorch/int8/2/config.json",
    "tokenizer": "numina/pytorch/int8/2/tokenizer.json",
    "wheel": "wheels/vllm-0.19.1-cp38-abi3-manylinux_2_31_x86_64.whl",
}
NEW = {
    "problems": f"competitions/{SLUG}/test.csv",
    "package": f"competitions/{SLUG}/kaggle_evaluation/aimo_2_inference_server.py",
    "model": "models/me/numina/pytorch/int8/2/config.json",
    "tokenizer": "models/me/numina/pytorch/int8/2/tokenizer.json",
    "wheel": "notebooks/me/wheels/vllm-0.19.1-cp38-abi3-manylinux_2_31_x86_64.whl",
}


def mount(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("{}")


@pytest.mark.parametrize("layout", [OLD, NEW], ids=["old", "new"])
def test_everything_is_found_in_either_layout(layout: dict[str, str], tmp_path: Path) -> None:
    mount(tmp_path, *layout.values(), "elsewhere/test.csv", "elsewhere/a-1-py3-none-any.whl")
    found = survey(tmp_path)
    assert found.models(CARD) == [(tmp_path / layout["model"]).parent]
    assert found.problems("aimo-2")[0] == tmp_path / layout["problems"]
    assert found.packages("aimo-2") == [(tmp_path / layout["package"]).parents[1]]
    assert found.wheels("vllm")[0] == (tmp_path / layout["wheel"]).parent
    assert found.editions() == ["aimo-2"]


def test_of_several_models_the_one_that_the_card_names_is_taken(tmp_path: Path) -> None:
    for place in ("models/a/other/pytorch/int8/2", "models/me/numina/pytorch/int8/1",
                  "models/me/numina/pytorch/int8/2"):  # fmt: skip
        mount(tmp_path, f"{place}/config.json", f"{place}/tokenizer.json")
    names = [path.relative_to(tmp_path).parts[2:] for path in survey(tmp_path).models(CARD)]
    assert names[0] == ("numina", "pytorch", "int8", "2")
    assert names[-1][0] == "other"


def test_the_models_name_counts_more_than_where_such_models_lie(tmp_path: Path) -> None:
    for place in ("datasets/you/numina", "models/me/other/pytorch/int8/2"):
        mount(tmp_path, f"{place}/config.json", f"{place}/tokenizer.json")
    assert survey(tmp_path).models(CARD)[0] == tmp_path / "datasets/you/numina"


def test_equally_good_finds_come_in_the_same_order_whatever_the_disk_says(tmp_path: Path) -> None:
    for name in ("c", "a", "b"):
        mount(tmp_path, f"{name}/config.json", f"{name}/tokenizer.json", f"{name}/test.csv")
    found = survey(tmp_path)
    assert [path.name for path in found.models(CARD)] == ["a", "b", "c"]
    assert [path.parent.name for path in found.problems("aimo-1")] == ["a", "b", "c"]


def test_an_aimo_1_package_is_told_from_any_other_folder_of_that_name(tmp_path: Path) -> None:
    mount(tmp_path, "a/aimo/notes.txt", "b/aimo/__init__.py")
    assert survey(tmp_path).packages("aimo-1") == [tmp_path / "b"]


def test_nothing_is_found_where_there_is_no_root(tmp_path: Path) -> None:
    found = survey(tmp_path / "nowhere")
    assert found.models(CARD) == found.wheels("vllm") == found.problems("aimo-1") == []
    assert found.editions() == []


@pytest.mark.slow
def test_a_folder_of_very_many_files_is_not_read_to_its_end(tmp_path: Path) -> None:
    many = 3 * mounts.ENTRIES
    mount(tmp_path, "images/test.csv", *(f"images/{k}.png" for k in range(many)))
    found = survey(tmp_path)
    assert len(found.folders[tmp_path / "images"]) < many
    assert found.problems("aimo-1") == [tmp_path / "images/test.csv"]


@pytest.mark.slow
def test_many_folders_do_not_keep_the_search_from_the_model(tmp_path: Path) -> None:
    mount(tmp_path, *(f"data/{k}/x/y" for k in range(1000)))
    mount(tmp_path, "models/numina/config.json", "models/numina/tokenizer.json")
    start = time.process_time()
    found = survey(tmp_path)
    assert time.process_time() - start < 5
    assert found.models(CARD) == [tmp_path / "models/numina"]
    assert len(found.folders) < 1000


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    mount(tmp_path, "a/test.csv")
    (tmp_path / "a/again").symlink_to(tmp_path)
    assert survey(tmp_path).problems("aimo-1")[0] == tmp_path / "a/test.csv"


def test_what_lies_inside_a_model_is_not_looked_at(tmp_path: Path) -> None:
    mount(tmp_path, "m/config.json", "m/tokenizer.json", "m/onnx/test.csv")
    assert survey(tmp_path).problems("aimo-1") == []
