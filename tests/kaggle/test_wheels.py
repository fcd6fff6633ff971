"""Wheels: downloaded for real, installed offline for real; the whole set for the T4s resolved."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import nbclient
import nbformat
import pytest

from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.bundle import notebook
from aimo_submit.kaggle.client.metadata import problems_in
from aimo_submit.kaggle.runtime.mounts import (
    REQUIREMENTS,
    import_failure,
    install_wheels,
    present,
)
from tests import ROOT

FOLDER = ROOT / "notebooks/wheels"
PYTHONS = ("3.10", "3.12")  # of the image for AIMO-1's package, and of today's
SMALL = ("humanize==4.14.0", "sniffio==1.3.1")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def ran(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)


@pytest.fixture(scope="module")
def index() -> None:
    """An index of packages, be it a mirror."""
    if ran([*PIP, "index", "versions", "six"]).returncode:
        pytest.skip("no package index can be reached from here")


@pytest.fixture(scope="module")
def wheels(index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the utility notebook leaves, run in a real kernel for a small set of packages."""
    folder = tmp_path_factory.mktemp("wheels")
    lock = f'REQUIREMENTS = {{"3.12": {chr(10).join(SMALL)!r}}}'
    book = nbformat.reads(notebook(FOLDER / "wheels.py", {"REQUIREMENTS": lock}), 4)
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(book, timeout=800, kernel_name="python3", resources=where).execute()
    assert "2 wheels" in book.cells[-1].outputs[0].text
    return folder


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clean environment's interpreter."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    return str(folder / "bin/python")


@pytest.mark.index
@pytest.mark.kernel
@pytest.mark.xdist_group("wheels")
def test_what_was_downloaded_installs_without_an_index(wheels: Path, python: str) -> None:
    assert len(list(wheels.glob("*.whl"))) == len(SMALL)  # flat: subfolders are skipped silently
    assert ran([python, "-c", "import humanize"]).returncode != 0
    install_wheels(SMALL[:1], [wheels], python=python)
    assert ran([python, "-c", "import humanize"]).returncode == 0


@pytest.mark.index
@pytest.mark.kernel
@pytest.mark.xdist_group("wheels")
def test_a_set_that_lacks_something_is_named_with_its_remedy(wheels: Path, python: str) -> None:
    with pytest.raises(UserError, match=r"six.*build them anew with notebooks/wheels"):
        install_wheels(["six==1.17.0"], [wheels], python=python)


def test_no_wheels_mounted_is_said_with_the_remedy() -> None:
    with pytest.raises(UserError, match="kernel_sources in kernel-metadata.json"):
        install_wheels(REQUIREMENTS["vllm"], [])


def test_an_installation_that_hangs_is_given_up(tmp_path: Path) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    with pytest.raises(UserError, match=r"not done in 0\.2 s"):
        install_wheels(["six"], [tmp_path], python=str(slow), timeout_s=0.2)


def test_a_package_that_cannot_be_imported_says_why() -> None:
    assert import_failure("json") == ""
    assert import_failure("no_such_package") == (
        "ModuleNotFoundError: No module named 'no_such_package'"
    )
    assert present("json")
    assert not present("no_such_package")


@pytest.mark.parametrize("python", PYTHONS)
def test_the_set_for_the_t4s_is_locked_and_holds_what_the_notebook_installs(python: str) -> None:
    lock = locked(python)
    assert all(lock[name] == pin for name, pin in (r.split("==") for r in REQUIREMENTS["vllm"]))
    assert lock["torch"].startswith("2.10.0")  # as in Kaggle's image; 2.11 needs CUDA 13
    assert lock["protobuf"].startswith("5.")  # as in Kaggle's image: the gateway's
    pins = (FOLDER / "wheels.in").read_text().splitlines()
    assert set(REQUIREMENTS["vllm"]) <= set(pins)


@pytest.mark.index
@pytest.mark.parametrize("python", PYTHONS)
def test_the_set_for_the_t4s_resolves_for_its_python(
    python: str, index: None, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--only-binary", ":all:"]
    target = ["--python-version", python, "--python-platform", "x86_64-manylinux_2_35"]
    where = ["--target", str(tmp_path / "none"), "-r", str(FOLDER / f"requirements-{python}.txt")]
    done = ran([*command, *target, *where])
    assert done.returncode == 0, done.stderr[-2000:]
    found = dict(re.findall(r"^ \+ (\S+)==(\S+)$", done.stderr, re.MULTILINE))
    assert found == locked(python)


def test_the_utility_kernel_has_internet_and_no_gpu() -> None:
    data = json.loads((FOLDER / "kernel-metadata.json").read_text())
    assert data["enable_internet"] is True
    assert data["enable_gpu"] is False
    problems = [p for p in problems_in(data, FOLDER) if "your-kaggle-name" not in p]
    assert problems == []


def locked(python: str) -> dict[str, str]:
    lines = (FOLDER / f"requirements-{python}.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name: version for name, version in pins}
