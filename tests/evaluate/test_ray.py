"""Problems solved by actors: the same answers as without, and a lost actor loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from aimo_submit.cards import config_for
from aimo_submit.cli import main
from aimo_submit.competition import competition_named
from aimo_submit.config import Config, settings_of
from aimo_submit.errors import EngineDied, UserError, install
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.evaluate.ray import Actors, Share, share_of
from aimo_submit.evaluate.runner import evaluate, solving
from aimo_submit.journal import Journal, key_of, solutions_in
from aimo_submit.records import Problem, Solution
from aimo_submit.start import start_solver

CONFIG = Config(samples=2)


class Echo:
    """A solver that answers with the length of the problem's text; some texts end its process."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self) -> int:
        return os.getpid()

    def solve(self, problem: Problem, seed: int) -> Solution:
        if problem.text == "poison":
            os._exit(1)
        if problem.text == "fault":
            raise UserError("this problem cannot be solved")
        if problem.text == "late":
            raise TimeoutError("too late")
        time.sleep(0.05)
        return Solution(problem, len(problem.text), [], [], seed, 0.1, f"by {os.getpid()}")

    def close(self) -> None:
        pass


class Homeless(Echo):
    """A solver without its model."""

    def start(self) -> int:
        raise UserError("no model here")


class Stillborn(Echo):
    """A solver whose process dies while the model loads."""

    def start(self) -> int:
        os._exit(1)


pytestmark = [pytest.mark.model, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def problems(count: int) -> list[Problem]:
    """Problems that Echo tells apart."""
    return [Problem(str(k), "x" * k) for k in range(count)]


def solved(actors: Actors, problems: list[Problem], seed: int = 0) -> list[Solution]:
    """The problems' solutions, in the order in which they came."""
    return list(actors.solve(deque((p, seed) for p in problems)))


@pytest.mark.timeout(600)
def test_a_killed_actor_loses_nothing_and_the_answers_are_those_of_one_solver(
    tmp_path: Path,
) -> None:
    config, card = config_for({"samples": 6, "edition": "aimo-2"})
    tasks = [(p, 0) for p in load_problems("tiny", competition_named("aimo-2"))[:8]]
    with (
        Journal(tmp_path / "one.jsonl", settings_of(config)) as journal,
        start_solver(config, card) as solver,
    ):
        evaluate(solving(solver, 2), tasks, journal)

    with (
        Journal(tmp_path / "many.jsonl", settings_of(config)) as journal,
        Actors(config, actors=2, at_once=2) as actors,
    ):
        actors.wait_for(2)
        killed: list[int] = []

        def kill_one(solution: Solution) -> None:
            if not killed:
                killed.extend(list(actors.pids.values())[:1])
                os.kill(killed[0], signal.SIGKILL)

        evaluate(actors.solve, tasks, journal, report=kill_one)
        assert killed[0] not in actors.pids.values()

    one, many = (list(solutions_in(tmp_path / name)) for name in ("one.jsonl", "many.jsonl"))
    assert Counter(key_of(s.problem, s.seed) for s in many) == Counter(key_of(*t) for t in tasks)
    by_id = {s.problem.id: s for s in one}
    assert {s.problem.id: s.answer for s in many} == {k: s.answer for k, s in by_id.items()}
    texts = [
        (a.text, b.text)
        for s in many
        for a, b in zip(s.traces, by_id[s.problem.id].traces, strict=True)
    ]
    assert sum(a == b for a, b in texts) >= 0.95 * len(texts)  # one core adds in another order


def test_both_actors_work_and_each_problem_is_solved_once() -> None:
    with Actors(CONFIG, actors=2, solver=Echo) as actors:
        actors.wait_for(2)
        solutions = solved(actors, problems(20), seed=7)
    assert sorted(s.answer for s in solutions) == list(range(20))
    assert {s.seed for s in solutions} == {7}
    assert len({s.reason for s in solutions}) == 2


@pytest.mark.timeout(120)
def test_a_problem_that_ends_every_actor_is_given_up_and_the_others_are_solved() -> None:
    answers: list[int] = []
    with Actors(CONFIG, actors=2, solver=Echo) as actors:
        jobs = deque((p, 0) for p in [Problem("p", "poison"), *problems(6)])
        with pytest.raises(EngineDied, match="problem p"):
            answers.extend(solution.answer for solution in actors.solve(jobs))
    assert sorted(answers) == list(range(6))


def test_an_error_of_the_user_comes_back_as_it_was_raised() -> None:
    with Actors(CONFIG, actors=1, solver=Echo) as actors:
        with pytest.raises(UserError, match="^this problem cannot be solved$"):
            solved(actors, [Problem("f", "fault")])
        with pytest.raises(TimeoutError, match="^too late$"):  # not taken for a wait of our own
            solved(actors, [Problem("l", "late")])
        assert [s.answer for s in solved(actors, [Problem("g", "fine")])] == [4]


def test_a_model_that_no_actor_can_load_ends_the_run_with_its_reason() -> None:
    with pytest.raises(UserError, match="^no model here$"), Actors(CONFIG, solver=Homeless):
        pass
    with pytest.raises(EngineDied), Actors(CONFIG, actors=2, solver=Stillborn):
        pass


def test_a_run_that_is_left_leaves_no_actor_behind() -> None:
    with Actors(CONFIG, actors=2, solver=Echo) as actors:
        solutions = actors.solve(deque((p, 0) for p in problems(200)))
        next(solutions)
        pids = list(actors.pids.values())
        solutions.close()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "an actor outlived its run"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("resources", "options", "asked", "share"),
    [
        ({"CPU": 8, "GPU": 4, "node:a": 1}, {}, None, Share(4, 2, 1)),
        ({"CPU": 8, "GPU": 4, "node:a": 1}, {"tensor_parallel_size": 2}, None, Share(2, 4, 2)),
        ({"CPU": 8, "GPU": 4, "node:a": 1}, {}, 2, Share(2, 4, 1)),
        ({"CPU": 8, "node:a": 1, "node:b": 1, "node:__internal_head__": 1}, {}, None,
         Share(2, 4, 0)),
        ({"CPU": 2, "node:a": 1}, {}, 4, Share(4, 0.5, 0)),
    ],
)  # fmt: skip
def test_each_actor_has_its_share_of_the_cluster(
    resources: dict[str, float], options: dict[str, int], asked: int | None, share: Share
) -> None:
    config = Config(engine="vllm", engine_options=options)
    assert share_of(resources, config, asked) == share


