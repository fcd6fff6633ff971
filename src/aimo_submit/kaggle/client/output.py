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

from aimo_submit.competition import Competition
from aimo_submit.errors import need
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


def check(folder: Path, competition: Competition, *, accept: bool = False) -> Checked:
    """What was found in order, noted in the folder; anything else is a `KaggleFailed`.

    `accept` lets fallbacks and alarms in the log pass, never a file that Kaggle would reject.
    """
    answers = list(_answers(folder / competition.submission, competition))
    checked = Checked(len(answers), fallbacks(folder), tuple(alarms(folder / "kernel.log")))
    against = list(_against(checked, answers, competition))
    if against and not accept:
        raise KaggleFailed(
            f"{folder}: {'; '.join(against)}: look at {folder / 'kernel.log'}, mend and push "
            "again, or take it as it is with --accept"
        )
    _mark(folder, competition.submission, checked)
    return checked


def checked_before(folder: Path) -> bool:
    """Whether the folder's very submission file has passed the check."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        return bool(mark["sha256"] == _digest(folder / mark["file"]))
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


def _against(checked: Checked, answers: list[int], competition: Competition) -> Iterator[str]:
    if checked.fallbacks:
        yield f"{checked.fallbacks} of the run's answers are fallbacks"
    if checked.fallbacks is None and set(answers) == {competition.answers.fallback}:
        yield f"every answer is the fallback, {competition.answers.fallback}"
    if checked.alarms:
        yield f"the log says {checked.alarms[0]!r}"


def _answers(file: Path, competition: Competition) -> Iterator[int]:
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
        if answer != competition.answers.admit(answer):
            raise KaggleFailed(
                f"{file}: problem {name} has the answer {answer}: {competition.name} takes "
                f"{competition.answers}; set the edition"
            )
        yield answer


def _table(file: Path) -> Any:
    if not file.is_file():
        raise KaggleFailed(f"no {file}: the kernel left none; mend the notebook and push again")
    try:
        if file.suffix == ".csv":
            return need("pyarrow.csv", "kaggle").read_csv(file)
        return need("pyarrow.parquet", "kaggle").read_table(file)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        kind = file.suffix.removeprefix(".")
        raise KaggleFailed(f"{file} is no {kind} file ({one_line(error, 80)}): push again") from (
            error
        )


def _mark(folder: Path, file: str, checked: Checked) -> None:
    digest = _digest(folder / file)
    mark = {
        **{"file": file, "sha256": digest},
        **{"rows": checked.rows, "fallbacks": checked.fallbacks},
    }
    (folder / MARK).write_text(json.dumps(mark) + "\n", encoding="utf-8")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
