"""A rehearsal: the built notebook in a real kernel, as Kaggle would run it, and a verdict.

First the interactive ("save version") run on a few problems, then the competition's rerun on all
of them. Not reproduced: Kaggle's image, its GPUs, and the load of the machine beside it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
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
from aimo_submit.errors import UserError, install
from aimo_submit.kaggle.rehearsal import faults
from aimo_submit.kaggle.rehearsal.player import Play
from aimo_submit.kaggle.rehearsal.tree import Row, Tree, as_toml, environment, plant
from aimo_submit.kaggle.rehearsal.verdict import Result, judge
from aimo_submit.kaggle.runtime.time_limits import GRACE_S, WIND_UP_S
from aimo_submit.records import Problem

SHOWN = 3  # problems that the interactive run has
WIND_UP_LEAST_S = 15.0
CHAOS_ANSWER_S = 10.0  # for a problem, so that what hangs does not take hours
LATE_S = 30.0  # the stage may take after its limit, to end everything

Tell = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is rehearsed, and on what."""

    notebook: Path
    edition: str
    problems: Sequence[Problem]
    card: Card
    layout: str = "new"
    package: Path | None = None  # the competition's own, where it was downloaded
    speed: float = 60.0  # an hour is a minute
    settings: Mapping[str, Any] = field(default_factory=dict)
    scripted: bool = False  # an engine that answers at once, in place of the model
    keep: Path | None = None

    @property
    def competition(self) -> Competition:
        """The facts of the edition."""
        return competition_named(self.edition)

    @property
    def limit_s(self) -> float:
        """Of one run."""
        return self.competition.hours * 3600 / self.speed

    @property
    def total_s(self) -> float:
        """What the notebook may plan with."""
        return self.limit_s - max(WIND_UP_LEAST_S, WIND_UP_S / self.speed)

    @property
    def longest_answer_s(self) -> float:
        """What the gateway itself allows for one answer."""
        package = self.competition.package
        return math.inf if package is None or package.answer_s is None else package.answer_s

    @property
    def answer_s(self) -> float:
        """What the notebook may take for one answer."""
        return self.longest_answer_s / self.speed - 2 * GRACE_S


def checked(plan: Plan) -> Plan:
    """The plan, if it can be played here."""
    if plan.total_s < WIND_UP_LEAST_S or plan.answer_s < 1:
        raise UserError(
            f"--speed {plan.speed:g} leaves {plan.edition} no time: at most {fastest(plan):.1f}"
        )
    if sys.platform != "linux":
        raise UserError("rehearsals run on Linux only: use a container or WSL")
    try:
        import nbclient  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error}: {install('kaggle')}") from error
    return plan


def fastest(plan: Plan) -> float:
    """The speed beyond which the limits are shorter than what does not shrink."""
    run = plan.competition.hours * 3600 / (2 * WIND_UP_LEAST_S)
    return min(run, plan.longest_answer_s / (2 * GRACE_S + 1))


def rehearse(plan: Plan, *, rerun: bool, case: str = "", tell: Tell = lambda event: None) -> Result:
    """How one run of the notebook went, with the case's faults."""
    with folder(plan, rerun, case) as root:
        tree = Tree(root, plan.edition, plan.layout, plan.card)
        play = prepare(plan, tree, rerun=rerun, case=case)
        events = []
        for event in played(tree, play):
            events.append(event)
            tell(event)
        return judge(tree, events, case=case, rerun=rerun, limit_s=plan.limit_s)


def prepare(plan: Plan, tree: Tree, *, rerun: bool, case: str) -> Play:
    """What is to be played, its tree being made."""
    injected = faults.faults_of(case) if case else {}
    rows: Sequence[Row] = [(p.id, p.text) for p in plan.problems]
    rows = rows if rerun else rows[:SHOWN]
    for fault in injected.values():
        rows = fault.rows(rows)
    plant(tree, rows, plan.package, plan.speed)
    for fault in injected.values():
        fault.plant(tree)
    hooks = faults.hooks_of(case) if case else []
    if plan.scripted and not any(fault.loads for fault in injected.values()):
        hooks.append("scripted")
    config = as_toml(settings(plan, len(rows), case))
    variables = environment(tree, rerun=rerun, config=config, chaos=hooks)
    return Play(
        notebook=str(plan.notebook.resolve()),
        working=str(tree.working),
        inputs=str(tree.inputs),
        environment=variables,
        limit_s=plan.limit_s,
        gateway=gateway(tree) if rerun and plan.package else (),
        injections=faults.injections_of(case) if case else (),
        small_disk="disk-full" in injected,
    )


def settings(plan: Plan, problems: int, case: str) -> dict[str, Any]:
    """What is laid over the notebook's own settings."""
    answer_s = min(plan.answer_s, CHAOS_ANSWER_S if case else math.inf)
    made: dict[str, Any] = {
        "model": plan.card.name,
        "engine": "transformers",
        "engine_options": {},
        "edition": plan.edition,
        "total_time_s": plan.total_s,
        "problems": problems,
        **({} if math.isinf(answer_s) else {"problem_timeout_s": answer_s}),
        **plan.settings,
    }
    for fault in (faults.faults_of(case) if case else {}).values():
        made |= fault.config
    return made


def gateway(tree: Tree) -> Sequence[str]:
    """Returns the command of a gateway that is a process of its own; nothing where none is."""
    package = competition_named(tree.edition).package
    if package is None or not package.gateway:
        return ()
    code = (
        f"import sys; sys.path.insert(0, {str(tree.competition)!r}); "
        f"from {package.gateway} import {package.gateway_name} as Gateway; "
        f"Gateway(({str(tree.csv)!r},)).run()"
    )
    return (sys.executable, "-c", code)


def played(tree: Tree, play: Play) -> Iterator[dict[str, Any]]:
    """What happens while the notebook runs; at the end nothing of it is left running."""
    file = tree.root / "play.json"
    file.write_text(json.dumps(asdict(play)), encoding="utf-8")
    own = {
        **os.environ,
        "HOME": str(tree.root / "home"),
        "JUPYTER_RUNTIME_DIR": str(tree.root / "run"),
        "JUPYTER_DATA_DIR": str(tree.root / "data"),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    command = (sys.executable, "-m", "aimo_submit.kaggle.rehearsal.player", str(file))
    stage = subprocess.Popen(command, stdout=subprocess.PIPE, env=own, start_new_session=True)
    assert stage.stdout
    try:
        for line in stage.stdout:
            yield json.loads(line)
        stage.wait(LATE_S)
    finally:
        _end(stage)


def _end(stage: subprocess.Popen[bytes]) -> None:
    stage.terminate()  # it ends all that is below it first
    with suppress(subprocess.TimeoutExpired):
        stage.wait(LATE_S)
    stage.kill()
    stage.wait()
    if stage.stdout:
        stage.stdout.close()


@contextmanager
def folder(plan: Plan, rerun: bool, case: str) -> Iterator[Path]:
    """A folder for one run, which is removed unless it is to be kept."""
    if plan.keep is None:
        with tempfile.TemporaryDirectory(prefix="rehearse-", ignore_cleanup_errors=True) as made:
            Path(made).chmod(0o755)  # model-written code runs under users of its own
            yield Path(made)
        return
    path = plan.keep.resolve() / f"{case or 'plain'}-{'rerun' if rerun else 'interactive'}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    yield path
