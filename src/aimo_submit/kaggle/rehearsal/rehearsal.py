"""A rehearsal: the built notebook in a real kernel, as Kaggle would run it, and a verdict.

First the interactive ("save version") run on a few problems, then the competition's rerun on all
of them. Not reproduced: Kaggle's image, its GPUs, and the load of the machine beside it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aimo_submit.cards import Card
from aimo_submit.competition import Competition, competition_named
from aimo_submit.errors import UserError, need
from aimo_submit.kaggle.rehearsal import player, real_gateway
from aimo_submit.kaggle.rehearsal.fake_gateway import start_limit_s
from aimo_submit.kaggle.rehearsal.player import Faults, Job
from aimo_submit.kaggle.rehearsal.tree import Question, Tree, environment, plant
from aimo_submit.kaggle.rehearsal.verdict import Result, judge, kind
from aimo_submit.kaggle.runtime import GRACE_S, WIND_UP_S
from aimo_submit.records import Problem

SHOWN = 3  # problems that the interactive run has
WIND_UP_LEAST_S = 15.0
GATEWAY_PORT = 50051  # the first that the packages try; root has a network of its own
LATE_S = 30.0  # the player may take after its limit, to end everything

NONE = Faults()
Tell = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A notebook, and the competition and inputs on which it is rehearsed."""

    notebook: Path
    edition: str
    problems: Sequence[Problem]
    card: Card
    layout: str = "new"
    package: Path | None = None  # the competition's own, where it was downloaded
    python: Path = Path(sys.executable)  # that of the notebook
    speed: float = 60.0  # an hour is a minute
    settings: Mapping[str, Any] = field(default_factory=dict)
    keep: Path | None = None

    @property
    def competition(self) -> Competition:
        """The facts of the edition."""
        return competition_named(self.edition)

    @property
    def limit_s(self) -> float:
        """Seconds that one run may take."""
        return self.competition.hours * 3600 / self.speed

    @property
    def total_s(self) -> float:
        """Seconds that the notebook may plan with."""
        return self.limit_s - max(WIND_UP_LEAST_S, WIND_UP_S / self.speed)

    @property
    def longest_answer_s(self) -> float:
        """Seconds that the gateway itself allows for one answer."""
        package = self.competition.package
        return math.inf if package is None or package.answer_s is None else package.answer_s

    @property
    def answer_s(self) -> float:
        """Seconds that the notebook may take for one answer."""
        return self.longest_answer_s / self.speed - 2 * GRACE_S

    @property
    def fastest(self) -> float:
        """The speed beyond which the limits are shorter than what does not shrink."""
        run = self.competition.hours * 3600 / (2 * WIND_UP_LEAST_S)
        return min(run, self.longest_answer_s / (2 * GRACE_S + 1))

    def check(self) -> None:
        """Raises `UserError` where it cannot be played here."""
        if self.total_s < WIND_UP_LEAST_S or self.answer_s < 1:
            raise UserError(
                f"--speed {self.speed:g} leaves {self.edition} no time: at most {self.fastest:.1f}"
            )
        if sys.platform != "linux":
            raise UserError("rehearsals run on Linux only: use a container or WSL")
        need("nbclient", "kaggle")
        if self.package and os.geteuid() and not is_free(GATEWAY_PORT):
            raise UserError(
                f"port {GATEWAY_PORT}, the gateway's, is taken: end what has it, perhaps another "
                "rehearsal"
            )
        if not os.access(self.python, os.X_OK):
            raise UserError(f"--python {self.python}: no such program; give a Python's path")


def rehearse(
    rehearsal: Rehearsal, *, rerun: bool, faults: Faults = NONE, tell: Tell = lambda event: None
) -> Result:
    """Plays one run of the notebook and judges it; `tell` hears of its events as they come."""
    with _folder(rehearsal.keep, f"{faults.name or 'plain'}-{kind(rerun=rerun)}") as root:
        tree = Tree(root, rehearsal.edition, rehearsal.layout, rehearsal.card, rehearsal.python)
        job = prepare(rehearsal, tree, rerun=rerun, faults=faults)
        events = []
        for event in played(tree, job):
            events.append(event)
            tell(event)
        return judge(tree, events, job, faults, rerun=rerun)


def prepare(rehearsal: Rehearsal, tree: Tree, *, rerun: bool, faults: Faults) -> Job:
    """Makes the tree, and the job that is to be played in it."""
    questions: Sequence[Question] = [(p.id, p.text) for p in rehearsal.problems]
    questions = faults.change_questions(questions if rerun else questions[:SHOWN])
    plant(tree, questions, rehearsal.package, rehearsal.speed)
    faults.change_tree(tree)
    job = Job(
        notebook=str(rehearsal.notebook.resolve()),
        working=str(tree.working),
        inputs=str(tree.inputs),
        environment=environment(tree, rerun=rerun),
        settings=_settings(rehearsal, len(questions)),
        limit_s=rehearsal.limit_s,
        gateway=_gateway(tree, rehearsal.speed) if rerun and rehearsal.package else (),
        gateway_folder=str(tree.gateway),
    )
    return faults.change_job(job)


def _settings(rehearsal: Rehearsal, problems: int) -> dict[str, Any]:
    """The settings that are laid over the notebook's own."""
    answer_s = rehearsal.answer_s
    return {
        "model": rehearsal.card.name,
        "engine": "transformers",
        "engine_options": {},
        "edition": rehearsal.edition,
        "total_time_s": rehearsal.total_s,
        "problems": problems,
        **({} if math.isinf(answer_s) else {"problem_timeout_s": answer_s}),
        **rehearsal.settings,
    }


def _gateway(tree: Tree, speed: float) -> Sequence[str]:
    """Returns the command of a gateway that is a process of its own; nothing where none is."""
    package = competition_named(tree.edition).package
    if package is None or not package.gateway:
        return ()
    asked = (tree.competition, package.gateway, package.gateway_name, tree.csv)
    limits = (start_limit_s(package, speed), speed)
    return (str(tree.python), real_gateway.__file__, *map(str, (*asked, *limits)))


def played(tree: Tree, job: Job) -> Iterator[dict[str, Any]]:
    """The events of the run as they come; at the end nothing of it is left running."""
    file = tree.root / "job.json"
    file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    own = {
        **os.environ,
        "HOME": str(tree.root / "home"),
        "JUPYTER_RUNTIME_DIR": str(tree.root / "run"),
        "JUPYTER_DATA_DIR": str(tree.jupyter),
        "JUPYTER_PATH": str(tree.jupyter),  # its kernel before that of this environment
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    command = (sys.executable, "-m", player.__name__, str(file))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=own, start_new_session=True)
    assert process.stdout
    try:
        for line in process.stdout:
            yield json.loads(line)
        process.wait(LATE_S)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # it ends all that is below it first
    with suppress(subprocess.TimeoutExpired):
        process.wait(LATE_S)
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def is_free(port: int) -> bool:
    """True if nothing listens at the port of this machine."""
    try:  # unlike a plain bind it minds no connection that has just ended
        socket.create_server(("localhost", port)).close()
    except OSError:
        return False
    return True


@contextmanager
def _folder(keep: Path | None, name: str) -> Iterator[Path]:
    """A folder for one run, which is removed unless it is to be kept."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="rehearse-", ignore_cleanup_errors=True) as made:
            Path(made).chmod(0o755)  # model-written code runs under users of its own
            yield Path(made)
        return
    path = keep.resolve() / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    yield path
