"""`aimo-submit rehearse`: parses, calls, prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from aimo_submit.cards import load_card
from aimo_submit.cli.kaggle import Folder
from aimo_submit.cli.options import FAILED, Count, Settings, note, notes, say, values
from aimo_submit.competition import competition_named, names
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.kaggle.client import gate
from aimo_submit.kaggle.client.bundle import CONFIG, SUBMISSION, build, stale
from aimo_submit.kaggle.rehearsal import rehearsal
from aimo_submit.kaggle.rehearsal.faults import cases_of
from aimo_submit.kaggle.rehearsal.rehearsal import SHOWN, Plan, Tell, checked
from aimo_submit.kaggle.rehearsal.tree import LAYOUTS
from aimo_submit.kaggle.rehearsal.verdict import Result
from aimo_submit.toml import read_toml

RUNS = {"both": (False, True), "interactive": (False,), "rerun": (True,)}


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what a rehearsal is held.

    Args:
        limit: take the first K problems only
        edition: a competition, or its TOML file [default: the kernel's]
        model: card: a name that `models` lists, or a .toml
        engine: transformers, vllm or openai
        scripted: a scripted engine in place of a model
        speed: times as fast as Kaggle's clock goes
        layout: of the mounted data
        package: the downloaded kaggle_evaluation [default: the folder's, else a stand-in]
        run: the interactive run, the rerun on hidden problems, or both
        chaos: what goes wrong: names, A+B, or all
        settings: NAME=VALUE, any other setting: -c samples=8; may be repeated
        notebook: this one, as it is [default: the folder's, built anew where it is out of date]
        keep: folder in which to keep what the runs leave
    """

    limit: Count = 5
    edition: str | None = None
    model: str = "tiny-tir"
    engine: str = "transformers"
    scripted: bool = False
    speed: float = 60.0
    layout: Annotated[str, Parameter(choices=LAYOUTS)] = "new"
    package: Path | None = None
    run: Annotated[str, Parameter(choices=tuple(RUNS))] = "both"
    chaos: Annotated[tuple[str, ...], Parameter(consume_multiple=(1, None))] = ()
    settings: Settings = ()
    notebook: Path | None = None
    keep: Path | None = None
    folder: Folder = Path()


USUAL = Conditions()


def rehearse(problems: str = "tiny", /, *, under: Conditions = USUAL) -> int:
    """Runs the built notebook as Kaggle would, and judges it.

    Args:
        problems: a problem set, as for eval
    """
    plan = checked(_plan(problems, under))
    cases = cases_of(under.chaos, under.engine) or [""]
    results = [
        _watched(plan, rerun=rerun, case=case) for case in cases for rerun in RUNS[under.run]
    ]
    say(_table(results))
    for result in results:
        for line in _lines(result):
            say(line)
    passed = sum(result.passed for result in results)
    verdict = f"{passed} of {len(results)} runs passed"
    say(f"{verdict}; what they left is in {under.keep}" if under.keep else verdict)
    if passed < len(results):
        return FAILED
    if not (under.chaos or under.scripted or under.notebook) and under.run == "both":
        _mark(under.folder, plan, verdict)
    return 0


def _plan(problems: str, under: Conditions) -> Plan:
    if under.speed <= 0:
        raise UserError(f"--speed {under.speed}: must be more than 0")
    if under.notebook and not under.notebook.is_file():
        raise UserError(f"no notebook {under.notebook}; make one: aimo-submit build")
    if under.keep and under.keep.exists() and not under.keep.is_dir():
        raise UserError(f"--keep {under.keep}: is a file; name a folder")
    edition = under.edition or _edition(under.folder)
    package = _package(under.package, under.folder, edition)
    settings = {"engine": under.engine, **values(under.settings)}
    Config.of(settings)
    return Plan(
        notebook=under.notebook or _built(under.folder),
        edition=edition,
        problems=load_problems(problems, competition_named(edition))[: under.limit],
        card=load_card(under.model),
        layout=under.layout,
        package=package,
        speed=under.speed,
        settings=settings,
        scripted=under.scripted,
        keep=under.keep,
    )


def _edition(folder: Path) -> str:
    """The edition of the kernel's competition, else that of the notebook's settings."""
    known = gate.edition_for(folder)
    if known != "any":
        return known
    file = folder / CONFIG
    return Config.of(read_toml(file)).edition if file.is_file() else Config().edition


def _built(folder: Path) -> Path:
    """The folder's notebook, built anew where the tree has changed."""
    return build(folder) if stale(folder) else folder / SUBMISSION


def _package(given: Path | None, folder: Path, edition: str) -> Path | None:
    """The competition's own package, where it is given or lies in the folder."""
    facts = competition_named(edition).package
    if facts is None:
        known = ", ".join(name for name in names() if competition_named(name).package)
        raise UserError(f"{edition} has no gateway: name one of {known} with --edition")
    name, file = facts.file
    for place in (given,) if given else (folder,):
        for package in (place, place / name):
            if package.resolve().name == name and (package / file).is_file():
                return package.resolve()
    if given:
        raise UserError(f"{given} holds no {name}/{file}: give the folder that was downloaded")
    return None


def _mark(folder: Path, plan: Plan, verdict: str) -> None:
    package = "the competition's package" if plan.package else "the stand-in"
    model = plan.card.name
    why = f"{verdict}: {len(plan.problems)} problems, {model}, {package}"
    gate.note(folder, plan.edition, why)
    say("next: aimo-submit push")


def _watched(plan: Plan, *, rerun: bool, case: str) -> Result:
    kind = "rerun" if rerun else "interactive run"
    with _progress(f"{kind}, {case}" if case else kind, plan, rerun) as tell:
        return rehearsal.rehearse(plan, rerun=rerun, case=case, tell=tell)


@contextmanager
def _progress(name: str, plan: Plan, rerun: bool) -> Iterator[Tell]:
    """Shows problem i of n, the time used, and the limit."""
    total = len(plan.problems) if rerun else min(SHOWN, len(plan.problems))
    limit = TextColumn(f"of {plan.limit_s:.0f} s")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    quiet = not notes.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), limit, console=notes, transient=True, disable=quiet
    ) as bar:
        task = bar.add_task(name, total=total)

        def tell(event: Mapping[str, Any]) -> None:
            if "answered" in event:
                bar.update(task, completed=event["answered"])
            if "answered" in event and quiet:
                note(f"{name}: {event['answered']} of {total}")

        yield tell


def _table(results: list[Result]) -> Table:
    """What came out, a line a run."""
    table = Table(title="rehearsal")
    for name in ("case", "run", "answers", "fallbacks", "seconds", "limit", ""):
        table.add_column(name, justify="right" if name in _NUMBERS else "left")
    for result in results:
        table.add_row(
            result.case or "plain",
            result.run,
            f"{result.rows}/{result.problems}",
            "-" if result.fallbacks is None else str(result.fallbacks),
            f"{result.used_s:.0f}",
            f"{result.limit_s:.0f}",
            _word(result),
        )
    return table


_NUMBERS = ("answers", "fallbacks", "seconds", "limit")


def _word(result: Result) -> str:
    if not result.passed:
        return "FAILED"
    return "stopped" if result.stopped else "passed"


def _lines(result: Result) -> Iterator[str]:
    """What there is to say beside the table."""
    name = f"{result.case or 'plain'}, {result.run}"
    if result.stopped and result.passed:
        yield f"{name}: rightly stopped: {result.stopped}"
    for line in result.injected:
        yield f"{name}: {line}"
    for line in result.against:
        yield f"{name}: FAILED: {line}"
