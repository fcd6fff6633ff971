"""What an engine is told before it runs, what is read for it, and the test it has to pass."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pytest

from aimo_submit.engines import Engine, Sampling
from aimo_submit.engines.scripted import ScriptedEngine
from aimo_submit.engines.vllm import start_tested, why_broken
from aimo_submit.engines.vllm.settings import Settings, devices, ladder, seeing, suited
from aimo_submit.errors import UserError
from aimo_submit.machines.detect import Gpu, Machine
from aimo_submit.records import Completion
from aimo_submit.start import preload


def machine(*capabilities: tuple[int, int]) -> Machine:
    gpus = tuple(Gpu("GPU", 14.6, capability) for capability in capabilities)
    return Machine(gpus, "580.0", 4, 30.0)


T4X2 = machine((7, 5), (7, 5))
H100 = machine((9, 0))


def test_a_t4_gets_float16_triton_and_no_peer_to_peer() -> None:
    settings = suited(T4X2)
    assert settings.arguments["dtype"] == "float16"
    assert settings.arguments["attention_backend"] == "TRITON_ATTN"
    assert settings.arguments["disable_custom_all_reduce"]
    assert settings.variables == {"NCCL_P2P_DISABLE": "1"}


@pytest.mark.parametrize("newer", [H100, machine(), machine((8, 9), (8, 9))])
def test_other_machines_are_left_to_vllms_own_choice(newer: Machine) -> None:
    assert not suited(newer).arguments
    assert not suited(newer).variables


def test_what_follows_a_failed_self_test_avoids_marlin_then_float16() -> None:
    first, kernels, wide = ladder(T4X2)
    assert first == suited(T4X2)
    assert kernels.arguments["enforce_eager"]
    assert "MarlinLinearKernel" in kernels.variables["VLLM_DISABLED_KERNELS"]
    assert kernels.arguments["dtype"] == "float16"
    assert wide.arguments["dtype"] == "float32"
    assert ladder(H100)[-1].arguments["dtype"] == "bfloat16"
    assert not any("attention_backend" in way.arguments for way in ladder(machine()))


def test_each_replica_gets_gpus_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    four = machine(*[(8, 9)] * 4)
    assert [devices(n, 2, 1, T4X2) for n in range(2)] == ["0", "1"]
    assert [devices(n, 2, 2, four) for n in range(2)] == ["0,1", "2,3"]
    assert devices(0, 1, 2, T4X2) is None
    assert devices(1, 2, 1, machine()) is None
    with pytest.raises(UserError, match="need 4, this machine has 2; lower replicas"):
        devices(0, 2, 2, T4X2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert [devices(n, 2, 1, four) for n in range(2)] == ["3", "1"]


def test_what_a_replica_sees_is_forgotten_after_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for before in (None, "0,1"):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if before:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
        with seeing("1"):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


class Numb(ScriptedEngine):
    """An engine whose tokens have this log-probability."""

    def __init__(self, logprob: float) -> None:
        super().__init__(lambda prompt, sampling: " 42")
        self._logprob = logprob

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        done = await super().complete(prompt, sampling)
        return dataclasses.replace(done, mean_logprob=self._logprob)


@pytest.mark.parametrize(
    ("logprob", "told"),
    [(math.nan, "not numbers"), (-math.inf, "not numbers"), (-8.0, "-8.0"), (-0.7, None)],
)
def test_an_engine_that_computes_nonsense_is_found_out(logprob: float, told: str | None) -> None:
    found = asyncio.run(why_broken(Numb(logprob)))
    assert found is None if told is None else told in (found or "")


def test_the_next_way_is_taken_where_one_fails_the_test_and_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried: list[str] = []

    async def start(way: Settings) -> Engine:
        tried.append(way.title)
        if way.title == "other kernels":
            raise ValueError("no such kernel here")
        return Numb(math.nan if way.title == "T4" else -0.5)

    ways = deque(ladder(T4X2))
    asyncio.run(start_tested(start, ways))
    asyncio.run(start_tested(start, ways))  # after the engine has died
    assert tried == ["T4", "other kernels", *["other kernels and float32"] * 2]
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        "vLLM's self-test: its logits are not numbers",
        "vLLM's self-test: ValueError: no such kernel here",
    ]


def test_a_model_that_no_way_computes_is_refused_and_an_error_of_the_first_way_is_told() -> None:
    async def numb(way: Settings) -> Engine:
        return Numb(math.nan)

    async def failing(way: Settings) -> Engine:
        raise UserError("no such option")

    with pytest.raises(UserError, match="not numbers.*try another dtype or quantisation"):
        asyncio.run(start_tested(numb, deque(ladder(T4X2))))
    with pytest.raises(UserError, match="no such option"):
        asyncio.run(start_tested(failing, deque(ladder(T4X2))))


def test_preloading_reads_every_byte_of_the_weights_and_nothing_else(tmp_path: Path) -> None:
    for name, size in (("a.safetensors", 40_000_000), ("b.bin", 5), ("note.txt", 99)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert preload(tmp_path) == 40_000_005
    assert preload(tmp_path / "nowhere") == 0


def test_weights_beyond_the_memory_are_not_preloaded(tmp_path: Path) -> None:
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.truncate(1 << 42)  # a hole: no disk is used
    assert preload(tmp_path) == 0
