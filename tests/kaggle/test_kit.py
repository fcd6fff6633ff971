"""The kit that travels: what the notebook can import and no more, good for any Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aimo_submit.engines import scripted
from aimo_submit.kaggle.client.bundle import (
    PACKAGE,
    TEMPLATE,
    closure,
    kit_files,
    named,
    package_hash,
)
from aimo_submit.kaggle.rehearsal import fake_gateway
from aimo_submit.kaggle.runtime.recorder import read_progress
from tests import ROOT

ENTRANCE = "from aimo_submit.kaggle.runtime.steps import Notebook"
AT_HOME = {
    *("cli", "pool", "evaluate", "tune", "report", "training", "doctor"),
    *("kaggle.client", "kaggle.rehearsal", "kaggle.upload"),
}
KIT = kit_files(ENTRANCE)
PYTHONS = ("python3.10", "python3.11", "python3.12", "python3.13", "/usr/bin/python3")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit as the notebook unpacks it."""
    root = tmp_path_factory.mktemp("kit")
    for name, text in KIT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def modules() -> list[str]:
    """The dotted names of the kit's modules."""
    paths = (Path(name).with_suffix("") for name in KIT if name.endswith(".py"))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


# Exactly the closure


def test_the_template_has_no_other_way_into_the_kit() -> None:
    code = (ROOT / TEMPLATE).read_text()
    ways = {name for name in named(code) if name.startswith("aimo_submit")}
    kaggle = {name for name in ways if ".rehearsal." not in name}
    assert kaggle == {"aimo_submit.kaggle.runtime.steps.Notebook"}


def test_nothing_for_home_travels() -> None:
    rooms = {name.removeprefix("aimo_submit.") for name in modules()}
    assert not [name for name in rooms if any((name + ".").startswith(r + ".") for r in AT_HOME)]


def test_the_kit_is_small() -> None:
    assert len(KIT) <= 95
    assert {Path(name).suffix for name in KIT} == {".py", ".toml"}  # no weights
    assert "aimo_submit/models/tiny-tir.toml" in KIT


@pytest.mark.slow
def test_no_module_is_missing_wherever_it_is_imported(unpacked: Path) -> None:
    """In a process that has nothing else of the kit: engines and the sandbox's programs, too."""
    code = f"import importlib\nfor name in {modules()!r}: importlib.import_module(name)"
    done = run([sys.executable, "-c", code], unpacked)
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_module_that_travels_is_imported_by_one_that_does() -> None:
    files = [name for name in KIT if name.endswith(".py")]
    mentions = {name: set(named(KIT[file])) for name, file in zip(modules(), files, strict=True)}
    for name in set(modules()) - {"aimo_submit.kaggle.runtime.steps"}:
        others = (names for other, names in mentions.items() if other != name)
        assert any(f"{each}.".startswith(f"{name}.") for names in others for each in names), name


def test_the_sandboxs_programs_and_every_engine_travel() -> None:
    reached = set(modules())
    assert {f"aimo_submit.engines.{name}" for name in ("vllm", "transformers", "openai")} <= reached
    assert any(name.startswith("aimo_submit.sandbox.block.") for name in reached)
    assert not any("scripted" in name for name in reached)


def test_imports_are_followed_into_functions_strings_and_packages(tmp_path: Path) -> None:
    package = tmp_path / "kit"
    (package / "inner").mkdir(parents=True)
    files = {
        "__init__": "",
        "a": "def f():\n    from kit import b",
        "b": '"""Not kit.unused."""\nCODE = f"import {1}\\nfrom kit.inner.c import main"',
        "inner/__init__": "import kit.d as d",
        "inner/c": "",
        "d": "",
        "unused": "",
    }
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    found = closure("import kit.a", package)
    assert list(found) == ["kit", "kit.a", "kit.b", "kit.d", "kit.inner", "kit.inner.c"]


def test_the_packages_hash_follows_names_and_contents() -> None:
    assert package_hash({**KIT, "aimo_submit/vote.py": ""}) != package_hash(KIT)
    assert package_hash(dict(reversed(KIT.items()))) == package_hash(KIT)


def test_the_fake_gateway_lives_on_what_travels() -> None:
    """It is laid beside the competition's data, and imported next to the notebook's own kit."""
    text = Path(fake_gateway.__file__).read_text()
    wanted = closure(text, PACKAGE)
    assert set(wanted) <= set(modules())


# Any Python


def run(command: list[str], kit: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={"PYTHONPATH": str(kit)}, cwd="/", capture_output=True, text=True, timeout=600
    )


def interpreter(name: str) -> str:
    """The path of a Python of that name, new enough and with a whole standard library."""
    works = "import ssl, ctypes, sys; sys.exit(sys.version_info < (3, 10))"
    homes = Path.home().glob(".pyenv/versions/*/bin")  # a shim there need not work
    for path in (*(str(home / name) for home in homes), shutil.which(name)):
        if path and Path(path).exists():
            if subprocess.run([path, "-c", works], capture_output=True).returncode == 0:
                return path
    pytest.skip(f"there is no {name} here")


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_what_travels_finds_all_that_it_wants_of_the_standard_library(
    python: str, unpacked: Path
) -> None:
    """Every module imports, with stubs for packages that are missing; every name is there."""
    script = str(Path(__file__).parent / "stdlib_names.py")
    done = run([interpreter(python), script, str(unpacked), *modules()], unpacked)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["missing"] == []
    assert told["imported"] == len(modules())


RUN = """
import sys
from pathlib import Path

from scripted import ScriptedEngine

from aimo_submit.config import Config
from aimo_submit.formats.families import FORMATS
from aimo_submit.kaggle.runtime.predictor import Predictor
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.solver import Solver

def script(prompt, sampling):
    ran = "```output\\n42" in prompt.rpartition("print(6*7)")[2]
    return "\\n$\\\\boxed{42}$" if ran else "```python\\nprint(6*7)\\n```\\n```output\\n"

async def engine():
    return ScriptedEngine(script)

async def sandbox():
    server = ForkServer(1)
    server.start()
    return server

def start(config, watch):
    return Solver(config, FORMATS["numina_tir"], engine, sandbox, watch=watch)

config = Config(samples=2, edition="aimo-2", problem_timeout_s=60)
with Predictor(start, config, Path(sys.argv[1])) as predictor:
    assert predictor.predict("a", "What is $6 \\cdot 7$?") == 42
"""


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_what_travels_solves_a_problem_on_the_standard_library_alone(
    python: str, unpacked: Path, tmp_path: Path
) -> None:
    """With a scripted engine; the code of its samples runs in the sandbox."""
    shutil.copy(scripted.__file__, tmp_path / "scripted.py")
    (tmp_path / "run.py").write_text(RUN)
    done = run([interpreter(python), str(tmp_path / "run.py"), str(tmp_path)], unpacked)
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_progress(done.stdout.splitlines()[1]) == 1