def test_more_actors_than_the_gpus_allow_are_refused() -> None:
    config = Config(engine="vllm", engine_options={"tensor_parallel_size": 2})
    with pytest.raises(UserError, match="1 GPU.*fewer --actors, or a smaller tensor_parallel"):
        share_of({"CPU": 8, "GPU": 1}, config, None)


def test_an_actor_keeps_no_more_threads_busy_than_it_has_cpus() -> None:
    config = Share(2, 3.0, 0).of(Config(model="cards/mine.toml"))
    assert config.engine_options == {"threads": 3}
    assert config.sandbox_workers == 3
    assert Path(config.model).is_absolute(), "actors work in another folder"
    assert Share(4, 0.5, 0).of(Config()).sandbox_workers == 1
    chosen = Config(engine_options={"threads": 1}, sandbox_workers=7)
    assert Share(1, 8.0, 0).of(chosen) == chosen


@pytest.mark.parametrize(
    ("before", "address", "message"),
    [
        ("sys.modules['ray'] = None", "auto", f": {install('ray')}"),
        ("", "127.0.0.1:1", "no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_without_ray_or_a_cluster_one_line_says_what_to_do(
    tmp_path: Path, before: str, address: str, message: str
) -> None:
    code = f"import sys; {before}\n"
    code += "from aimo_submit.cli import main; sys.exit(main(sys.argv[1:]))"
    asked = ["eval", "tiny", "--limit", "1", "--ray", address, "--out", str(tmp_path / "j.jsonl")]
    done = subprocess.run(
        [sys.executable, "-c", code, *asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(300)
def test_the_command_records_a_pool_on_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--limit", "2", "--samples", "3", "--rounds", "2", "--edition", "aimo-2"]
    assert main(["eval", "tiny", *sizes, "--out", f"{tmp_path}/", "--ray", "--actors", "2"]) == 0
    assert "3 a problem, 6 in all" in capsys.readouterr().out


def test_actors_without_a_cluster_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "tiny", "--actors", "2"]) == 2
    assert "give --ray too" in capsys.readouterr().err
