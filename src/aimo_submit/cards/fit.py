"""Whether a model fits a machine as its card would spread it there, and why not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aimo_submit.cards import Card, engine_settings
from aimo_submit.machines import (
    HARDWARE,
    METHODS,
    UTILISATION,
    Hardware,
    Layout,
    Plan,
    plan,
    recognise,
)
from aimo_submit.machines.detect import Machine


@dataclass(frozen=True, slots=True)
class Fit:
    """How a card lies on a machine."""

    plan: Plan | None  # None where the card does not say how large the model is
    hindrance: str  # why it cannot run there; "": nothing keeps it from running


def fit(card: Card, hardware: Hardware, layout: Layout | None = None) -> Fit:
    """The plan for the card, spread as its settings for the machine say unless told otherwise."""
    if card.size is None:
        return Fit(None, "the card has no [size]")
    options = engine_settings(card, hardware.name).get("engine_options", {})
    found = plan(
        card.size,
        hardware,
        layout or layout_of(card, hardware),
        card.sample_tokens,
        options.get("gpu_memory_utilization", UTILISATION),
        1 if str(options.get("kv_cache_dtype")).startswith("fp8") else 2,
    )
    return Fit(found, _kernels(card, hardware) or _memory(card, hardware, found))


def layout_of(card: Card, hardware: Hardware) -> Layout:
    """How the card's settings spread the model over the machine."""
    options = engine_settings(card, hardware.name).get("engine_options", {})
    return Layout(options.get("tensor_parallel_size", 1), options.get("replicas", 1))


def hardware_of(machine: Machine) -> Hardware | None:
    """What the machine is, a CPU with the memory it has; None: nothing that is known."""
    name = recognise([gpu.name for gpu in machine.gpus])
    if name == "cpu":
        memory_gib = machine.memory_gib or HARDWARE["cpu"].memory_gib
        return replace(HARDWARE["cpu"], memory_gib=memory_gib)
    return HARDWARE[name] if name else None


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


def _memory(card: Card, hardware: Hardware, found: Plan) -> str:
    if found.kv_gib <= 0:
        return (
            f"weights take {found.weights_gib:.1f} GiB of each device ({found.layout}), the "
            f"engine {found.overhead_gib:.1f}; it has {hardware.memory_gib:.1f}"
        )
    if not found.at_once(card.sample_tokens):
        return f"there is room for {found.kv_tokens} tokens, less than a sample"
    return ""
