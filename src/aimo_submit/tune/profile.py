"""The speed of an engine on a machine: measured there, or estimated from data sheets.

A profile is a small TOML file: recorded where the GPUs are, it plans at home.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from aimo_submit.cards import Card, find_card, fit, layout_of
from aimo_submit.errors import UserError
from aimo_submit.machines import HARDWARE, Layout, load_s, prefill_s, step_s
from aimo_submit.pacing import Pacing
from aimo_submit.toml import checked, read_toml, to_toml

RUNNING = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256)
OUTPUT = 32  # tokens of a block's output and what is around it
DIGITS = 7  # of seconds: a tenth of a microsecond
MODEL = "numina-7b-tir-gptq"  # whose sizes an estimate takes unless told

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Profile:
    """The cost of generating on one machine with one model. Counts are those of all replicas."""

    name: str
    model: str
    machine: str
    engine: str
    date: str
    estimated: bool  # a roofline, not a measurement
    steps: tuple[tuple[int, float], ...]  # (sequences running, seconds of one step), ascending
    prefill_s: float  # seconds a prompt token
    load_s: float
    kv_tokens: int  # that the KV cache holds
    replicas: int = 1
    sample_tokens: int = 0  # that each sequence held while the steps were taken; 0: not known
    turn_s: float = 0.0  # that a sequence which goes on after its code holds all of them up

    @overload
    def step_s(self, running: float) -> float: ...
    @overload
    def step_s(self, running: NDArray[Any]) -> Floats: ...
    def step_s(self, running: float | NDArray[Any]) -> float | Floats:
        """Seconds of a step with so many running: linear between the points and beyond the last."""
        at, seconds = (np.array(column, float) for column in zip(*self.steps, strict=True))
        found = np.interp(running, at, seconds)
        if len(at) > 1:
            slope = max(0.0, (seconds[-1] - seconds[-2]) / (at[-1] - at[-2]))
            found = found + slope * np.maximum(0, np.asarray(running) - at[-1])
        return found if isinstance(running, np.ndarray) else float(found)

    def batch_s(self, lengths: Iterable[int]) -> float:
        """Seconds that samples of these lengths take which begin together."""
        ends = np.sort(np.array([0, *lengths]))
        return float(self.step_s(np.arange(len(ends) - 1, 0, -1)) @ np.diff(ends))

    @property
    def pacing(self) -> Pacing:
        """s0 and s1 of the line s0 + s1*b that lies nearest, by relative error."""
        at, seconds = (np.array(column, float) for column in zip(*self.steps, strict=True))
        if len(at) == 1:
            return Pacing(s0=seconds[0], s1=0.0)
        s1, s0 = np.polyfit(at, seconds, 1, w=1 / seconds)
        return Pacing(s0=max(0.0, float(s0)), s1=max(0.0, float(s1)))

    def to_toml(self) -> str:
        """The file that `load_profile` reads."""
        return "# steps: sequences running, seconds of a step\n" + to_toml(dataclasses.asdict(self))


def load_profile(name: str, model: str = MODEL) -> Profile:
    """The profile in that file; for a machine's name, an estimate with the sizes of the model.

    The name of a machine may end in the tensor-parallel width: t4x2-tp1 is two replicas.
    """
    if Path(name).is_file():
        return read_profile(Path(name))
    machine, dash, width = name.partition("-tp")
    wrong = bool(dash) and not (width.isdigit() and int(width))
    if wrong or machine not in HARDWARE or HARDWARE[machine].capability is None:
        known = ", ".join(h.name for h in HARDWARE.values() if h.capability)
        raise UserError(
            f"no profile {name!r}: give a file that `aimo-submit profile` wrote, or a machine to "
            f"estimate: {known}"
        )
    return estimate(find_card(model), machine, int(width) if dash else None)


def read_profile(file: Path) -> Profile:
    """The profile that was recorded in that file."""
    data = read_toml(file)
    steps = data.get("steps")
    try:
        points = tuple((int(running), float(seconds)) for running, seconds in steps or ())
    except (TypeError, ValueError):
        points = ()
    rising = all(a[0] < b[0] for a, b in itertools.pairwise(points))
    if not points or not rising or points[0][0] < 1 or min(s for _, s in points) <= 0:
        raise UserError(
            f"{file}: steps must be pairs of sequences, rising, and seconds; record it anew"
        )
    return checked(Profile, f"{file}: the profile", {**data, "steps": points})


def estimate(card: Card, machine: str, tensor_parallel: int | None = None) -> Profile:
    """The profile that data sheets promise for the card on that machine."""
    size, hardware = card.size, HARDWARE[machine]
    layout = layout_of(card, hardware)
    if tensor_parallel:
        if hardware.devices % tensor_parallel:
            raise UserError(f"{hardware.title}: no replicas of {tensor_parallel} devices")
        layout = Layout(tensor_parallel, hardware.devices // tensor_parallel)
    found = fit(card, hardware, layout)
    if size is None or found.plan is None or found.hindrance:
        raise UserError(f"{card.name} does not fit {hardware.title}: {found.hindrance}")
    points = [(b, step_s(size, hardware, layout, b, card.sample_tokens)) for b in RUNNING]
    return Profile(
        name=f"{machine}-tp{tensor_parallel}" if tensor_parallel else machine,
        model=card.name,
        machine=hardware.title,
        engine="vllm",
        date=datetime.date.today().isoformat(),
        estimated=True,
        steps=tuple((running, round(seconds, DIGITS)) for running, seconds in points),
        prefill_s=round(prefill_s(size, hardware), DIGITS),
        load_s=round(load_s(size), 1),
        kv_tokens=found.plan.kv_tokens,
        replicas=layout.replicas,
        sample_tokens=card.sample_tokens,
        turn_s=round(OUTPUT * prefill_s(size, hardware), DIGITS),
    )
