"""The doctor: finds what is there, names what is missing with its remedy, and never falls over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aimo_submit.doctor import Check, Job
from aimo_submit.doctor.examine import (
    Environment,
    Topics,
    decides,
    kaggle_checks,
    machine_checks,
    model_checks,
    mount_checks,
    to_do,
)
from aimo_submit.kaggle.client.bundle import SUBMISSION
from aimo_submit.machines.detect import detect
from tests.kaggle.test_metadata import AIMO_3, write_kernel

T4 = "Tesla T4, 15360, 7.5, 550.54.15"
SECRET = "0123456789abcdef0123456789abcdef"


def smi(folder: Path, script: str) -> Path:
    """A folder with an `nvidia-smi` of our own."""
    folder.mkdir(exist_ok=True)
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return folder


def run(home: Path, *, path: Path | None = None, **variables: str) -> tuple[int, str]:
    """The doctor's exit code and what it prints, in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("KAGGLE_")}
    home.mkdir(exist_ok=True)
    environ = {**kept, "HOME": str(home), "COLUMNS": "300", **variables}
    if path:
        environ["PATH"] = f"{path}:{environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "aimo_submit", "doctor", "--folder", str(home)],
        env=environ, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "could not be looked at" not in done.stdout
    return done.returncode, done.stdout


def around(tmp_path: Path, **environ: str) -> Environment:
    """A home, a kernel and mounts, all of them empty."""
    return Environment(environ, tmp_path / "home", tmp_path / "kernel", tmp_path / "input")


