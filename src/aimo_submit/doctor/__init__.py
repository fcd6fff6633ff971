"""What an examination of the machine finds, and the jobs that something may be missing for."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT = "demo, eval"  # what must work everywhere
SANDBOX = "running model-written code"
PUSH, BUILD, REHEARSE = "push, submit, upload", "build", "rehearse"
VLLM, GPU = "eval --engine vllm", "eval on the GPU"
TUNE, QUANTIZE = "tune, report", "quantize"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a topic; where something is missing: for which job, and what mends it."""

    what: str
    found: str
    job: str = ""
    fix: str = ""
