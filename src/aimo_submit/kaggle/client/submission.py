"""A submission: a fetched output that was checked, sent to its competition, and its score.

A fallback answer everywhere gives a valid file too, so the log and the kit's own table are read
beside it. A mark in the folder says that its output passed the check, and for which bytes.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.competition import Competition, competition_of
from aimo_submit.errors import UserError, need
from aimo_submit.journal import replace_text, settings_in
from aimo_submit.kaggle.client import ledger
from aimo_submit.kaggle.client.api import KaggleFailed, Polling, asking, one_line
from aimo_submit.kaggle.client.kernel import log_events
from aimo_submit.kaggle.client.ledger import Entry

MARK = "checked.json"
_TRACEBACK = "Traceback (most recent call last)"
_ALARMS = re.compile(
    rf"{re.escape(_TRACEBACK)}|CUDA out of memory|OutOfMemoryError|DeadKernelError|NCCL error"
    r"|No module named|No space left on device|no kernel image is available"
    r"|CUDA capability|compute capability \d"
)
# Of the interpreter's end, and of what vLLM looks for and can do without.
_HARMLESS = re.compile(
    r"resource_tracker|atexit|Exception ignored in|threading\._shutdown"
    r"|^(INFO|WARNING|DEBUG)\b.*No module named"
    r"|No module named '(vllm\._|flash_attn|flashinfer|xformers|triton|deep_gemm|torchao|pynvml)"
)
# With a number all the same; after "Successfully submitted to" comes the competition's title.
_REFUSED = re.compile(
    r"(?!Successfully submitted).*(\blimit|not allowed|exceed|maximum|could not submit|fail)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class CheckedOutput:
    """A submission file in order: its rows, and how many of them are fallbacks (None: unknown)."""

    rows: int
    fallbacks: int | None
    alarms: tuple[str, ...]  # lines of the log that speak against the run


def check_output(folder: Path, competition: Competition, *, accept: bool = False) -> CheckedOutput:
    """Checks the output and marks the folder; raises `KaggleFailed` if it is not to be submitted.

    `accept` lets fallbacks and alarms in the log pass, never a file that Kaggle would reject.
    """
    file = folder / competition.submission
    answers = list(_answers(file, competition))
    checked = CheckedOutput(len(answers), fallbacks(folder), tuple(_alarms(folder / "kernel.log")))
    against = list(_against(checked, answers, competition))
    if against and not accept:
        raise KaggleFailed(
            f"{folder}: {'; '.join(against)}: look at {folder / 'kernel.log'}, mend and push "
            "again, or take it as it is with --accept"
        )
    mark = {"file": file.name, "sha256": _digest(file), "edition": competition.name}
    counts = {"rows": checked.rows, "fallbacks": checked.fallbacks}
    replace_text(folder / MARK, json.dumps(mark | counts) + "\n")
    return checked


def checked_file(folder: Path) -> tuple[str, str] | None:
    """The submission file's name and the edition it was checked for, if these bytes have passed."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        passed = mark["sha256"] == _digest(folder / mark["file"])
        return (str(mark["file"]), str(mark.get("edition", ""))) if passed else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def fallbacks(folder: Path) -> int | None:
    """The number of fallbacks in the kit's own tables; None without a table."""
    rows = [
        row
        for table in folder.rglob("summary-*.csv")
        for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    ]
    return sum(map(_is_fallback, rows)) if rows else None


def _is_fallback(row: dict[str, str]) -> bool:
    if "fallback" in row:
        return row["fallback"] == "True"
    return (row.get("reason") or "").startswith("fallback")  # a table of an older kit


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings that the fetched run had, as its traces name them; empty without traces."""
    for traces in sorted(folder.rglob("traces-*.jsonl")):
        try:
            return dict(settings_in(traces))
        except UserError:
            continue
    return {}


def _alarms(log: Path) -> Iterator[str]:
    """The log's lines that speak against the run; a sample's own errors go to stdout, and pass."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line for stream, piece in log_events(text) if stream != "stdout" for line in piece]
    for number, line in enumerate(lines):
        if _ALARMS.search(line) and not _HARMLESS.search(_whole(lines, number)):
            yield one_line(line, 120)


