"""An evaluation on the bundled model: killed at any point, it resumes and loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from aimo_submit.cli import main
from aimo_submit.config import Config, settings_of
from aimo_submit.engines import Engine
from aimo_submit.engines.scripted import ScriptedEngine, ScriptedSandbox
from aimo_submit.errors import EngineDied
from aimo_submit.evaluate.runner import evaluate, problems_at_once, remaining, solving
from aimo_submit.formats.families import FORMATS
from aimo_submit.journal import Journal, key_of, solutions_in
from aimo_submit.pool.arrays import load_pool
from aimo_submit.records import Execution, Outcome, Problem, Solution
from aimo_submit.sandbox import Sandbox
from aimo_submit.solver import Solver
from tests.scripted import ANSWER, ASK, replies

PROBLEMS, SEEDS, SAMPLES = 6, 2, 8


def eval_command(out: Path) -> list[str]:
    """A small evaluation of the bundled model as a user would start it."""
    sizes = ["--limit", str(PROBLEMS), "--seeds", str(SEEDS), "--samples", str(SAMPLES)]
    return [sys.executable, "-m", "aimo_submit", "eval", "tiny", *sizes, "--out", str(out)]


def lines_in(path: Path) -> int:
    """Whole lines in the file so far."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_after(out: Path, lines: int) -> None:
    """Starts the evaluation and kills it with SIGKILL once the journal has that many lines."""
    process = subprocess.Popen(eval_command(out), stdout=subprocess.DEVNULL)
    while lines_in(out) < lines and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)  # well into the next problems
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.model
@pytest.mark.timeout(600)
def test_a_killed_evaluation_resumes_to_the_same_samples(tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    subprocess.run(eval_command(whole), check=True, capture_output=True)
    for lines in (0, 2, 7):
        kill_after(torn, lines)
    done = subprocess.run(eval_command(torn), check=True, capture_output=True, text=True)
    assert "maj@8" in done.stdout
    reference = {key_of(s.problem, s.seed): s for s in solutions_in(whole)}
    resumed = list(solutions_in(torn))
    counts = Counter(key_of(s.problem, s.seed) for s in resumed)
    assert counts == Counter(dict.fromkeys(reference, 1))
    assert len(counts) == PROBLEMS * SEEDS
    pairs = [(s, reference[key_of(s.problem, s.seed)]) for s in resumed]
    assert all(a.answer == b.answer for a, b in pairs)
    same = sum(
        ta.text == tb.text for a, b in pairs for ta, tb in zip(a.traces, b.traces, strict=True)
    )
    assert same >= 0.99 * PROBLEMS * SEEDS * SAMPLES


def scripted_solver(config: Config, *engines: Engine) -> Solver:
    """A real solver on scripted engines, started one after the other."""
    rest = iter(engines)

    async def engine() -> Engine:
        return next(rest)

    async def sandbox() -> Sandbox:
        return ScriptedSandbox(lambda code: Execution(Outcome.OK, "42", 0.0))

    return Solver(config, FORMATS["numina_tir"], engine, sandbox)


def test_each_problem_is_on_disk_before_another_begins(tmp_path: Path) -> None:
    config = Config(samples=2)
    problems = [Problem(str(k), f"problem {k}") for k in range(5)]
    held: list[int] = []

    with (
        Journal(tmp_path / "j.jsonl", settings_of(config)) as journal,
        scripted_solver(config, ScriptedEngine(replies(ASK, ANSWER))) as solver,
    ):

        def report(solution: Solution) -> None:
            held.append(len(list(solutions_in(tmp_path / "j.jsonl"))))

        evaluate(solving(solver), remaining(problems, [0], journal), journal, report=report)
    assert held == [1, 2, 3, 4, 5]


def test_small_problems_share_the_engine_and_timed_ones_do_not() -> None:
    assert problems_at_once(Config(samples=48)) == 1
    assert problems_at_once(Config(samples=16)) == 4
    assert problems_at_once(Config(samples=16, problem_timeout_s=60)) == 1


@pytest.mark.model
def test_a_killed_run_leaves_no_process_behind(tmp_path: Path) -> None:
    out = tmp_path / "j.jsonl"
    process = subprocess.Popen(eval_command(out), stdout=subprocess.DEVNULL)
    while lines_in(out) < 2 and process.poll() is None:
        time.sleep(0.05)
    children = descendants(process.pid)
    assert children, "the sandbox was running"
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline, "a sandbox process outlived its run"
        time.sleep(0.05)


def descendants(pid: int) -> set[int]:
    """The processes below one, by /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {pid, os.getpid()}


@pytest.mark.model
@pytest.mark.timeout(300)
def test_a_pool_grows_by_seeds_and_ends_no_sample_early(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = f"{tmp_path}/pool/"
    sizes = ["--limit", "2", "--samples", "4", "--rounds", "2"]

    def record(*more: str) -> str:
        assert main(["eval", "tiny", *sizes, "--out", pool, *more]) == 0
        return capsys.readouterr().err

    told = record("--seeds", "2", "-c", "early_stop=0.1", "-c", "total_time_s=60")
    assert "total_time_s, early_stop left aside" in told
    first = load_pool(Path(pool))
    assert first.present.sum(axis=1).tolist() == [8, 8]
    assert first.settings["early_stop"] is None
    assert "4 solved before, 0 to go" in record("--seeds", "2")
    assert "2 solved before, 2 to go" in record("--seed", "1", "--seeds", "2")
    assert sorted(path.name for path in Path(pool).glob("*.jsonl")) == [
        "tiny-0.jsonl",
        "tiny-1.jsonl",
    ]
    assert load_pool(Path(pool)).present.sum(axis=1).tolist() == [12, 12]
    other = ["--seed", "9", "--samples", "4", "--rounds", "3", "--limit", "1", "--out", pool]
    assert main(["eval", "tiny", *other]) == 2
    assert "has rounds = 2, this run has 3" in capsys.readouterr().err
    assert load_pool(Path(pool)).tokens.shape == (2, 12, 2), "what was refused left nothing behind"


def dying(times: int) -> ScriptedEngine:
    """An engine whose first completions, that many, end in its death."""
    left = iter(range(times))
    well = replies(ASK, ANSWER)

    def script(prompt: str, sampling: object) -> str:
        if next(left, None) is not None:
            raise EngineDied("out of memory")
        return well(prompt, sampling)

    return ScriptedEngine(script)


@pytest.mark.parametrize("deaths", [1, 2, 4])
def test_a_problem_under_which_the_engine_dies_is_redone(tmp_path: Path, deaths: int) -> None:
    config = Config(samples=2)
    problems = [Problem("a", "first", 42), Problem("b", "second", 42)]
    with (
        Journal(tmp_path / "j.jsonl", settings_of(config)) as journal,
        scripted_solver(config, dying(deaths)) as solver,
    ):
        evaluate(solving(solver), remaining(problems, [0], journal), journal)
    solutions = list(solutions_in(tmp_path / "j.jsonl"))
    assert [(s.problem.id, s.answer) for s in solutions] == [("a", 42), ("b", 42)]
    assert all(t.answer == 42 for s in solutions for t in s.traces)


def test_a_run_without_any_engine_ends_and_records_nothing_false(tmp_path: Path) -> None:
    config = Config(samples=2)
    with (
        Journal(tmp_path / "j.jsonl", settings_of(config)) as journal,
        scripted_solver(config, dying(1000)) as solver,
    ):
        with pytest.raises(EngineDied, match="problem a"):
            evaluate(solving(solver), [(Problem("a", "first", 42), 0)], journal)
        assert list(solutions_in(journal.path)) == []
