"""What must not drift: the front door, the layers, the weight of an import."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import aimo_submit

SOURCE = Path(aimo_submit.__file__).parent

# A module may import from rows above its own, never from its own or below.
LAYERS = [
    ["errors", "records", "competition"],
    ["arithmetic"],
    ["answers", "formats", "vote", "pacing", "engines", "sandbox"],
    ["config", "budget"],
    ["cards", "run"],
    ["loop"],
    ["genselect"],
    ["solver"],
    ["start"],
    ["offline.problems", "offline.journal", "offline.summary"],
    ["offline.evaluate", "offline.votes"],
    ["show"],
    ["kaggle", "kaggle.account", "kaggle.metadata", "kaggle.ledger", "kaggle.threads"],
    ["kaggle.kernel", "kaggle.record", "kaggle.stand_in"],
    ["kaggle.output", "kaggle.predictor"],
    ["kaggle.submission", "kaggle.gateway"],
    ["kaggle.commands"],
    ["cli"],
]
HEAVY = {
    *("torch", "transformers", "vllm", "pandas", "polars", "datasets", "kaggle", "ray"),
    "matplotlib",
}


def layer_of(name: str) -> int:
    """The row of a module, by the longest name that covers it."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        for row, names in enumerate(LAYERS):
            if ".".join(parts[:size]) in names:
                return row
    raise AssertionError(f"{name} stands in no layer")


def imports_of(file: Path) -> list[str]:
    """The kit's own modules that a file imports."""
    tree = ast.parse(file.read_text())
    named = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [n.removeprefix("aimo_submit.") for n in named if n and n.startswith("aimo_submit.")]


def test_imports_point_down_only() -> None:
    for file in SOURCE.rglob("*.py"):
        name = ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        if name in ("__init__", "offline"):
            continue
        package = name.split(".")[0]
        for imported in imports_of(file):
            inside = package in ("engines", "sandbox") and imported.startswith(package)
            assert inside or layer_of(imported) < layer_of(name), f"{name} imports {imported}"


def test_the_front_door_has_the_names_it_promises() -> None:
    assert all(hasattr(aimo_submit, name) for name in aimo_submit.__all__)
    assert len(aimo_submit.__all__) <= 12


def test_importing_the_kit_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys, aimo_submit; print(*{m.split('.')[0] for m in sys.modules})"
    best = min(timed([sys.executable, "-c", code])[0] for _ in range(3))
    _, loaded = timed([sys.executable, "-c", code])
    bare = min(timed([sys.executable, "-c", "pass"])[0] for _ in range(3))
    assert not HEAVY & set(loaded.split())
    assert best - bare < 0.6  # 0.3 s on an idle machine; a busy one gets twice that


def timed(command: list[str]) -> tuple[float, str]:
    """Seconds and standard output of a command."""
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.monotonic() - start, done.stdout


def test_the_engine_names_of_the_settings_are_those_that_can_be_started() -> None:
    from aimo_submit.config import ENGINES

    for name in ENGINES:
        assert (SOURCE / "engines" / f"{name}.py").is_file()
