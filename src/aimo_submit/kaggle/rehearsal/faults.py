"""What can go wrong on Kaggle, by name, and how it is made to happen in a rehearsal.

Most of it is done as reality would: to files of the inputs, to problems, to processes. What has no
handle from outside on a machine without a GPU happens in `kernel_start.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aimo_submit.errors import UserError
from aimo_submit.kaggle.rehearsal.injections import INJECTIONS
from aimo_submit.kaggle.rehearsal.tree import Row, Tree

LONG = 100_000  # characters
FOREIGN = "Was ist $6·7$? 求 6×7 的值 🧮 \u202e\x07\x1b[2J"
ALL = "all"


def _as_is(rows: Sequence[Row]) -> Sequence[Row]:
    return rows


def _nothing(tree: Tree) -> None:
    return


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. `stops`: the interactive run may rightly refuse to go on."""

    what: str
    rows: Callable[[Sequence[Row]], Sequence[Row]] = _as_is
    plant: Callable[[Tree], None] = _nothing
    config: Mapping[str, Any] = field(default_factory=dict)
    hook: bool = False  # it happens in `kernel_start.py`
    stops: bool = False
    loads: bool = False  # it is about the loading of the engine, which cannot be a scripted one


def faults_of(case: str) -> dict[str, Fault]:
    """The faults of a case, which is a name, or several joined by +."""
    unknown = [name for name in case.split("+") if name not in FAULTS]
    if unknown:
        raise UserError(f"no chaos case {unknown[0]!r}: known are {', '.join(FAULTS)}, {ALL}")
    return {name: FAULTS[name] for name in case.split("+")}


def injections_of(case: str) -> list[str]:
    """Those of the case's faults that happen to the running notebook from outside."""
    return [name for name in faults_of(case) if name in INJECTIONS]


def hooks_of(case: str) -> list[str]:
    """Those of the case's faults that happen inside the kernel."""
    return [name for name, fault in faults_of(case).items() if fault.hook]


def _also(text: str | None) -> Callable[[Sequence[Row]], Sequence[Row]]:
    """Puts a problem of that text behind the first."""

    def change(rows: Sequence[Row]) -> Sequence[Row]:
        return [*rows[:1], (f"chaos-{len(rows)}", text), *rows[1:]]

    return change


def _ids(make: Callable[[int], str]) -> Callable[[Sequence[Row]], Sequence[Row]]:
    def change(rows: Sequence[Row]) -> Sequence[Row]:
        return [(make(k), text) for k, (_, text) in enumerate(rows)]

    return change


def _remove_model(tree: Tree) -> None:
    shutil.rmtree(tree.model)


def _truncate_model(tree: Tree) -> None:
    for file in (*tree.model.glob("*.safetensors"), *tree.model.glob("*.bin")):
        data = file.read_bytes()
        file.unlink()  # a link: the model itself is not ours
        file.write_bytes(data[: len(data) // 2])


def _hide_vllm(tree: Tree) -> None:
    """Hides it from what the notebook starts; `kernel_start.py` hides it from the notebook."""
    tree.before.mkdir()
    (tree.before / "vllm.py").write_text("raise ModuleNotFoundError(\"No module named 'vllm'\")")


def _break_wheels(tree: Tree) -> None:
    _hide_vllm(tree)
    tree.wheels.mkdir(parents=True)
    name = "vllm-0.19.1-cp38-abi3-manylinux1_x86_64.whl"
    (tree.wheels / name).write_bytes(b"PK\x03\x04" + bytes(1000))


_ON_VLLM = {"engine": "vllm"}

FAULTS: Mapping[str, Fault] = {
    "long-problem": Fault("a problem of 100 kB", rows=_also("Find x. " * (LONG // 8))),
    "empty-problem": Fault("a problem that is an empty text", rows=_also("")),
    "null-problem": Fault("a problem that is an empty cell", rows=_also(None)),
    "non-ascii": Fault("a problem in other alphabets", rows=_also(FOREIGN)),
    "integer-ids": Fault("ids of digits only", rows=_ids(lambda k: f"{1000 + k}")),
    "float-ids": Fault("ids such as 424e18", rows=_ids(lambda k: f"{424 + k}e18")),
    "quoted-ids": Fault("ids with quotes and commas", rows=_ids(lambda k: f'a"{k},\n;\'b')),
    "config-invalid": Fault(
        "settings that do not exist or do not fit", config={"sampels": 3, "rounds": "many"},
        stops=True,
    ),
    "wheels-missing": Fault(
        "no vLLM, and no wheels to install it",
        plant=_hide_vllm, config=_ON_VLLM, hook=True, stops=True,
    ),
    "wheels-broken": Fault(
        "no vLLM, and wheels cut short",
        plant=_break_wheels, config=_ON_VLLM, hook=True, stops=True,
    ),
    "model-missing": Fault(
        "no model among the inputs", plant=_remove_model, stops=True, loads=True
    ),
    "model-truncated": Fault(
        "weights cut short", plant=_truncate_model, stops=True, loads=True
    ),
    "no-gpu": Fault(
        "an engine that wants a GPU, and none",
        config={"engine_options": {"device": "cuda"}}, stops=True, loads=True,
    ),
    "engine-unloadable": Fault("the engine cannot be loaded", hook=True, stops=True),
    "engine-dies": Fault("the engine dies", hook=True),
    "engine-killed": Fault("kill -9 of vLLM's core process", config=_ON_VLLM, loads=True),
    "engine-hangs": Fault("the engine never answers", hook=True),
    "engine-exits": Fault("SystemExit in the engine", hook=True),
    "engine-memory": Fault("MemoryError in the engine", hook=True),
    "loop-blocked": Fault("the event loop stands still for 15 s", hook=True),
    "clock-jumps": Fault("the wall clock jumps by a day, to and fro", hook=True),
    "out-of-memory": Fault("no more memory for the notebook for a while", loads=True),
    "disk-full": Fault("the working directory's disk is full for a while"),
    "sandbox-killed": Fault("kill -9 of the sandbox's fork server at every problem"),
    "sandbox-storm": Fault("kill -9 of the sandbox's processes all the time"),
    "paused": Fault("the notebook's process stands still for 5 s"),
}  # fmt: skip
NEEDS_VLLM = ("engine-killed",)


def cases_of(given: Sequence[str], engine: str) -> list[str]:
    """The cases that were asked for; all of them are those that this engine can have."""
    if ALL in given:
        return [name for name in FAULTS if engine == "vllm" or name not in NEEDS_VLLM]
    for case in given:
        if engine != "vllm" and set(faults_of(case)) & set(NEEDS_VLLM):
            raise UserError(f"{case}: only vLLM has a process of its own; add --engine vllm")
    return list(given)
