"""The faults that a run on Kaggle may meet, by name, and how each is brought about.

Most of it is done as reality would: to files of the inputs, to problems, to processes. What has no
handle from outside on a machine without a GPU happens in `kernel_faults.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aimo_submit.engines import scripted
from aimo_submit.errors import UserError
from aimo_submit.kaggle.rehearsal.player import Faults, Job
from aimo_submit.kaggle.rehearsal.tree import Question, Tree
from tests.faults.injections import INJECTIONS

ANSWER_S = 10.0  # for a problem, so that what hangs does not take hours
LONG = 100_000  # characters
FOREIGN = "Was ist $6·7$? 求 6×7 的值 🧮 \u202e\x07\x1b[2J"
ALL = "all"
BEFORE = "before"  # a folder of modules that hide those of the environment


def _as_is(questions: Sequence[Question]) -> Sequence[Question]:
    return questions


def _nothing(tree: Tree) -> None:
    return


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. `stops`: the interactive run may rightly refuse to go on."""

    what: str
    questions: Callable[[Sequence[Question]], Sequence[Question]] = _as_is
    plant: Callable[[Tree], None] = _nothing
    config: Mapping[str, Any] = field(default_factory=dict)
    hook: bool = False  # it happens in `kernel_faults.py`
    stops: bool = False
    loads: bool = False  # it is about the loading of the engine, which cannot be a scripted one


def _also(text: str | None) -> Callable[[Sequence[Question]], Sequence[Question]]:
    """Puts a problem of that text behind the first."""

    def change(given: Sequence[Question]) -> Sequence[Question]:
        return [*given[:1], (f"chaos-{len(given)}", text), *given[1:]]

    return change


def _ids(make: Callable[[int], str]) -> Callable[[Sequence[Question]], Sequence[Question]]:
    def change(given: Sequence[Question]) -> Sequence[Question]:
        return [(make(k), text) for k, (_, text) in enumerate(given)]

    return change


def _remove_model(tree: Tree) -> None:
    shutil.rmtree(tree.model)


def _truncate_model(tree: Tree) -> None:
    for file in (*tree.model.glob("*.safetensors"), *tree.model.glob("*.bin")):
        data = file.read_bytes()
        file.unlink()  # a link: the model itself is not ours
        file.write_bytes(data[: len(data) // 2])


def _hide_vllm(tree: Tree) -> None:
    """Hides it from what the notebook starts; `kernel_faults.py` hides it from the notebook."""
    before(tree).mkdir(exist_ok=True)
    (before(tree) / "vllm.py").write_text("raise ModuleNotFoundError(\"No module named 'vllm'\")")


def _break_wheels(tree: Tree) -> None:
    _hide_vllm(tree)
    wheels = tree.inputs / "notebooks/somebody/aimo-wheels"
    wheels.mkdir(parents=True)
    name = "vllm-0.19.1-cp38-abi3-manylinux1_x86_64.whl"
    (wheels / name).write_bytes(b"PK\x03\x04" + bytes(1000))


_ON_VLLM = {"engine": "vllm"}

FAULTS: Mapping[str, Fault] = {
    "long-problem": Fault("a problem of 100 kB", questions=_also("Find x. " * (LONG // 8))),
    "empty-problem": Fault("a problem that is an empty text", questions=_also("")),
    "null-problem": Fault("a problem that is an empty cell", questions=_also(None)),
    "non-ascii": Fault("a problem in other alphabets", questions=_also(FOREIGN)),
    "integer-ids": Fault("ids of digits only", questions=_ids(lambda k: f"{1000 + k}")),
    "float-ids": Fault("ids such as 424e18", questions=_ids(lambda k: f"{424 + k}e18")),
    "quoted-ids": Fault("ids with quotes and commas", questions=_ids(lambda k: f'a"{k},\n;\'b')),
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


class Case(Faults):
    """Some of the faults at once, given as names joined by +; an empty name is none of them.

    `scripted` puts an engine in place of the model that answers at once, unless the loading of
    the engine is at fault.
    """

    def __init__(self, name: str = "", *, scripted: bool = False) -> None:
        self.name = name
        unknown = [each for each in self._names if each not in FAULTS]
        if unknown:
            raise UserError(f"no chaos case {unknown[0]!r}: known are {', '.join(FAULTS)}, {ALL}")
        self._faults = {each: FAULTS[each] for each in self._names}
        self.stops = any(fault.stops for fault in self._faults.values())
        self._in_kernel = [each for each, fault in self._faults.items() if fault.hook]
        if scripted and not any(fault.loads for fault in self._faults.values()):
            self._in_kernel.append("scripted")

    @property
    def _names(self) -> list[str]:
        return self.name.split("+") if self.name else []

    @property
    def injections(self) -> list[str]:
        """Those of its faults that happen to the running notebook from outside."""
        return [name for name in self._names if name in INJECTIONS]

    def change_questions(self, questions: Sequence[Question]) -> Sequence[Question]:
        for fault in self._faults.values():
            questions = fault.questions(questions)
        return questions

    def change_tree(self, tree: Tree) -> None:
        for fault in self._faults.values():
            fault.plant(tree)
        if self._in_kernel:
            here = Path(__file__).parent
            shutil.copy(here / "kernel_faults.py", tree.startup / "01-faults.py")
            before(tree).mkdir(exist_ok=True)  # the kit's own does not travel
            shutil.copy(scripted.__file__, before(tree) / "scripted.py")

    def change_job(self, job: Job) -> Job:
        settings = dict(job.settings)
        if self.name:
            settings["problem_timeout_s"] = min(
                ANSWER_S, settings.get("problem_timeout_s", ANSWER_S)
            )
        for fault in self._faults.values():
            settings |= fault.config
        root = Path(job.inputs).parent
        made = {"AIMO_SUBMIT_CHAOS": " ".join(self._in_kernel), "PYTHONPATH": str(root / BEFORE)}
        names = [f"{INJECTIONS[n].__module__}:{INJECTIONS[n].__name__}" for n in self.injections]
        return replace(
            job, settings=settings, environment={**job.environment, **made}, injections=names
        )


def before(tree: Tree) -> Path:
    """Modules that are found before those of the environment."""
    return tree.root / BEFORE


def cases_of(given: Sequence[str], engine: str) -> list[str]:
    """The cases that were asked for; all of them are those that this engine can have."""
    if ALL in given:
        return [name for name in FAULTS if engine == "vllm" or name not in NEEDS_VLLM]
    for name in given:
        Case(name)
        if engine != "vllm" and set(name.split("+")) & set(NEEDS_VLLM):
            raise UserError(f"{name}: only vLLM has a process of its own; add --engine vllm")
    return list(given)
