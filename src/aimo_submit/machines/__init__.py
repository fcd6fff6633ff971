"""The machines a competitor meets, and what of a model fits their memory.

A device holds weights, what the engine needs beside them, and the keys and values (KV) that each
token of a running sample keeps. Memory is in GiB (2**30 bytes), the makers' rates in GB/s (10**9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

GIB = 2**30
_FP16 = 2  # bytes of a key, a value, a weight that is not quantised
_FP32 = 4

# vLLM's share of a device (its `gpu_memory_utilization`), and what of it neither weights nor KV
# get: a CUDA context, graphs and NCCL's buffers. What is assumed here: docs/log/machines.md.
UTILISATION = 0.9
CONTEXT_GIB = 0.6
BATCHED_TOKENS = 2048  # the most that one step computes, by default
SEQUENCES = 256  # likewise; their logits are held about three times
_LOGITS = 3
# What of the makers' rates a decoding kernel reaches, and what a step costs beside its kernels.
_BANDWIDTH, _FLOPS = 0.75, 0.4
_STEP_S, _SEQUENCE_S = 4e-3, 5e-5
_REDUCE_S = 40e-6  # one all-reduce of nothing
_START_S, _READ_BYTES_S = 60.0, 3e8  # starting an engine, reading weights from a network disk
CPU_KV_GIB = 1.0  # what the vLLM engine asks for on a CPU: VLLM_CPU_KVCACHE_SPACE


@dataclass(frozen=True, slots=True)
class Hardware:
    """One kind of machine: equal devices, and the rates of each."""

    name: str
    title: str
    devices: int
    memory_gib: float  # of one device, as torch reports it
    bandwidth_gb_s: float  # of its memory
    tflops: float  # float16, dense
    link_gb_s: float  # from one device to another
    capability: tuple[int, int] | None = None  # CUDA's; None: a CPU
    gpu: str = ""  # in the driver's name of the device


# Rates from NVIDIA's data sheets. Links are PCIe through the host: peer to peer is switched off
# on T4s, where NCCL hangs with it. The CPU is an example; no step is estimated on one.
HARDWARE: Mapping[str, Hardware] = {
    h.name: h
    for h in (
        Hardware("t4x2", "2x T4", 2, 14.56, 320, 65, 6, (7, 5), "T4"),
        Hardware("l4x4", "4x L4", 4, 22.03, 300, 121, 12, (8, 9), "L4"),
        Hardware("h100", "H100", 1, 79.1, 3350, 989, 450, (9, 0), "H100"),
        Hardware("rtx6000", "RTX PRO 6000", 1, 94.9, 1597, 503, 64, (12, 0), "RTX PRO 6000"),
        Hardware("cpu", "CPU", 1, 16.0, 10, 0.1, 10),
    )
}


# Of quantisation: the lowest compute capability with kernels for them in vLLM 0.19.
METHODS: Mapping[str, tuple[int, int]] = {"gptq": (7, 5), "awq": (7, 5), "mxfp4": (8, 0)}


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How the weights were made smaller."""

    method: str  # gptq, awq or mxfp4
    bits: int
    group: int  # weights that share a scale
    act_order: bool = False  # columns by falling activation; vLLM 0.30 on refuses it

    def __str__(self) -> str:
        return f"{self.bits}-bit {self.method}"

    @property
    def weight_bits(self) -> float:
        """Bits of a weight with its share of the group's scale and zero point."""
        # A float16 scale and a zero point, or MXFP4's one exponent.
        shared = 8 if self.method == "mxfp4" else 16 + self.bits
        return self.bits + shared / self.group


