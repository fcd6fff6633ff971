"""The verdict on a rehearsed run, from its events and from what it left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.api import KaggleFailed, one_line
from aimo_submit.kaggle.client.submission import check_output, fallbacks
from aimo_submit.kaggle.rehearsal import fake_gateway
from aimo_submit.kaggle.rehearsal.fake_gateway import Verdict
from aimo_submit.kaggle.rehearsal.player import LOG, Faults, Job
from aimo_submit.kaggle.rehearsal.tree import Tree


@dataclass(frozen=True, slots=True)
class Result:
    """One run of the notebook. Nothing against it: it passed."""

    run: str  # interactive or rerun
    case: str  # the name of the faults; empty: none
    problems: int
    rows: int  # in the submission file
    fallbacks: int | None  # None: the notebook left no table
    used_s: float
    limit_s: float
    stopped: str  # why the notebook stopped, where it did
    injected: tuple[str, ...]
    against: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True where Kaggle would have a submission, or there is a right reason why not."""
        return not self.against


def judge(
    tree: Tree, events: Sequence[Mapping[str, Any]], job: Job, faults: Faults, *, rerun: bool
) -> Result:
    """The result of the run that left these events and that tree."""
    end = next((e for e in events if "ended" in e), {})
    stopped = str(end.get("error", ""))
    output = tree.output(rerun=rerun)
    ids, rows, lost = asked(tree), answered(tree, output), fallbacks(tree.working)
    injected = tuple(e["injected"] for e in events if "injected" in e)
    rightly_stopped = stopped and faults.stops and not rerun
    against = [] if rightly_stopped else list(_against(tree, output, end, ids))
    if job.injections and not injected and not stopped:
        against.append("nothing was injected")
    if not faults.name and lost == len(ids):
        against.append("every answer is a fallback")
    return Result(
        run=kind(rerun=rerun),
        case=faults.name,
        problems=len(ids),
        rows=len(rows),
        fallbacks=lost,
        used_s=float(end.get("ended", job.limit_s)),
        limit_s=job.limit_s,
        stopped=stopped,
        injected=injected,
        against=tuple(against),
    )


def kind(*, rerun: bool) -> str:
    """The name of a kind of run."""
    return "rerun" if rerun else "interactive"


def asked(tree: Tree) -> list[object]:
    """The ids of the problems, of the type in which they are handed over."""
    import polars as pl

    return pl.read_csv(tree.csv)["id"].to_list()


def answered(tree: Tree, output: Path) -> list[object]:
    """The ids in the submission; none where it cannot be read."""
    import polars as pl

    try:
        file = output / competition_named(tree.edition).submission
        table = pl.read_csv(file) if file.suffix == ".csv" else pl.read_parquet(file)
        return table["id"].to_list()
    except (OSError, pl.exceptions.PolarsError):
        return []


def _against(tree: Tree, output: Path, end: Mapping[str, Any], ids: list[object]) -> Iterator[str]:
    if not end:
        yield "the rehearsal's own process ended early"
    if end.get("late"):
        yield "the notebook was not done within the limit"
    if end.get("error"):
        yield f"the notebook stopped: {end['error']}"
    if end.get("gateway"):
        yield f"the gateway ended with code {end['gateway']}: {_gateway_words(tree)}"
    refusal = refused(tree.gateway)
    if refusal:
        yield f"the gateway says {refusal}"
    else:
        yield from _against_file(tree, output, ids)
    verdict = _verdict(tree)
    if verdict:
        untold = () if refusal or end.get("error") else verdict.faults
        yield from (*untold, *verdict.wrong, *(f"{id} was late" for id in verdict.late))


def refused(folder: Path) -> str:
    """The name and the details of the error in a gateway's result.json; empty without one."""
    file = folder / fake_gateway.RESULT
    if not file.is_file():
        return ""
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["Succeeded"]:
            return ""
        name = result.get("ErrorName") or f"error {result.get('ErrorType')}"
        return one_line(f"{name}: {result.get('ErrorDetails') or 'no details'}", 500)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"nothing that can be read, {file.name} is broken ({type(error).__name__}: {error})"


def _verdict(tree: Tree) -> Verdict | None:
    """The fake gateway's verdict; None where it did not come to its end."""
    try:
        return Verdict(**json.loads(tree.verdict.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _against_file(tree: Tree, output: Path, ids: list[object]) -> Iterator[str]:
    try:
        check_output(output, competition_named(tree.edition), accept=True)
    except (KaggleFailed, UserError) as error:
        yield str(error).replace(f"{output}/", "")
        return
    missing = Counter(ids) - Counter(answered(tree, output))
    if missing:
        yield f"{missing.total()} problems are not answered, {next(iter(missing))!r} among them"


def _gateway_words(tree: Tree) -> str:
    lines = (tree.gateway / LOG).read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
