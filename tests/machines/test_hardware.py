"""What fits which machine, held against published figures and against engines that ran."""

from __future__ import annotations

import dataclasses

import pytest

from aimo_submit.cards import Card, all_cards, fit, layout_of
from aimo_submit.machines import GIB, HARDWARE, Layout, Size, plan_memory, recognise, step_s
from aimo_submit.machines.detect import Gpu, Machine, hardware_of

CARDS = {card.name: card for card in all_cards()}
T4X2 = HARDWARE["t4x2"]
GPTQ = CARDS["numina-7b-tir-gptq"]
TP2, REPLICAS = Layout(2, 1), Layout(1, 2)


def size_of(card: Card) -> Size:
    assert card.size is not None
    return card.size


def hindrance(name: str, machine: str) -> str:
    return fit(CARDS[name], HARDWARE[machine]).hindrance


def test_two_t4s_hold_as_many_tokens_of_the_winners_model_as_others_found() -> None:
    """480 KiB a token; 36k tokens tensor parallel, 21k in two replicas (vLLM, int8 weights)."""
    size = size_of(GPTQ)
    assert size.kv_bytes(1) == 480 * 1024
    assert plan_memory(size, T4X2, TP2).kv_tokens == pytest.approx(36_000, rel=0.1)
    assert plan_memory(size, T4X2, REPLICAS).kv_tokens == pytest.approx(21_000, rel=0.1)


def test_tensor_parallel_and_replicas_are_estimated_as_others_estimated_them() -> None:
    """763 and 677 tokens a second with 48 samples of about 800 tokens."""
    size = size_of(GPTQ)
    parallel, replicas = (48 / step_s(size, T4X2, each, 48, 800) for each in (TP2, REPLICAS))
    assert parallel == pytest.approx(763, rel=0.1)
    assert replicas == pytest.approx(677, rel=0.1)
    assert parallel > replicas


@pytest.mark.parametrize(("name", "gib"), [("gpt-oss-20b", 12.8), ("gpt-oss-120b", 60.8)])
def test_a_checkpoints_size_is_the_published_one(name: str, gib: float) -> None:
    """arXiv 2508.10925, table 1."""
    assert size_of(CARDS[name]).weight_bytes / GIB == pytest.approx(gib, rel=0.01)


def test_what_does_not_fit_is_told_why() -> None:
    assert hindrance("numina-7b-tir-gptq", "t4x2") == ""
    assert hindrance("numina-7b-tir", "t4x2") == ""
    assert "weights take 13.8 GiB of each device" in hindrance(
        "deepseek-r1-distill-qwen-14b", "t4x2"
    )
    assert "needs compute capability 8.0, a T4 has 7.5" in hindrance("gpt-oss-20b", "t4x2")
    assert hindrance("gpt-oss-120b", "h100") == ""
    assert "no 8-bit gptq kernels on a CPU" in hindrance("numina-7b-tir-gptq", "cpu")
    sizeless = dataclasses.replace(GPTQ, size=None)
    assert fit(sizeless, T4X2).hindrance == "the card has no [size]"
    long = dataclasses.replace(GPTQ, sample_tokens=50_000)
    assert "room for" in fit(long, T4X2).hindrance


def test_the_cards_own_share_of_memory_and_size_of_keys_count() -> None:
    """gpt-oss-120b leaves an H100 little: public notebooks raise the share and halve the keys."""
    card, hardware = CARDS["gpt-oss-120b"], HARDWARE["h100"]
    found = fit(card, hardware).plan
    usual = plan_memory(size_of(card), hardware, Layout(1, 1), card.sample_tokens)
    assert found is not None
    assert found.kv_gib == pytest.approx(usual.kv_gib + (0.96 - 0.9) * hardware.memory_gib)
    assert found.kv_tokens == pytest.approx(
        2 * usual.kv_tokens * found.kv_gib / usual.kv_gib, rel=1e-3
    )


def test_a_sample_runs_on_one_replica_only() -> None:
    """Two halves of a sample's room on two replicas are no room."""
    found = plan_memory(size_of(GPTQ), T4X2, REPLICAS)
    assert found.at_once(found.kv_tokens) == 0
    assert found.at_once(found.kv_tokens // 2) == 2
    assert found.at_once(found.kv_tokens // 3) == 2


def test_layers_with_a_window_keep_no_more_than_the_window() -> None:
    size = size_of(CARDS["gpt-oss-20b"])
    layer = 2 * size.kv_heads * size.head_dim * 2
    assert size.kv_bytes(100) == 24 * 100 * layer
    assert size.kv_bytes(1000) == 12 * (1000 + 128) * layer


def test_a_step_reads_the_chosen_experts_only() -> None:
    size = size_of(CARDS["gpt-oss-120b"])
    all_but_embedding = size.weight_bytes - size.vocab * size.hidden * 2
    expert_bytes = (size.parameters - 2_120_000_000) * size.bits / 8
    assert size.read_bytes(1) == pytest.approx(
        all_but_embedding - expert_bytes * (1 - 4 / 128), rel=0.01
    )
    assert size.read_bytes(1000) == pytest.approx(all_but_embedding, rel=0.01)
    dense = size_of(GPTQ)
    assert dense.read_bytes(1) == dense.read_bytes(48)


@pytest.mark.parametrize("name", HARDWARE)
def test_a_step_takes_longer_with_more_samples_and_longer_ones(name: str) -> None:
    hardware = HARDWARE[name]
    layout = layout_of(GPTQ, hardware)
    times = [step_s(size_of(GPTQ), hardware, layout, b, 800) for b in (1, 2, 8, 48, 300)]
    assert times == sorted(times)
    assert times[0] < times[-1]
    assert step_s(size_of(GPTQ), hardware, layout, 8, 4000) > times[2]


@pytest.mark.parametrize(
    ("gpus", "name"),
    [
        (["Tesla T4"] * 2, "t4x2"),
        (["Tesla T4"], None),
        (["NVIDIA L4"] * 4, "l4x4"),
        (["NVIDIA L40S"] * 4, None),
        (["NVIDIA H100 80GB HBM3"], "h100"),
        (["NVIDIA RTX PRO 6000 Blackwell Server Edition"], "rtx6000"),
        (["Tesla P100-PCIE-16GB"], None),
        ([], "cpu"),
    ],
)
def test_a_machine_is_known_by_its_gpus(gpus: list[str], name: str | None) -> None:
    assert recognise(gpus) == name
    here = Machine(tuple(Gpu(gpu, 15.0, None) for gpu in gpus), "", 2, 24.0)
    found = hardware_of(here)
    assert (found.name if found else None) == name
    if found and name == "cpu":
        assert found.memory_gib == 24.0
