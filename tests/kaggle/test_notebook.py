"""The notebook: built from the tree, small, and run in a real Jupyter kernel as Kaggle would.

What is packed into it has tests of its own, in `test_kit.py`.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import polars as pl
import pytest

from aimo_submit.cards import Card
from aimo_submit.cli import main
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.bundle import (
    AT_HOME,
    CONFIG,
    SUBMISSION,
    TEMPLATE,
    build,
    digest,
    for_kaggle,
    kit_files,
    stale,
)
from aimo_submit.kaggle.client.submission import fallbacks
from aimo_submit.kaggle.rehearsal import fake_gateway
from aimo_submit.kaggle.runtime import brief
from aimo_submit.kaggle.runtime.setup import engine_faults, model_faults
from aimo_submit.machines import Size, recognise
from aimo_submit.machines.detect import Gpu, Machine, detect
from aimo_submit.report import frames
from tests import ROOT

SLUG = "ai-mathematical-olympiad-prize"
TINY = 'model = "tiny-tir"\nedition = "aimo-1"\nsamples = 4\ntotal_time_s = 300\n'
GATEWAY = """
from pathlib import Path
from .fake_gateway import FakeGateway

def make_env():
    return FakeGateway("aimo-1", Path(__file__).parents[1] / "test.csv", Path.cwd()).make_env()
"""
RERUN = {"KAGGLE_IS_COMPETITION_RERUN": "1"}
T4 = Gpu("Tesla T4", 15.0, (7, 5))


def folder_with(settings: str, path: Path) -> Path:
    """A folder with the templates, and the notebooks built with those settings."""
    shutil.copytree(ROOT / "notebooks", path / "notebooks")
    (path / CONFIG).write_text(settings)
    build(path)
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_with(TINY, tmp_path_factory.mktemp("kit"))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return input_tree(tmp_path / "input")


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """An interactive run with everything in order."""
    folder = tmp_path_factory.mktemp("finished")
    return Ran(tiny, input_tree(folder / "input"), folder / "work")


def input_tree(root: Path) -> Path:
    """An input tree with AIMO-1's competition and the bundled model."""
    competition = root / "competitions" / SLUG
    (competition / "aimo").mkdir(parents=True)
    (competition / "aimo/__init__.py").write_text(GATEWAY)
    shutil.copy(fake_gateway.__file__, competition / "aimo")
    texts = ["Find the remainder when $3^{100}$ is divided by $77$.", "What is $6 \\cdot 7$?"]
    pl.DataFrame({"id": ["229ee8", "246d26"], "problem": texts}).write_csv(competition / "test.csv")
    shutil.copytree(ROOT / "models/tiny-tir", root / "models/me/tiny-tir/transformers/default/1")
    return root


class Ran:
    """A run of a notebook: what its cells printed, how it ended, what it left."""

    def __init__(
        self, kit: Path, inputs: Path, work: Path, name: Path = SUBMISSION, **environment: str
    ) -> None:
        work.mkdir()
        self.folder, self.error = work, ""
        book = nbformat.read(kit / name, 4)
        where: Mapping[str, Any] = {"metadata": {"path": str(work)}}
        client = nbclient.NotebookClient(book, timeout=600, resources=where, kernel_name="python3")
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        try:
            client.execute(env={**clean, "AIMO_SUBMIT_INPUT": str(inputs), **environment})
        except nbclient.exceptions.CellExecutionError as error:
            self.error = error.evalue
        outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
        self.text = "".join(output.get("text", "") for output in outputs)
        self.traceback = [line for o in outputs for line in o.get("traceback", [])]

    @property
    def answers(self) -> dict[str, int]:
        return answers_in(self.folder)


def answers_in(folder: Path) -> dict[str, int]:
    """The submission that a run left."""
    [file] = folder.glob("submission.*")
    table = pl.read_csv(file) if file.suffix == ".csv" else pl.read_parquet(file)
    return dict(table.iter_rows())


# Built


def test_the_notebooks_in_the_repository_are_those_of_this_tree() -> None:
    assert stale(ROOT) == [], "run aimo-submit build"


