"""The fit of a model on a machine, spread as its card says, and why it does not fit."""

from __future__ import annotations

from dataclasses import dataclass

from aimo_submit.cards import Card, engine_settings
from aimo_submit.machines import METHODS, UTILISATION, Hardware, Layout, MemoryPlan, plan_memory


@dataclass(frozen=True, slots=True)
class Fit:
    """The memory that a card takes on a machine, and what keeps it from running there."""

    plan: MemoryPlan | None  # None where the card does not say how large the model is
    hindrance: str  # "": nothing keeps it from running


def fit(card: Card, hardware: Hardware, layout: Layout | None = None) -> Fit:
    """The fit of the card, spread as its settings for the machine say unless told otherwise."""
    if card.size is None:
        return Fit(None, "the card has no [size]")
    options = engine_settings(card, hardware.name).get("engine_options", {})
    plan = plan_memory(
        card.size,
        hardware,
        layout or layout_of(card, hardware),
        card.sample_tokens,
        options.get("gpu_memory_utilization", UTILISATION),
        1 if str(options.get("kv_cache_dtype")).startswith("fp8") else 2,
    )
    return Fit(plan, _kernels(card, hardware) or _memory(card, hardware, plan))


def layout_of(card: Card, hardware: Hardware) -> Layout:
    """The layout that the card's settings give the model on the machine."""
    options = engine_settings(card, hardware.name).get("engine_options", {})
    return Layout(options.get("tensor_parallel_size", 1), options.get("replicas", 1))


def _kernels(card: Card, hardware: Hardware) -> str:
    how = card.quantisation
    if how is None:
        return ""
    if hardware.capability is None:
        return "" if how.bits == 4 and how.method != "mxfp4" else f"no {how} kernels on a CPU"
    needed = METHODS[how.method]
    if hardware.capability >= needed:
        return ""
    have, want = (".".join(map(str, c)) for c in (hardware.capability, needed))
    return f"{how} needs compute capability {want}, a {hardware.gpu} has {have}"


def _memory(card: Card, hardware: Hardware, plan: MemoryPlan) -> str:
    if plan.kv_gib <= 0:
        return (
            f"weights take {plan.weights_gib:.1f} GiB of each device ({plan.layout}), the "
            f"engine {plan.overhead_gib:.1f}; it has {hardware.memory_gib:.1f}"
        )
    if not plan.at_once(card.sample_tokens):
        return f"there is room for {plan.kv_tokens} tokens, less than a sample"
    return ""
