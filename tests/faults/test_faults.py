"""Whatever goes wrong on Kaggle, done to a rehearsed notebook: every problem gets its answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aimo_submit.kaggle.rehearsal.rehearsal import rehearse
from tests import ROOT
from tests.faults.cases import ALL, Case, cases_of
from tests.kaggle.rehearsing import built, passes, rehearsal_of

pytest.importorskip("nbclient")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook that the tree builds."""
    return built(tmp_path_factory.mktemp("built"))


IN_PROBLEMS = "long-problem+empty-problem+null-problem+non-ascii+quoted-ids"
IN_ENGINE = "engine-dies+engine-exits+engine-memory+engine-hangs+loop-blocked"
CASES = [
    # the case, problems, fallbacks that it may cost
    (IN_PROBLEMS, 2, 2),
    ("integer-ids+config-invalid", 2, 0),
    ("float-ids+clock-jumps", 2, 0),
    (IN_ENGINE, 7, 6),
    ("engine-unloadable", 2, 2),
    ("model-missing", 2, 2),
    ("model-truncated", 2, 2),
    ("no-gpu", 2, 2),
    ("wheels-missing", 2, 2),
    ("wheels-broken", 2, 2),
    ("out-of-memory", 4, 3),
    ("disk-full", 4, 0),
    ("sandbox-killed", 4, 4),
    ("sandbox-storm", 4, 4),
    ("paused", 4, 1),
]


@pytest.mark.kernel
@pytest.mark.parametrize(("case", "problems", "lost"), CASES, ids=[case for case, _, _ in CASES])
def test_whatever_goes_wrong_every_row_of_the_rerun_is_answered(
    case: str, problems: int, lost: int, notebook: Path
) -> None:
    # Where nothing hangs an answer comes at once, and a busy machine may take its time for it;
    # where memory is out it is the model itself that answers.
    answer_s = 30 if lost == 0 else 10 if case == "out-of-memory" else 4
    settings = {"samples": 2, "problem_timeout_s": answer_s}
    rehearsal = rehearsal_of(notebook, problems=problems, settings=settings)
    faults = Case(case, scripted=True)
    result = passes(rehearse(rehearsal, rerun=True, faults=faults))
    assert result.rows == result.problems >= problems
    assert result.fallbacks is not None
    assert result.fallbacks <= lost
    assert bool(result.injected) == bool(faults.injections)


def test_every_case_that_needs_no_gpu_is_among_those_tested() -> None:
    tested = {name for case, _, _ in CASES for name in case.split("+")}
    assert tested == set(cases_of([ALL], "transformers"))
    assert len(tested) == 25


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("case", "word"),
    [("model-missing", "model"), ("config-invalid", "samples"), ("wheels-broken", "wheels")],
)
def test_the_interactive_run_stops_early_and_says_why(case: str, word: str, notebook: Path) -> None:
    faults = Case(case, scripted=True)
    result = passes(rehearse(rehearsal_of(notebook), rerun=False, faults=faults))
    assert word in result.stopped
    assert result.rows == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [(["engine-hang"], "known are"), (["engine-killed"], "--engine vllm")],
)
def test_misuse_of_chaos_is_one_line_and_code_2(words: list[str], said: str) -> None:
    command = [sys.executable, "-m", "tests.faults.chaos", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
