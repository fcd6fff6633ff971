"""How a rehearsed run went: what speaks against it, and what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client.api import KaggleFailed
from aimo_submit.kaggle.client.output import check, fallbacks
from aimo_submit.kaggle.rehearsal import faults
from aimo_submit.kaggle.rehearsal.fake_package import read_verdict
from aimo_submit.kaggle.rehearsal.tree import Tree


@dataclass(frozen=True, slots=True)
class Result:
    """One run of the notebook. Nothing against it: it passed."""

    run: str  # interactive or rerun
    case: str  # what went wrong on purpose; empty: nothing
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
        """Whether Kaggle would have a submission, or the right reason why not."""
        return not self.against


def judge(
    tree: Tree, events: Sequence[Mapping[str, Any]], *, case: str, rerun: bool, limit_s: float
) -> Result:
    """The result of the run that left these events and that tree."""
    end = next((e for e in events if "ended" in e), {})
    stopped = str(end.get("error", ""))
    told = faults.faults_of(case).values() if case else ()
    may_stop = not rerun and any(fault.stops for fault in told)
    ids, rows = asked(tree), answered(tree)
    against = [] if stopped and may_stop else list(_against(tree, end, ids))
    injected = tuple(e["injected"] for e in events if "injected" in e)
    if not stopped and case and faults.injections_of(case) and not injected:
        against.append("nothing was injected")
    if not case and fallbacks(tree.working) == len(ids):
        against.append("every answer is a fallback")
    return Result(
        run="rerun" if rerun else "interactive",
        case=case,
        problems=len(ids),
        rows=len(rows),
        fallbacks=fallbacks(tree.working),
        used_s=float(end.get("ended", limit_s)),
        limit_s=limit_s,
        stopped=stopped,
        injected=injected,
        against=tuple(against),
    )


def asked(tree: Tree) -> list[object]:
    """The ids of the problems, of the type in which they are handed over."""
    import polars as pl

    return pl.read_csv(tree.csv)["id"].to_list()


def answered(tree: Tree) -> list[object]:
    """The ids in the submission; none where it cannot be read."""
    import polars as pl

    try:
        file = tree.working / competition_named(tree.edition).submission
        table = pl.read_csv(file) if file.suffix == ".csv" else pl.read_parquet(file)
        return table["id"].to_list()
    except (OSError, pl.exceptions.PolarsError):
        return []


def _against(tree: Tree, end: Mapping[str, Any], ids: list[object]) -> Iterator[str]:
    if not end:
        yield "the rehearsal's own process ended early"
    if end.get("late"):
        yield "the notebook was not done within the limit"
    if end.get("error"):
        yield f"the notebook stopped: {end['error']}"
    if end.get("gateway"):
        yield f"the gateway ended with code {end['gateway']}: {_gateway_words(tree)}"
    yield from _against_file(tree, ids)
    verdict = read_verdict(tree.verdict)
    if verdict:
        yield from (*verdict.faults, *verdict.wrong, *(f"{id} was late" for id in verdict.late))


def _against_file(tree: Tree, ids: list[object]) -> Iterator[str]:
    try:
        check(tree.working, competition_named(tree.edition), accept=True)
    except (KaggleFailed, UserError) as error:
        yield str(error).replace(f"{tree.working}/", "")
        return
    missing = Counter(ids) - Counter(answered(tree))
    if missing:
        yield f"{missing.total()} problems are not answered, {next(iter(missing))!r} among them"


def _gateway_words(tree: Tree) -> str:
    lines = (tree.working / "gateway.log").read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
