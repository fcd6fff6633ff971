"""Runs at the start of a rehearsed kernel, copied there as one file: nothing of the kit is loaded.

The faults named in the environment happen, where a CPU gives no handle on them from outside: it
wraps the engine that is started.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

FAULTS = os.environ.get("AIMO_SUBMIT_CHAOS", "").split()
STARTS = "aimo_submit.start"
BLOCKED_S = 15.0
JUMP_S = 86_400.0

IN_ENGINE = ("engine-dies", "engine-hangs", "engine-exits", "engine-memory", "loop-blocked")

done: set[str] = set()
problems: list[list[int]] = []  # the first prompt of each


class Faulty:
    """Finds the kit's `start`, and puts the faults into it."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        return with_faults(PathFinder.find_spec(name, path)) if name == STARTS else None


def with_faults(spec: ModuleSpec | None) -> ModuleSpec | None:
    """The specification of the module, whose engines are at fault once it has been executed."""
    if spec is None or spec.loader is None:
        return spec
    execute = spec.loader.exec_module

    def exec_module(module: Any) -> None:
        execute(module)
        module.start_engine = starter(module.start_engine)

    spec.loader.exec_module = exec_module  # type: ignore[method-assign]
    return spec


def starter(start: Any) -> Any:
    """`start_engine`, with what goes wrong in it."""

    async def start_engine(config: Any, card: Any) -> Any:
        if "engine-unloadable" in FAULTS:
            raise RuntimeError("CUDA error: unspecified launch failure")
        quick = "scripted" in FAULTS and config.engine != "vllm"
        return Engine(scripted() if quick else await start(config, card))

    return start_engine


def scripted() -> Any:
    """An engine that answers at once: a block that prints 42, and then its output."""
    from scripted import ScriptedEngine, StepTime

    def script(prompt: str, sampling: Any) -> str:
        ran = "```output\n" in prompt.rpartition("print(6*7)")[2]
        return "\n$\\boxed{42}$" if ran else "```python\nprint(6*7)\n```\n```output\n"

    return ScriptedEngine(script, StepTime(0.005))  # half a second a problem


class Engine:
    """An engine whose faults show in the second problem, the third, and so on."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._died = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def complete(self, prompt: Sequence[int], sampling: Any) -> Any:
        """The engine's completion, unless it is at fault."""
        await self._fail(fault_of(list(prompt)))
        if self._died:
            raise self._death()
        return await self._engine.complete(prompt, sampling)

    async def _fail(self, fault: str) -> None:
        if fault == "engine-hangs":
            await asyncio.Event().wait()
        elif fault == "engine-exits":
            raise SystemExit(1)
        elif fault == "engine-memory":
            raise MemoryError("CUDA out of memory")
        elif fault == "engine-dies":
            self._died = True
        elif fault == "loop-blocked" and fault not in done:
            done.add(fault)
            time.sleep(BLOCKED_S)

    @staticmethod
    def _death() -> Exception:
        from aimo_submit.errors import EngineDied

        return EngineDied("its process was killed")


def fault_of(prompt: list[int]) -> str:
    """What goes wrong in the problem of the prompt: nothing in the first, and one each after."""
    known = [number for number, first in enumerate(problems) if prompt[: len(first)] == first]
    if not known:
        problems.append(prompt)
    number = known[0] if known else len(problems) - 1
    return dict(enumerate((n for n in FAULTS if n in IN_ENGINE), 1)).get(number, "")


def jumping(clock: Any) -> Any:
    """A clock that is a day ahead in every second second."""

    def jump() -> float:
        return float(clock()) + JUMP_S * (int(clock()) % 2)

    return jump


class Without:
    """A finder that does not know vLLM."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """What the finder finds, but for vLLM."""
        return None if name == "vllm" else self._finder.find_spec(name, path, target)


if "wheels-missing" in FAULTS or "wheels-broken" in FAULTS:
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
sys.meta_path.insert(0, Faulty)
if "clock-jumps" in FAULTS:
    time.time = jumping(time.time)