def _whole(lines: Sequence[str], number: int) -> str:
    """The line; of a traceback, with the line before it, its frames and its last line."""
    if _TRACEBACK not in lines[number]:
        return lines[number]
    end = number + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1
    return "\n".join(lines[max(0, number - 1) : end + 1])


def _against(checked: CheckedOutput, answers: list[int], competition: Competition) -> Iterator[str]:
    if checked.fallbacks:
        yield f"{checked.fallbacks} of the run's answers are fallbacks"
    if checked.fallbacks is None and set(answers) == {competition.answers.fallback}:
        yield f"every answer is the fallback, {competition.answers.fallback}"
    if checked.alarms:
        yield f"the log says {checked.alarms[0]!r}"


def _answers(file: Path, competition: Competition) -> Iterator[int]:
    """The file's answers; raises `KaggleFailed` where Kaggle would reject or misread them."""
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
        why = f"{file} is no {file.suffix[1:]} file ({one_line(error, 80)}): push again"
        raise KaggleFailed(why) from error


def submit(api: Any, pushed: Entry, folder: Path, *, competition: str, message: str) -> Entry:
    """The submission of that version, as Kaggle took it; `folder` holds its checked output."""
    checked = checked_file(folder)
    if checked is None:
        raise UserError(
            f"the output of version {pushed.version} has not been checked: run "
            f"aimo-submit output --version {pushed.version} first"
        )
    file, edition = checked
    wanted = competition_of(competition).name
    if pushed.competition and pushed.competition != competition:
        raise UserError(
            f"version {pushed.version} was pushed for {pushed.competition}, competition_sources "
            f"in kernel-metadata.json is {competition}: change that back, or push anew"
        )
    if edition and "any" not in (edition, wanted) and edition != wanted:
        raise UserError(
            f"the output of version {pushed.version} was checked for {edition}, the competition is "
            f"{wanted}: run aimo-submit output --version {pushed.version} again"
        )
    unsure = "; it may have been taken: look at the competition's page before submitting again"
    with asking(f"submission to {competition}", unsure=unsure), redirect_stdout(io.StringIO()):
        answer = api.competition_submit_code(
            file, message, competition, pushed.kernel, pushed.version, quiet=True
        )
    if not answer.ref or _REFUSED.match(answer.message or ""):
        raise KaggleFailed(
            f"Kaggle did not take the submission: {one_line(answer.message or 'no reason given')}: "
            "at the daily limit, submit again after midnight UTC"
        )
    return dataclasses.replace(
        pushed,
        ref=answer.ref,
        competition=competition,
        message=message,
        status=ledger.PENDING,
        time=time.time(),
    )


def score(api: Any, entry: Entry, polling: Polling) -> Entry:
    """The submission once Kaggle has scored it, or found that it cannot (status ERROR)."""
    return polling.until(
        lambda seen: seen.status != ledger.PENDING,
        lambda: look_up(api, entry),
        lambda seen: f"submission {seen.ref}: {seen.status}",
    )


def look_up(api: Any, entry: Entry) -> Entry:
    """The submission as Kaggle lists it now; one it does not list may appear a moment later."""
    with asking(f"score of submission {entry.ref}"):
        listed = api.competition_submissions(entry.competition, page_size=100) or []
    for found in listed:
        if found.ref == entry.ref:
            return dataclasses.replace(
                entry,
                status=found.status.name,
                score=_number(found.public_score),
                private=_number(found.private_score),
                note=one_line(found.error_description or ""),
                time=time.time(),
            )
    raise KaggleFailed(
        f"Kaggle does not list submission {entry.ref}: look at the competition's page, the daily "
        "limit may have been reached",
        passing=True,
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def earlier(entries: Sequence[Entry], pushed: Entry) -> Entry | None:
    """The newest submission of that version which Kaggle has not refused, if there is one."""
    mine = [e for e in entries if (e.kernel, e.version) == (pushed.kernel, pushed.version)]
    taken = [e for e in mine if e.ref is not None and e.status != ledger.ERROR]
    return taken[-1] if taken else None