def put(file: Path, content: str, mode: int = 0o600) -> Path:
    """A file with that content."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    file.chmod(mode)
    return file


def told(checks: list[Check], name: str) -> Check:
    """The line about that."""
    [found] = [f for f in checks if f.name == name]
    return found


@pytest.mark.slow
def test_a_machine_with_two_t4s_and_credentials_is_described_and_no_secret_is_shown(
    tmp_path: Path,
) -> None:
    home = write_kernel(tmp_path / "home")
    put(home / ".kaggle/kaggle.json", f'{{"username": "ada", "key": "{SECRET}"}}')
    lines = f"echo '{T4}'; echo '{T4}'"
    _, shown = run(home, path=smi(tmp_path / "bin", lines), AIMO_SUBMIT_INPUT=str(tmp_path / "in"))
    assert shown.count("Tesla T4, 15.0 GiB, compute capability 7.5") == 2
    assert "550.54.15" in shown
    assert f"in {home}/.kaggle/kaggle.json" in shown
    assert SECRET not in shown
    assert f"ada/aimo-submit, for {AIMO_3}" in shown
    assert "this is no Kaggle machine" in shown
    assert Job.PUSH not in shown.partition("to do")[2]


@pytest.mark.slow
def test_what_is_missing_is_named_with_the_job_and_the_command(tmp_path: Path) -> None:
    write_kernel(tmp_path / "home", id="your-kaggle-name/aimo-submit")
    _, shown = run(tmp_path / "home")
    todo = shown.partition("to do")[2]
    assert f"{Job.PUSH}: (umask 077; mkdir -p ~/.kaggle; cat > ~/.kaggle/access_token)" in todo
    assert f"{Job.PUSH}: sed -i 's/your-kaggle-name/YOUR NAME ON KAGGLE/'" in todo


@pytest.mark.parametrize("script", ["exit 9", "echo nonsense", "echo 'a, b, c, d'", "kill -9 $$"])
def test_a_broken_driver_is_no_reason_to_fall_over(tmp_path: Path, script: str) -> None:
    machine = detect((str(smi(tmp_path / "bin", script) / "nvidia-smi"),))
    list(machine_checks(machine, tmp_path))


@pytest.mark.slow
def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from aimo_submit.cli import main; main(['doctor']); "
        "loaded = {m.split('.')[0] for m in sys.modules}; "
        "print(loaded & {'torch', 'transformers', 'vllm', 'kaggle', 'kagglesdk'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


@pytest.mark.parametrize(
    ("file", "content", "mode", "found", "fix"),
    [
        ("access_token", "KGAT_1", 0o600, "in ~/.kaggle/access_token", ""),
        ("access_token", "KGAT_1", 0o644, "can be read by others", "chmod 600 "),
        ("access_token", "export KGAT_1", 0o600, "holds more than a key or token", "(umask"),
        ("kaggle.json", '{"username": "a", "key": "b"}', 0o600, "in ", ""),
        ("kaggle.json", '{"username": "a", "key": "b"}', 0o604, "read by others", "chmod 600 "),
        ("kaggle.json", '{"username": "a", "key": "b c"}', 0o600, "holds more than", "(umask"),
        ("kaggle.json", '{"username": "a"}', 0o600, "holds no username and key", "(umask"),
        ("kaggle.json", "{", 0o600, "holds no username and key", "(umask"),
        ("credentials.json", '{"a": "b c"}', 0o600, "in ~/.kaggle/credentials.json", ""),
    ],
)
def test_credentials_are_judged_offline(
    tmp_path: Path, file: str, content: str, mode: int, found: str, fix: str
) -> None:
    put(tmp_path / "home/.kaggle" / file, content, mode)
    line = told(list(kaggle_checks(around(tmp_path))), "credentials")
    assert found in line.found
    assert line.fix.startswith(fix) if fix else (line.fix, line.job) == ("", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_credentials_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    put(tmp_path / "home/.kaggle/access_token", "x", 0o000)
    line = told(list(kaggle_checks(around(tmp_path))), "credentials")
    assert "cannot be read" in line.found
    assert line.fix.startswith("chmod")


def test_a_token_in_the_environment_is_found_and_not_shown(tmp_path: Path) -> None:
    line = told(list(kaggle_checks(around(tmp_path, KAGGLE_API_TOKEN=SECRET))), "credentials")
    assert line == Check("credentials", "in KAGGLE_API_TOKEN")
    line = told(list(kaggle_checks(around(tmp_path, KAGGLE_API_TOKEN="a b"))), "credentials")
    assert line.found == "KAGGLE_API_TOKEN holds blanks"


def test_a_kernel_that_is_not_built_yet_is_to_be_built(tmp_path: Path) -> None:
    folder = write_kernel(tmp_path / "kernel")
    (folder / SUBMISSION).unlink()
    line = told(list(kaggle_checks(around(tmp_path))), "kernel-metadata.json")
    assert (line.job, line.fix) == (Job.PUSH, "aimo-submit build")
    write_kernel(folder, title=None, language="perl")
    line = told(list(kaggle_checks(around(tmp_path))), "kernel-metadata.json")
    assert line.fix.startswith("$EDITOR")


def test_what_kaggle_has_mounted_is_listed(tmp_path: Path) -> None:
    model = tmp_path / "input/models/ada/tiny/transformers/4m/1"
    put(model / "config.json", "{}")
    put(model / "tokenizer.json", "{}")
    put(tmp_path / "input/competitions/ai-mathematical-olympiad-prize/test.csv", "id,problem\n")
    found = list(mount_checks(tmp_path / "input"))
    assert told(found, "models").found == str(model)
    assert told(found, "problems").found.endswith("test.csv")
    assert told(found, "wheels").found == "none"


def test_the_bundled_model_is_found_and_fits(tmp_path: Path) -> None:
    from aimo_submit.cards import all_cards

    found = list(model_checks(detect(("false",)), all_cards()))
    assert told(found, "tiny-tir").found.startswith("fits; ")
    [none, *_] = model_checks(detect(("false",)), [])
    assert none.job == Job.DEFAULT


def test_the_default_jobs_come_first_and_decide() -> None:
    later = Check("x", "no x", "quantize", "pip install x")
    first = Check("y", "no y", Job.DEFAULT, "pip install y")
    topics: Topics = {"a": [later, Check("z", "fine")], "b": [first, first]}
    assert to_do(topics) == [(Job.DEFAULT, "pip install y"), ("quantize", "pip install x")]
    assert not decides(topics)
    assert decides({"a": [later]})
    assert not decides({"a": [Check("no network", "does NOT hold", Job.SANDBOX, "a container")]})
