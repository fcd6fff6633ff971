"""The doctor: checks of the machine, the packages, the models, Kaggle and the sandbox.

Runs at home, and on Kaggle where the package is installed. A check is a line; where something is
missing, it names the job that lacks it and the fix.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

DEFAULT = "demo, eval"  # must work everywhere
SANDBOX = "running model-written code"
PUSH, BUILD, REHEARSE = "push, submit, upload", "build", "rehearse"
VLLM, GPU = "eval --engine vllm", "eval on the GPU"
TUNE, QUANTIZE = "tune, report", "quantize"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked; a job and its fix only where something is missing for it."""

    name: str
    found: str
    job: str = ""
    fix: str = ""


def installed(package: str) -> str:
    """The version of that package, looked up without importing it; empty: not installed."""
    try:
        return version(package) or ""
    except PackageNotFoundError:
        return ""
