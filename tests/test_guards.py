"""What must not drift: the front door, the layers, the weight of an import."""

from __future__ import annotations

import ast
import graphlib
import os
import subprocess
import sys
from pathlib import Path

import aimo_submit

SOURCE = Path(aimo_submit.__file__).parent

# A module may import from its own floor and those above it here, nowhere in a circle.
FLOORS = [
    {
        *("errors", "records", "toml", "competition", "answers", "arithmetic", "vote"),
        *("pacing", "budget", "journal", "timeout"),
    },
    {"formats", "machines", "engines", "sandbox"},
    {"config", "cards"},
    {"run", "loop", "genselect", "solve", "solver", "start", "show"},
    {"pool", "kaggle.runtime"},
    {"evaluate", "tune", "report", "training"},
    {"kaggle", "kaggle.client", "kaggle.upload", "kaggle.rehearsal"},
    {"doctor"},
    {"cli"},
    {"__main__"},
]
OFFLINE = {"pool", "evaluate", "tune", "report", "training"}  # kaggle/ and these know nothing of
# one another: what both need is core
HEAVY = {
    *("torch", "transformers", "vllm", "pandas", "polars", "datasets", "kaggle", "ray"),
    "matplotlib",
}


def floor_of(name: str) -> int:
    """The floor of a module, by the longest name that covers it."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        for number, names in enumerate(FLOORS):
            if ".".join(parts[:size]) in names:
                return number
    raise AssertionError(f"{name} stands on no floor")


def name_of(file: Path) -> str:
    """The module's name inside the kit."""
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def imports_of(file: Path) -> set[str]:
    """The kit's own modules that a file imports."""
    nodes = ast.walk(ast.parse(file.read_text()))
    froms = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module]
    named = {f"{n.module}.{alias.name}" for n in froms for alias in n.names}
    ours = {name.removeprefix("aimo_submit.") for name in named if name.startswith("aimo_submit.")}
    known = {name_of(each) for each in SOURCE.rglob("*.py")}
    return {name if name in known else name.rpartition(".")[0] for name in ours} - {""}


GRAPH = {
    name_of(file): imports_of(file) for file in SOURCE.rglob("*.py") if name_of(file) != "__init__"
}


def test_imports_point_down_only() -> None:
    for name, imports in GRAPH.items():
        for imported in imports:
            assert floor_of(imported) <= floor_of(name), f"{name} imports {imported}"


def test_what_runs_at_home_and_what_runs_on_kaggle_know_nothing_of_each_other() -> None:
    for name, imports in GRAPH.items():
        rooms = {each.split(".")[0] for each in (name, *imports)}
        if name.split(".")[0] in OFFLINE | {"kaggle"}:
            assert not ("kaggle" in rooms and rooms & OFFLINE), f"{name} imports {imports}"


def test_no_module_imports_itself_by_a_detour() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the circle


def test_the_front_door_has_the_names_it_promises() -> None:
    assert all(hasattr(aimo_submit, name) for name in aimo_submit.__all__)
    assert len(aimo_submit.__all__) <= 12


def test_importing_the_kit_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys\nfrom aimo_submit import *\nprint(*{m.split('.')[0] for m in sys.modules})"
    best = min(timed([sys.executable, "-c", code])[0] for _ in range(3))
    _, loaded = timed([sys.executable, "-c", code])
    bare = min(timed([sys.executable, "-c", "pass"])[0] for _ in range(3))
    assert not HEAVY & set(loaded.split())
    assert best - bare < 0.6  # measured 0.3


def timed(command: list[str]) -> tuple[float, str]:
    """Seconds of work, whatever else the machine does, and standard output of a command."""
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = os.times()
    work_s = sum(after[2:4]) - sum(before[2:4])  # of children, user's and system's
    return work_s, done.stdout


def test_the_engine_names_of_the_settings_are_those_that_can_be_started() -> None:
    from aimo_submit.config import ENGINES

    for name in ENGINES:
        assert (SOURCE / "engines" / name / "__init__.py").is_file()