@dataclass(frozen=True, slots=True)
class Size:
    """What a model weighs: the figures of its config.json and the bits of its weights."""

    parameters: int
    layers: int
    hidden: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool = False  # one table embeds tokens and gives the logits
    full_layers: int | None = None  # those that see the whole text; None: all
    window: int = 0  # tokens that the others see
    active: int | None = None  # parameters that a token passes through; None: all but a table
    experts: int = 1
    experts_used: int = 1  # by one token, in each layer
    plain: int | None = None  # parameters left at 16 bits; None: the tables
    bits: float = 16.0  # of the other parameters, scales included

    @property
    def tables(self) -> int:
        """Parameters of the embedding and of what gives the logits."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights."""
        plain = self.tables if self.plain is None else self.plain
        return plain * _FP16 + (self.parameters - plain) * self.bits / 8

    @property
    def passed(self) -> int:
        """Parameters that one token passes through: the embedding is looked up, not multiplied."""
        return self.active or self.parameters - self._embedding

    def read_bytes(self, running: float) -> float:
        """Bytes of weights that a step reads: all but the embedding and the experts not chosen."""
        share = self.experts_used / self.experts
        expert = (self.parameters - self._embedding - self.passed) / (1 - share) if share < 1 else 0
        idle: float = expert * self.bits / 8 * (1 - share) ** running
        return self.weight_bytes - self._embedding * _FP16 - idle

    @property
    def _embedding(self) -> int:
        return 0 if self.tied else self.vocab * self.hidden

    def kv_bytes(self, tokens: float, cell_bytes: int = _FP16) -> float:
        """Bytes of the keys and values of one sample of that many tokens."""
        full = self.layers if self.full_layers is None else self.full_layers
        seen = full * tokens + (self.layers - full) * min(tokens, self.window)
        return 2 * self.kv_heads * self.head_dim * cell_bytes * seen


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model is spread over a machine: each replica over so many devices."""

    tensor_parallel: int
    replicas: int

    def __str__(self) -> str:
        parts = [f"TP{self.tensor_parallel}"] if self.tensor_parallel > 1 else []
        parts += [f"{self.replicas} replicas"] if self.replicas > 1 else []
        return " x ".join(parts) or "one device"


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a machine's memory; the GiB are those of one device."""

    layout: Layout
    weights_gib: float
    overhead_gib: float
    kv_gib: float  # what is left for keys and values, negative where nothing is
    kv_tokens: int  # that they hold on all devices together

    def at_once(self, sample_tokens: int) -> int:
        """How many samples of that length run together."""
        each = self.kv_tokens // self.layout.replicas // sample_tokens
        return max(0, each) * self.layout.replicas


def plan(
    size: Size,
    hardware: Hardware,
    layout: Layout,
    sample_tokens: int = 1024,
    utilisation: float = UTILISATION,
    cell_bytes: int = _FP16,
) -> Plan:
    """What weights and the engine leave of the machine's memory for samples of that length."""
    parallel = layout.tensor_parallel
    weights_gib = size.weight_bytes / parallel / GIB
    overhead_gib = CONTEXT_GIB + _activations(size, parallel) / GIB
    kv_gib = utilisation * hardware.memory_gib - overhead_gib - weights_gib
    if hardware.capability is None and kv_gib > CPU_KV_GIB:
        kv_gib = CPU_KV_GIB
    token = size.kv_bytes(sample_tokens, cell_bytes) / sample_tokens / parallel
    tokens = max(0, floor(kv_gib * GIB / token)) * layout.replicas
    return Plan(layout, weights_gib, overhead_gib, kv_gib, tokens)


def _activations(size: Size, parallel: int) -> float:
    """Bytes of what one step computes: the widest layer, and the logits of every sequence."""
    widest = 4 * size.hidden + 2 * size.experts_used * size.intermediate / parallel
    return BATCHED_TOKENS * widest * _FP16 + _LOGITS * SEQUENCES * size.vocab * _FP32


def step_s(
    size: Size, hardware: Hardware, layout: Layout, running: float, sample_tokens: float
) -> float:
    """Seconds of one decoding step with so many samples running, each of that many tokens.

    A roofline: weights and KV are read once, the products overlap with the reading of weights,
    and each layer of a tensor-parallel model ends two halves with an all-reduce. The replicas
    share the samples and run at the same time.
    """
    each, parallel = running / layout.replicas, layout.tensor_parallel
    bandwidth = _BANDWIDTH * hardware.bandwidth_gb_s * 1e9 * parallel
    flops = _FLOPS * hardware.tflops * 1e12 * parallel
    weights_s = max(size.read_bytes(each) / bandwidth, 2 * size.passed * each / flops)
    kv_s = each * size.kv_bytes(sample_tokens) / bandwidth
    reduced = 2 * (parallel - 1) / parallel * each * size.hidden * _FP16
    reduce_s = _REDUCE_S + reduced / (hardware.link_gb_s * 1e9) if parallel > 1 else 0.0
    return weights_s + kv_s + 2 * size.layers * reduce_s + _STEP_S + _SEQUENCE_S * each


def prefill_s(size: Size, hardware: Hardware) -> float:
    """Seconds that a token of a prompt costs: its products, on all devices."""
    return 2 * size.passed / (_FLOPS * hardware.tflops * 1e12 * hardware.devices)


def load_s(size: Size) -> float:
    """Seconds until the engine is up."""
    return _START_S + size.weight_bytes / _READ_BYTES_S


def recognise(gpus: Sequence[str]) -> str | None:
    """The name of the machine with these GPUs, as the driver names them; None: not known."""
    if not gpus:
        return "cpu"
    known = (h for h in HARDWARE.values() if h.gpu and h.devices == len(gpus))
    return next((h.name for h in known if all(_is(gpu, h) for gpu in gpus)), None)


def _is(gpu: str, hardware: Hardware) -> bool:
    # Whole words: an "L4" is no "L40S".
    return f" {hardware.gpu} " in f" {gpu} "
