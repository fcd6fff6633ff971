"""A checked version, submitted to its competition, and its score."""

from __future__ import annotations

import dataclasses
import io
import re
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from aimo_submit.competition import competition_of
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client import ledger
from aimo_submit.kaggle.client.api import KaggleFailed, asking, one_line
from aimo_submit.kaggle.client.kernel import Patience
from aimo_submit.kaggle.client.ledger import Entry
from aimo_submit.kaggle.client.output import checked_before

_REFUSED = re.compile(r"\blimit|not allowed|exceed|maximum|could not submit|fail", re.IGNORECASE)


def submit(api: Any, pushed: Entry, folder: Path, *, competition: str, message: str) -> Entry:
    """The submission of that version, as Kaggle took it; `folder` holds its checked output."""
    if not checked_before(folder):
        raise UserError(
            f"the output of version {pushed.version} has not been checked: run "
            f"aimo-submit output --version {pushed.version} first"
        )
    if not message.strip():
        raise UserError("a submission needs a message: give it with -m, to know it by later")
    file = competition_of(competition).submission
    unsure = "; it may have been taken: look at the competition's page before submitting again"
    with asking(f"submission to {competition}", unsure=unsure), redirect_stdout(io.StringIO()):
        answer = api.competition_submit_code(
            file, message, competition, pushed.kernel, pushed.version, quiet=True
        )
    if not answer.ref or _REFUSED.search(answer.message or ""):
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


def score(api: Any, entry: Entry, patience: Patience) -> Entry:
    """The submission once Kaggle has scored it, or found that it cannot (status ERROR)."""
    return patience.wait(
        lambda: look(api, entry),
        lambda seen: seen.status != ledger.PENDING,
        lambda seen: f"submission {seen.ref}: {seen.status}",
    )


def look(api: Any, entry: Entry) -> Entry:
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


def earlier(entries: Sequence[Entry], pushed: Entry) -> Entry | None:
    """The newest submission of that version which Kaggle has not refused, if there is one."""
    mine = [e for e in entries if (e.kernel, e.version) == (pushed.kernel, pushed.version)]
    taken = [e for e in mine if e.ref is not None and e.status != ledger.ERROR]
    return taken[-1] if taken else None


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
