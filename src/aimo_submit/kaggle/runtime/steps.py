"""The steps of the submission notebook, one a cell.

In the interactive run whatever is wrong stops the notebook, early and with one line. In the
competition's rerun nothing does: a step that fails is told in the log and done without, since any
answer is worth more than no submission. In the end `predict` gives fallbacks by itself.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.kaggle.runtime import brief
from aimo_submit.kaggle.runtime.gateway import package_faults, put_first, serve
from aimo_submit.kaggle.runtime.mounts import (
    REQUIREMENTS,
    Mounts,
    input_root,
    install_wheels,
    present,
    survey,
)
from aimo_submit.kaggle.runtime.predictor import Predictor, Watch
from aimo_submit.kaggle.runtime.setup import (
    OVERLAY,
    RERUN,
    Fault,
    Setup,
    engine_faults,
    read_settings,
)
from aimo_submit.machines.detect import AMPERE, NO_PEER_TO_PEER, Machine, detect
from aimo_submit.records import Problem, Status
from aimo_submit.solver import Solver
from aimo_submit.start import start_solver

SAMPLE_S = 300.0
SAMPLES = 8  # of the sample problem
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}  # before anything heavy is loaded


class Stop(UserError):
    """Ends the interactive run; a notebook shows its line and no traceback."""

    def _render_traceback_(self) -> list[str]:  # IPython's name
        return [f"aimo-submit: {self}"]


class Notebook:
    """One run of the submission notebook; `settings` are TOML."""

    def __init__(self, settings: str) -> None:
        self.rerun = bool(os.environ.get(RERUN))
        os.environ.update({**_OFFLINE, **os.environ})
        given, wrong = read_settings(settings, os.environ.get(OVERLAY, ""))
        self._setup = Setup(given, Mounts(input_root(), {}), Machine((), "", 1, 0.0))
        self._complain(wrong)
        self._step("inputs", self._look)

    def install(self) -> None:
        """Installs the engine from mounted wheels, where the image lacks it."""
        self._step("install", self._install)

    def check(self) -> None:
        """Compares what the settings want with what is there."""
        self._step("check", self._check)

    def solve(self, text: str) -> None:
        """Solves one problem and shows its work; in a rerun there is no time to lose."""
        if self.rerun:
            print("competition rerun: straight on to serve", flush=True)
        else:
            self._step("sample problem", lambda: self._solve(text))

    def serve(self) -> None:
        """Answers every problem of the competition; leaves the submission file in a save run."""
        self._step("package", self._add_package)
        if self.rerun:
            config = [Config.of({"edition": self._setup.edition})]
            self._step("settings", lambda: config.append(self._setup.config))
            self._predict(config[-1])
        else:
            self._step("serve", self._serve)

    def _step(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Stop:
            raise
        except UserError as error:
            self._complain([f"{name}: {error}"])
        except BaseException as error:  # in a rerun, nothing may keep `serve` from being reached
            if not self.rerun:
                raise
            self._complain([f"{name}: {type(error).__name__}: {error}"])

    def _complain(self, faults: Sequence[str]) -> None:
        if faults and not self.rerun:
            raise Stop("; ".join(faults)) from None
        for fault in faults:
            print(f"goes on without: {fault}", flush=True)

    def _look(self) -> None:
        setup = self._setup
        setup.mounts, setup.machine = survey(setup.mounts.root), detect()
        gpus = setup.machine.gpus
        if len(gpus) > 1 and all(gpu.older_than(AMPERE) for gpu in gpus):
            os.environ.update({**NO_PEER_TO_PEER, **os.environ})
        kind = "competition rerun" if self.rerun else "interactive run"
        print(f"{kind} on {setup.machine}\n{setup.config.to_toml()}", flush=True)

    def _install(self) -> None:
        engine = self._setup.config.engine
        wanted = REQUIREMENTS.get(engine, ())
        if not wanted or present(engine):
            print(f"{engine}: nothing to install", flush=True)
            return
        folders = self._setup.mounts.wheels(engine)
        install_wheels(wanted, folders)
        print(f"installed {' '.join(wanted)} from {folders[0]}", flush=True)

    def _check(self) -> None:
        setup = self._setup
        _tell("model", setup.models)
        _tell("problems", setup.mounts.problems(setup.edition))
        _tell("package", setup.mounts.packages(setup.edition))
        faults = [
            *self._found("edition", setup.edition_faults),
            *self._found("package", lambda: package_faults(setup.competition, setup.mounts)),
            *self._found("model", setup.model_faults),
            *self._found("engine", lambda: engine_faults(setup.config, setup.machine)),
        ]
        self._complain([fault.text for fault in faults])
        for fault in faults:
            setup.give_in(fault.instead)
        print(f"goes on with\n{setup.config.to_toml()}" if faults else "check passed", flush=True)

    def _found(self, what: str, find: Callable[[], Iterable[Fault]]) -> list[Fault]:
        faults: list[Fault] = []
        self._step(what, lambda: faults.extend(find()))
        return faults

    def _solve(self, text: str) -> None:
        from rich.console import Console

        from aimo_submit import show

        config = self._setup.config
        few = dataclasses.replace(
            config,
            samples=min(SAMPLES, config.samples),
            total_time_s=None,
            problem_timeout_s=SAMPLE_S,
        )
        with start_solver(few, self._setup.card) as solver:
            solution = solver.solve(Problem("sample", text))
        console = Console(width=100, force_jupyter=False)  # text, which the log can hold
        console.print(show.work(solution))
        console.print(show.solution_line(solution))
        if all(trace.status is Status.FAILED for trace in solution.traces):
            raise UserError(f"every sample failed: {solution.reason}; see above")

    def _serve(self) -> None:
        if not self._setup.csv.is_file():
            raise UserError("no test.csv is mounted: attach the competition to the notebook")
        self._predict(brief(self._setup.config, self._setup.csv))
        file = self._setup.competition.submission
        if not Path(file).is_file():
            raise UserError(f"the competition's gateway left no {file}; see above")

    def _predict(self, config: Config) -> None:
        with Predictor(self._start, config, Path()) as predictor:
            serve(predictor, self._setup.csv)

    def _start(self, config: Config, watch: Watch) -> Solver:
        """A solver; without a model this raises, and `predict` gives fallbacks."""
        return start_solver(config, self._setup.card, watch=watch)

    def _add_package(self) -> None:
        package = self._setup.competition.package
        for folder in self._setup.mounts.packages(self._setup.edition)[:1]:
            assert package
            put_first(folder, package)


def _tell(what: str, found: Sequence[Path]) -> None:
    others = f", not {', '.join(map(str, found[1:]))}" if found[1:] else ""
    print(f"{what}: {found[0] if found else 'none is mounted'}{others}")
