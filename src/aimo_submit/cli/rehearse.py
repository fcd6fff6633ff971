"""`aimo-submit rehearse`: parses, calls, prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from aimo_submit.cards import load_card
from aimo_submit.cli.kaggle import compare
from aimo_submit.cli.options import FAILED, Count, Folder, Settings, note, notes, say, values
from aimo_submit.competition import Package, competition_named, names
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.kaggle.client import gate
from aimo_submit.kaggle.client.bundle import CONFIG, build
from aimo_submit.kaggle.rehearsal import rehearsal
from aimo_submit.kaggle.rehearsal.rehearsal import SHOWN, Rehearsal, Tell
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
        speed: times as fast as Kaggle's clock goes
        layout: of the mounted data
        package: the downloaded kaggle_evaluation [default: a fake]
        python: the notebook's, with ipykernel; for a package built for another [default: this one]
        run: the interactive run, the rerun on hidden problems, or both
        settings: NAME=VALUE, any other setting: -c samples=8; may be repeated
        notebook: this one, as it is [default: the folder's, built anew]
        keep: folder in which to keep what the runs leave
    """

    limit: Count = 5
    edition: str | None = None
    model: str = "tiny-tir"
    engine: str = "transformers"
    speed: float = 60.0
    layout: Annotated[str, Parameter(choices=LAYOUTS)] = "new"
    package: Path | None = None
    python: Path = Path(sys.executable)
    run: Annotated[str, Parameter(choices=tuple(RUNS))] = "both"
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
    held = _rehearsal(problems, under)
    held.check()
    results = [_watched(held, rerun=rerun) for rerun in RUNS[under.run]]
    say(_table(results))
    for result in results:
        for line in _lines(result):
            say(line)
    passed = sum(result.passed for result in results)
    verdict = f"{passed} of {len(results)} runs passed"
    say(f"{verdict}; what they left is in {under.keep}" if under.keep else verdict)
    if passed < len(results):
        return FAILED
    if under.run == "both" and not under.notebook:
        _mark(under.folder, held, verdict)
    return 0


def _rehearsal(problems: str, under: Conditions) -> Rehearsal:
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
    if under.notebook is None:
        compare(under.folder)
    return Rehearsal(
        notebook=under.notebook or build(under.folder),
        edition=edition,
        problems=load_problems(problems, competition_named(edition))[: under.limit],
        card=load_card(under.model),
        layout=under.layout,
        package=package,
        python=under.python.absolute(),
        speed=under.speed,
        settings=settings,
        keep=under.keep,
    )


def _edition(folder: Path) -> str:
    """The edition of the kernel's competition, else that of the notebook's settings."""
    known = gate.edition_for(folder)
    if known != "any":
        return known
    file = folder / CONFIG
    return Config.of(read_toml(file)).edition if file.is_file() else Config().edition


def _package(given: Path | None, folder: Path, edition: str) -> Path | None:
    """The competition's own package, where it is given; one that lies in the folder is told of."""
    facts = competition_named(edition).package
    if facts is None:
        known = ", ".join(name for name in names() if competition_named(name).package)
        raise UserError(f"{edition} has no gateway: name one of {known} with --edition")
    lies = _found(folder, facts)
    if given is None:
        if lies:
            note(f"{lies} lies here; to rehearse with it: aimo-submit rehearse --package {lies}")
        return None
    found = _found(given, facts)
    if found is None:
        raise UserError(_why_not(given, facts, edition))
    gateway = f"{facts.gateway.partition('.')[2]}.py"
    if facts.gateway and not (found / gateway).is_file():
        raise UserError(f"--package {found}: has no {gateway}: fetch the competition's data anew")
    return found


def _found(place: Path, facts: Package) -> Path | None:
    """The competition's package in that place, which may be its folder or what holds it."""
    for folder in (place, place / facts.folder):
        if folder.resolve().name == facts.folder and (folder / facts.file).is_file():
            return folder.resolve()
    return None


def _why_not(given: Path, facts: Package, edition: str) -> str:
    if given.is_file():
        return f"--package {given}: is a file; unpack it and give the folder"
    others = (competition_named(name) for name in names() if name != edition)
    for other in others:
        if other.package and _found(given, other.package):
            return f"--package {given}: is the package of {other.name}, not of {edition}"
    return (
        f"--package {given}: holds no {facts.folder}/{facts.file}: give the folder that was "
        "downloaded"
    )


def _mark(folder: Path, held: Rehearsal, verdict: str) -> None:
    package = "the competition's package" if held.package else "the fake gateway"
    why = f"{verdict}: {len(held.problems)} problems, {held.card.name}, {package}"
    gate.note(folder, held.edition, why)
    say("next: aimo-submit push")


def _watched(held: Rehearsal, *, rerun: bool) -> Result:
    with _progress("rerun" if rerun else "interactive run", held, rerun) as tell:
        return rehearsal.rehearse(held, rerun=rerun, tell=tell)


@contextmanager
def _progress(name: str, held: Rehearsal, rerun: bool) -> Iterator[Tell]:
    """Shows problem i of n, the time used, and the limit."""
    total = len(held.problems) if rerun else min(SHOWN, len(held.problems))
    limit = TextColumn(f"of {held.limit_s:.0f} s")
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
    """The results, a line a run."""
    table = Table(title="rehearsal")
    for name in ("run", "answers", "fallbacks", "seconds", "limit", ""):
        table.add_column(name, justify="right" if name in _NUMBERS else "left")
    for result in results:
        table.add_row(
            result.run,
            f"{result.rows}/{result.problems}",
            "-" if result.fallbacks is None else str(result.fallbacks),
            f"{result.used_s:.0f}",
            f"{result.limit_s:.0f}",
            "passed" if result.passed else "FAILED",
        )
    return table


_NUMBERS = ("answers", "fallbacks", "seconds", "limit")


def _lines(result: Result) -> Iterator[str]:
    """The lines that stand below the table."""
    for line in result.against:
        yield f"{result.run}: FAILED: {line}"
