"""A fetched output: fit to be submitted, or what speaks against it.

A fallback answer everywhere gives a valid file too, so the log and the kit's own table are read
beside it. `check` notes in the folder that it was passed, and for which bytes.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.competition import SUBMISSION, Edition
from aimo_submit.errors import UserError, install
from aimo_submit.kaggle.client.api import KaggleFailed, one_line
from aimo_submit.kaggle.client.kernel import log_events

MARK = "checked.json"
_ALARMS = (
    "Traceback (most recent call last)",
    "CUDA out of memory",
    "OutOfMemoryError",
    "DeadKernelError",
    "No module named",
    "NCCL error",
    "No space left on device",
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission file in order: its rows, and how many of them are fallbacks (None: unknown)."""

    rows: int
    fallbacks: int | None
    alarms: tuple[str, ...]  # lines of the log that speak against the run


def check(folder: Path, edition: Edition, *, accept: bool = False) -> Checked:
    """What was found in order, noted in the folder; anything else is a `KaggleFailed`.

    `accept` lets fallbacks and alarms in the log pass, never a file that Kaggle would reject.
    """
    answers = list(_answers(folder / SUBMISSION, edition))
    checked = Checked(len(answers), fallbacks(folder), tuple(alarms(folder / "kernel.log")))
    against = list(_against(checked, answers, edition))
    if against and not accept:
        raise KaggleFailed(
            f"{folder}: {'; '.join(against)}: look at {folder / 'kernel.log'}, mend and push "
            "again, or take it as it is with --accept"
        )
    _mark(folder, checked)
    return checked


def checked_before(folder: Path) -> bool:
    """Whether the folder's very submission file has passed the check."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        return bool(mark["sha256"] == _digest(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def fallbacks(folder: Path) -> int | None:
    """How many problems the kit's own tables report as fallbacks; None without a table."""
    reasons = [
        row.get("reason") or ""
        for table in folder.rglob("summary-*.csv")
        for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    ]
    return sum(reason.startswith("fallback") for reason in reasons) if reasons else None


def settings(folder: Path) -> dict[str, Any]:
    """The settings that the fetched run had, as its traces name them; empty without traces."""
    for traces in sorted(folder.rglob("traces-*.jsonl")):
        with traces.open(encoding="utf-8") as lines:
            try:
                return dict(json.loads(next(lines))["settings"])
            except (StopIteration, ValueError, KeyError, TypeError):
                continue
    return {}


def alarms(log: Path) -> Iterator[str]:
    """The log's lines that speak against the run; a sample's own errors go to stdout, and pass."""
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    for stream, lines in log_events(text):
        if stream != "stdout":
            yield from (one_line(line, 120) for line in lines if any(a in line for a in _ALARMS))


def _against(checked: Checked, answers: list[int], edition: Edition) -> Iterator[str]:
    if checked.fallbacks:
        yield f"{checked.fallbacks} of the run's answers are fallbacks"
    if checked.fallbacks is None and set(answers) == {edition.fallback}:
        yield f"every answer is the fallback, {edition.fallback}"
    if checked.alarms:
        yield f"the log says {checked.alarms[0]!r}"


def _answers(file: Path, edition: Edition) -> Iterator[int]:
    table = _table(file)
    if sorted(table.column_names) != ["answer", "id"]:
        raise KaggleFailed(f"{file} has the columns {table.column_names}: must be id and answer")
    if not str(table["answer"].type).startswith(("int", "uint")):
        raise KaggleFailed(f"{file} has answers of type {table['answer'].type}: must be integers")
    ids, answers = table["id"].to_pylist(), table["answer"].to_pylist()
    if not answers or None in answers or None in ids:
        raise KaggleFailed(f"{file} has {'nulls' if answers else 'no rows'}: mend the notebook")
    if len(set(ids)) < len(ids):
        raise KaggleFailed(f"{file} names a problem twice: mend the notebook")
    for name, answer in zip(ids, answers, strict=True):
        if answer != edition.admit(answer):
            raise KaggleFailed(
                f"{file}: problem {name} has the answer {answer}: {edition.name} takes "
                f"{edition.answers}; set the edition"
            )
        yield answer


def _table(file: Path) -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(f"{error}: {install('kaggle')}") from error
    if not file.is_file():
        raise KaggleFailed(f"no {file}: the kernel left none; mend the notebook and push again")
    try:
        return pq.read_table(file)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise KaggleFailed(f"{file} is no parquet file ({one_line(error, 80)}): push again") from (
            error
        )


def _mark(folder: Path, checked: Checked) -> None:
    mark = {"sha256": _digest(folder), "rows": checked.rows, "fallbacks": checked.fallbacks}
    (folder / MARK).write_text(json.dumps(mark) + "\n", encoding="utf-8")


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / SUBMISSION).read_bytes()).hexdigest()