@pytest.mark.parametrize("place", ["home", "kaggle"])
def test_the_notebook_is_small_and_without_functions(place: str, tiny: Path) -> None:
    file = ROOT / AT_HOME if place == "home" else tiny / SUBMISSION
    book = nbformat.read(file, 4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(code) == (7 if place == "home" else 8)
    assert not any(cell.outputs or cell.execution_count for cell in code)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    nodes = [node for cell in code for node in ast.walk(ast.parse(cell.source))]
    assert not any(isinstance(node, kinds) for node in nodes)
    assert "edit those" in book.cells[0].source
    assert len([*lines_of(TEMPLATE), *lines_of(CONFIG)]) <= 60
    assert file.stat().st_size < (10_000 if place == "home" else 200_000)


def test_the_notebook_for_kaggle_is_not_kept_in_git() -> None:
    listed = subprocess.run(
        ["git", "check-ignore", str(SUBMISSION)], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode == 128:
        pytest.skip("this is no git repository")
    assert listed.stdout.strip() == str(SUBMISSION)


def test_the_kernels_metadata_names_the_notebook_that_is_built() -> None:
    metadata = json.loads((ROOT / "kernel-metadata.json").read_text())
    assert metadata["code_file"] == str(SUBMISSION)


def lines_of(name: Path) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line.strip() not in ("", "#") and not line.startswith("# %%")]


@pytest.mark.slow
def test_the_digest_follows_the_code_and_the_settings_and_not_the_commit(tmp_path: Path) -> None:
    folder = folder_with(TINY, tmp_path / "a")
    notebook = folder / SUBMISSION
    before = digest(notebook)
    build(folder)
    assert digest(notebook) == before
    text = notebook.read_text()
    notebook.write_text(text.replace("COMMIT = 'unknown'", "COMMIT = '0123456789ab+'"))
    assert notebook.read_text() != text
    assert digest(notebook) == before
    notebook.write_text(text.replace("samples = 4", "samples = 5"))
    assert digest(notebook) != before
    notebook.write_text(text.replace("PACKAGE = '", "PACKAGE = '0"))
    assert digest(notebook) != before


@pytest.mark.parametrize("text", ["", "{}", '{"cells": 1}'])
def test_a_file_that_is_no_notebook_is_to_be_built_anew(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(UserError, match="build it anew"):
        digest(tmp_path / "a.ipynb")


def test_check_fails_where_the_notebook_does_not_correspond(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_with(TINY, tmp_path / "a")
    assert main(["build", "--check", "--folder", str(folder)]) == 0
    with (folder / TEMPLATE).open("a") as template:
        template.write("\nprint(1)\n")
    assert main(["build", "--check", "--folder", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "run aimo-submit build" in said
    assert str(AT_HOME) in said
    assert str(SUBMISSION) not in said  # it is made when it is needed


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("sampels = 4", "did you mean samples?"),
        ('model = "numina-8b"', "no card for model"),
        ("samples = ", "not valid TOML"),
        ('model = "tiny-tir"  # """', "backslashes"),
    ],
)
def test_settings_that_would_fail_on_kaggle_are_refused_when_it_is_built(
    settings: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        folder_with(settings, tmp_path / "a")


def test_a_competition_of_the_users_own_travels_and_is_found_by_its_name(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text("hours = 2.0\nproblems = 7\n")
    files = kit_files("import aimo_submit.competition", str(own))
    root = tmp_path / "unpacked"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    code = "from aimo_submit.competition import competition_named as c; print(c('mine.toml').hours)"
    done = python(code, PYTHONPATH=str(root))
    assert done.stdout == "2.0\n", done.stderr


def test_a_folder_without_a_template_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(TINY)
    with pytest.raises(UserError, match="no template"):
        build(tmp_path, tmp_path / "config.toml")


def test_the_readable_notebook_has_each_file_in_a_hidden_cell_without_magics(tiny: Path) -> None:
    text = for_kaggle(tiny, tiny / CONFIG, readable=True)
    cells = [c for c in nbformat.reads(text, 4).cells if c.source.startswith("KIT[")]
    assert all(cell.metadata["_kg_hide-input"] for cell in cells)
    kit: dict[str, str] = {}
    for cell in cells:
        exec(cell.source, {"KIT": kit})
        assert len(kit) == cells.index(cell) + 1
    assert kit["aimo_submit/vote.py"] == (ROOT / "src/aimo_submit/vote.py").read_text()
    assert len(text) < 600_000


# Run


@pytest.mark.kernel
@pytest.mark.xdist_group("notebook")
def test_one_file_runs_to_a_valid_submission(tiny: Path, finished: Ran) -> None:
    ran = finished
    assert ran.error == "", ran.traceback
    assert ran.answers == {"229ee8": 67, "246d26": ran.answers["246d26"]}
    assert fallbacks(ran.folder) == 0
    left = sorted(path.name for path in ran.folder.iterdir())
    assert left == ["submission.csv", "summary-1.csv", "traces-1.jsonl"]
    assert "interactive run" in ran.text
    assert "pow(3, 100, 77)" in ran.text  # the sample problem's work
    built = (tiny / SUBMISSION).read_text()
    assert built.partition("PACKAGE = '")[2][:16] in ran.text


@pytest.mark.kernel
def test_the_notebook_that_a_person_opens_runs_at_home(tiny: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}
    ran = Ran(tiny, tmp_path, tmp_path / "opened", AT_HOME, **environment)
    assert ran.error == "", ran.traceback
    assert "interactive run" in ran.text
    [working] = tmp_path.glob("aimo-submit-home-*/working")
    assert answers_in(working)["home-2"] == 67
    assert list(ran.folder.iterdir()) == []


@pytest.mark.kernel
def test_a_missing_model_stops_the_interactive_run_with_one_line(
    tiny: Path, inputs: Path, tmp_path: Path
) -> None:
    shutil.rmtree(inputs / "models")
    ran = Ran(tiny, inputs, tmp_path / "work")
    assert len(ran.traceback) == 1
    assert ran.traceback[0].startswith("aimo-submit: no model is mounted below")
    assert "model_sources" in ran.traceback[0]


@pytest.mark.kernel
def test_a_rerun_without_anything_in_order_still_answers_every_problem(
    tiny: Path, inputs: Path, tmp_path: Path
) -> None:
    shutil.rmtree(inputs / "models")
    overlay = 'engine = "vlllm"\nedition = "aimo-2"'
    ran = Ran(
        *(tiny, inputs, tmp_path / "work"),
        AIMO_SUBMIT_CONFIG=overlay, TMPDIR="/proc/full", **RERUN,
    )  # fmt: skip
    assert ran.error == "", ran.traceback
    assert ", in /dev/shm/aimo-submit-" in ran.text  # the kit, where /tmp takes nothing
    assert ran.answers == {"229ee8": 0, "246d26": 0}
    assert fallbacks(ran.folder) == 2
    assert "straight on to serve" in ran.text


@pytest.mark.kernel
def test_a_rerun_whose_vllm_is_broken_goes_on_with_the_engine_that_works(
    tiny: Path, inputs: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "vllm.py").write_text("raise ImportError('undefined symbol: cuda')\n")
    overlay = 'engine = "vllm"\nproblems = 2\nengine_options = { dtype = "float16" }'
    ran = Ran(
        *(tiny, inputs, tmp_path / "work"),
        AIMO_SUBMIT_CONFIG=overlay, PYTHONPATH=str(broken), **RERUN,
    )  # fmt: skip
    assert ran.error == "", ran.traceback
    assert "undefined symbol" in ran.text
    assert ran.answers["229ee8"] == 67


@pytest.mark.kernel
def test_settings_that_are_no_toml_leave_a_rerun_its_edition(inputs: Path, tmp_path: Path) -> None:
    kit = folder_with(TINY, tmp_path / "kit")
    notebook = kit / SUBMISSION
    notebook.write_text(notebook.read_text().replace("samples = 4", "samples = four"))
    shutil.rmtree(inputs / "models")
    competition = inputs / "competitions" / SLUG
    (competition / "aimo").rename(competition / "kaggle_evaluation")
    server = competition / "kaggle_evaluation/aimo_3_inference_server.py"
    (competition / "kaggle_evaluation/__init__.py").rename(server)
    server.write_text(GATEWAY.replace("make_env():", "AIMO3InferenceServer(predict):").replace(
        '"aimo-1"', '"aimo-3"').replace("make_env()", "AIMO3InferenceServer(predict)"))  # fmt: skip
    ran = Ran(kit, inputs, tmp_path / "work", **RERUN)
    assert ran.error == "", ran.traceback
    assert "goes on without: edition = 'aimo-1'" in ran.text
    assert set(ran.answers) == {"229ee8", "246d26"}


@pytest.mark.kernel
def test_a_save_run_gets_the_time_of_its_few_problems(inputs: Path) -> None:
    csv = inputs / "competitions" / SLUG / "test.csv"
    short = brief(Config(edition="aimo-1"), csv)
    assert short.problems == 2
    assert short.total_time_s == 1200 + 2 * 9 * 3600 / 50
    assert brief(Config(total_time_s=60), csv).total_time_s == 60


# Analysed


@pytest.mark.kernel
@pytest.mark.xdist_group("notebook")
def test_the_analysis_notebook_reads_what_a_run_left(
    tiny: Path, finished: Ran, tmp_path: Path
) -> None:
    version = tmp_path / "runs/aimo-submit/3"
    shutil.copytree(finished.folder, version)
    book = nbformat.read(tiny / "notebooks/analysis.ipynb", 4)
    where = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(book, timeout=300, resources=where, kernel_name="python3")
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    shown = "".join(str(output) for cell in book.cells for output in cell.get("outputs", []))
    assert "aimo-submit/3: 2 problems, " in shown
    assert "229ee8" in shown
    assert shown.count("image/png") == 2


def test_a_folder_without_traces_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="aimo-submit output"):
        frames.newest(tmp_path)
    with pytest.raises(UserError, match="aimo-submit output"):
        frames.problems(tmp_path)


# Checked


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the code in a process of its own, which imports this kit."""
    paths = {"PYTHONPATH": str(ROOT / "src"), "AIMO_SUBMIT_INPUT": "/nowhere", **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **paths}, capture_output=True, text=True
    )


@pytest.mark.parametrize("rerun", [False, True])
def test_missing_wheels_stop_the_interactive_run_alone(rerun: bool) -> None:
    code = (
        "import sys\n"
        "sys.modules['vllm'] = None\n"  # as where it is not installed
        "from aimo_submit.kaggle.runtime.steps import Notebook\n"
        "run = Notebook('engine = \"vllm\"')\n"
        "run.install()\n"
        "print('reached')"
    )
    done = python(code, **(RERUN if rerun else {}))
    said = "install: no wheels are mounted for vllm==0.19.1 transformers==4.57.6: attach"
    assert said in (done.stdout if rerun else done.stderr)
    assert ("reached" in done.stdout) is rerun


def test_nothing_that_pip_may_replace_is_loaded_before_the_wheels_are_in() -> None:
    """numpy, once loaded and then exchanged on the disk, fails in the middle of a run."""
    code = (
        "import sys\n"
        "from aimo_submit.kaggle.runtime.steps import Notebook\n"
        "Notebook('')\n"
        "files = [getattr(m, '__file__', None) or '' for m in list(sys.modules.values())]\n"
        "print(*(f for f in files if 'site-packages' in f and '_distutils' not in f))"
    )
    done = python(code)
    assert done.stdout.splitlines()[-1] == "", done


def test_a_machine_is_read_from_what_its_driver_says() -> None:
    lines = "Tesla T4, 15360, 7.5, 580.65.06\\nTesla T4, 15360, 7.5, 580.65.06\\n"
    machine = detect(["printf", lines])
    assert machine.gpus == (T4, T4)
    assert str(machine).startswith("2 x Tesla T4 (driver 580.65.06), ")
    assert recognise([gpu.name for gpu in machine.gpus]) == "t4x2"


@pytest.mark.parametrize(
    "command",
    [["no-such-nvidia-smi"], ["false"], ["echo", "NVIDIA-SMI has failed: no driver"]],
)
def test_a_machine_without_a_driver_has_no_gpus(command: list[str]) -> None:
    machine = detect(command)
    assert machine.gpus == ()
    assert machine.cpus >= 1
    assert machine.memory_gib > 0


VLLM = Config(engine="vllm", engine_options={"tensor_parallel_size": 2, "dtype": "bfloat16"})


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        ([T4, T4], ["no bfloat16"]),
        ([T4], ["2 GPUs are wanted, 1 there", "no bfloat16"]),
        ([Gpu("Tesla P100-PCIE-16GB", 16.0, (6, 0))], ["too old for vllm"]),
        ([Gpu("NVIDIA L4", 22.0, (8, 9))] * 4, []),
    ],
)
def test_what_the_gpus_cannot_do_is_said_with_its_remedy(gpus: list[Gpu], said: list[str]) -> None:
    machine = Machine(tuple(gpus), "580.65.06", 4, 30.0)
    faults = list(engine_faults(VLLM, machine, lambda package: ""))
    assert len(faults) == len(said)
    assert all(words in fault.text for words, fault in zip(said, faults, strict=True))
    assert all("set " in fault.text and fault.instead for fault in faults)


def test_an_engine_that_cannot_be_imported_is_done_without() -> None:
    machine = Machine((T4, T4), "580.65.06", 4, 30.0)
    (fault,) = engine_faults(VLLM, machine, lambda package: "ImportError: libcudart.so.12")
    assert "libcudart.so.12" in fault.text
    assert "notebooks/wheels" in fault.text
    assert fault.instead == {"engine": "transformers", "engine_options": {}}


def test_another_model_than_the_cards_is_noticed() -> None:
    tiny = ROOT / "models/tiny-tir"
    size = Size(7_000_000_000, 30, 4096, 32, 128, 11008, 102400)
    card = Card("numina", tiny, "numina_tir", 4096, size=size)
    assert "hidden_size" in next(model_faults(card)).text
    assert not list(model_faults(Card("tiny-tir", tiny, "numina_tir", 2048)))
