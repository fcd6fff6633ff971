"""Packages that Kaggle's image lacks, installed offline from wheels that are mounted."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from aimo_submit.errors import UserError

# What the vLLM engine needs on 2x T4: the last line built for CUDA 12. notebooks/wheels has the
# whole set; what the image already holds in a fitting version is left as it is.
REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "vllm": ("vllm==0.19.1", "transformers==4.57.6"),
}
INSTALL_S = 480.0  # the server has to be up within 15 minutes of the rerun's start
IMPORT_S = 240.0


def install_wheels(
    requirements: Sequence[str],
    folders: Sequence[Path],
    *,
    python: str = sys.executable,
    timeout_s: float = INSTALL_S,
) -> None:
    """Installs from the folders' wheels alone; raises `UserError` with what pip lacked."""
    if not folders:
        raise UserError(
            f"no wheels are mounted for {' '.join(requirements)}: attach the output of "
            "notebooks/wheels as kernel_sources in kernel-metadata.json"
        )
    links = [f"--find-links={folder}" for folder in folders]
    options = ("--no-index", "--no-input", "--disable-pip-version-check", "--no-color", "-q")
    failed = _run([python, "-m", "pip", "install", *options, *links, *requirements], timeout_s)
    if failed:
        raise UserError(
            f"the wheels in {folders[0]} cannot be installed ({failed}): build them anew with "
            "notebooks/wheels for this Python and image"
        )
    importlib.invalidate_caches()


def present(package: str) -> bool:
    """True if the package is installed, be it one that can be imported or not."""
    return find_spec(package) is not None


def import_failure(package: str, timeout_s: float = IMPORT_S) -> str:
    """The reason why a process of its own cannot import the package; empty where it can."""
    return _run([sys.executable, "-c", f"import {package}"], timeout_s)


def _run(command: Sequence[str], timeout_s: float) -> str:
    """The last line of a command that failed which says something; empty where it did not fail."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return f"not done in {timeout_s:g} s"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
    return errors[0][:300] if errors else f"exit code {done.returncode}"
