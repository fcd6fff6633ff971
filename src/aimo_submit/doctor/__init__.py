"""The doctor: checks of the machine, the packages, the models, Kaggle and the sandbox.

Runs at home, and on Kaggle where the package is installed. A check is a line; where something is
missing, it names the job that lacks it and the fix.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version


class Job(StrEnum):
    """A job that something may be missing for; the first two decide the exit code."""

    DEFAULT = "demo, eval"
    SANDBOX = "running model-written code"
    PUSH = "push, submit, upload"
    BUILD = "build"
    REHEARSE = "rehearse"
    VLLM = "eval --engine vllm"
    GPU = "eval on the GPU"
    TUNE = "tune, report"
    QUANTIZE = "quantize"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked; a job and its fix only where something is missing for it."""

    name: str
    found: str
    job: str = ""  # a Job
    fix: str = ""


def installed(package: str) -> str:
    """The version of that package, looked up without importing it; empty: not installed."""
    try:
        return version(package) or ""
    except PackageNotFoundError:
        return ""
