"""The machines that Kaggle offers, by the names in `machine_shape`; no client checks them."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

# https://github.com/Kaggle/kaggle-cli/blob/main/docs/kernels.md; T4 means two of them.
_SHAPES = ("NvidiaTeslaT4", "NvidiaL4", "NvidiaH100", "NvidiaRtxPro6000")
_RARE = ("NvidiaL4X1", "NvidiaTeslaA100", "NvidiaTeslaT4Highmem", "TpuV5E8", "TpuV6E8", "None")
_RETIRED = {
    "nvidiateslap100": "NvidiaTeslaT4",
    **dict.fromkeys(("tpuv38", "tpu1vmv38", "tpuv232", "tpuv2256"), "TpuV5E8"),
}


def shape_problems(shape: str) -> Iterator[str]:
    """What is wrong with the name; one that Kaggle may have added since passes."""
    known = {name.lower(): name for name in (*_SHAPES, *_RARE)}
    near = get_close_matches(shape.lower(), known, 1, 0.8)
    if shape.lower() in _RETIRED:
        yield f"machine_shape = {shape!r} is retired: set {_RETIRED[shape.lower()]}"
    elif near and shape != known[near[0]]:
        yield f"machine_shape = {shape!r}: write it {known[near[0]]}"
    elif shape and not shape.startswith(("Nvidia", "Tpu", "None")):
        yield f"machine_shape = {shape!r}: no such machine; known are {', '.join(_SHAPES)}"
