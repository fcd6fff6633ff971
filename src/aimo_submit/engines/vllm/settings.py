"""What vLLM is told: the settings that suit the machine, and safer ones where it errs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aimo_submit.errors import UserError
from aimo_submit.machines.detect import AMPERE, NO_PEER_TO_PEER, TURING, Machine

_MARLIN = "MacheteLinearKernel,AllSparkLinearKernel,MarlinLinearKernel"
_DEVICES = "CUDA_VISIBLE_DEVICES"
_environment = threading.Lock()  # it is one for all threads that load a replica


@dataclass(frozen=True, slots=True)
class Settings:
    """One way to start vLLM."""

    title: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    fallback: bool = False  # goes before what the user gave, which failed


def suited(machine: Machine) -> Settings:
    """What this machine's GPUs need. A T4 has no bfloat16; its peer-to-peer copies hang NCCL.

    FlashInfer crashes on it in vLLM 0.22 and has left it since: Triton's attention remains.
    """
    known = [gpu.capability for gpu in machine.gpus if gpu.capability]
    if not known or min(known) >= AMPERE:
        return Settings("as given")
    arguments: dict[str, Any] = {"dtype": "float16"}
    if min(known) != TURING:
        return Settings("float16", arguments)
    arguments |= {"attention_backend": "TRITON_ATTN", "disable_custom_all_reduce": True}
    return Settings("T4", arguments, NO_PEER_TO_PEER)


def ladder(machine: Machine) -> list[Settings]:
    """Ways to start, the fastest first; a later one is for a machine where those before err.

    The second takes other kernels: no graphs, no speculation, Triton's attention, GPTQ without
    Marlin, which adds up in float16 on a T4. The third takes numbers that do not overflow, where
    memory allows.
    """
    first = suited(machine)
    safe: dict[str, Any] = {**first.arguments, "enforce_eager": True, "speculative_config": None}
    variables = dict(first.variables)
    if machine.gpus:
        safe["attention_backend"] = "TRITON_ATTN"
        variables["VLLM_DISABLED_KERNELS"] = _MARLIN
    ampere = all((gpu.capability or (0, 0)) >= AMPERE for gpu in machine.gpus)
    wide = "bfloat16" if machine.gpus and ampere else "float32"
    return [
        first,
        Settings("other kernels", safe, variables, fallback=True),
        Settings(f"other kernels and {wide}", {**safe, "dtype": wide}, variables, fallback=True),
    ]


def devices(replica: int, replicas: int, each: int, machine: Machine) -> str | None:
    """The GPUs of a replica that needs so many, as CUDA is told; None: all there are."""
    if replicas == 1 or not machine.gpus:
        return None
    visible = os.environ.get(_DEVICES) or ",".join(map(str, range(len(machine.gpus))))
    ids = visible.split(",")
    if len(ids) < replicas * each:
        raise UserError(
            f"{replicas} replicas of {each} GPUs need {replicas * each}, this machine has "
            f"{len(ids)}; lower replicas or tensor_parallel_size in engine_options"
        )
    return ",".join(ids[replica * each : (replica + 1) * each])


@contextmanager
def seeing(gpus: str | None) -> Iterator[None]:
    """While it lasts, processes that are started see these GPUs only; one replica at a time."""
    if gpus is None:
        yield
        return
    with _environment:
        before = os.environ.get(_DEVICES)
        os.environ[_DEVICES] = gpus
        try:
            yield
        finally:
            os.environ.pop(_DEVICES)
            if before is not None:
                os.environ[_DEVICES] = before
