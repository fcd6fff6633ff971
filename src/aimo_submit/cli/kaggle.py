"""`aimo-submit push | status | logs | output | submit | scores | build`: a kernel on Kaggle."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from aimo_submit.cli.options import FAILED, Folder, note, notes, say
from aimo_submit.competition import competition_named, competition_of
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client import bundle, gate, kernel, ledger, sources, submission
from aimo_submit.kaggle.client.api import (
    EVERY_S,
    SILENCE_S,
    KaggleFailed,
    Polling,
    connect,
    require_credentials,
)
from aimo_submit.kaggle.client.kernel import RUNS
from aimo_submit.kaggle.client.ledger import Entry
from aimo_submit.kaggle.client.metadata import Metadata, read_metadata


@dataclass(frozen=True, slots=True)
class Times:
    """The pause between two questions to Kaggle, and how long it may say nothing, in seconds."""

    every_s: float = EVERY_S
    silence_s: float = SILENCE_S


TIMES = Times()
Seam = Annotated[Times, Parameter(parse=False)]  # no option: given by whoever calls `main`
Version = Annotated[int | None, Parameter(help="its number [default: the newest pushed]")]


def polling(times: Times, update: Callable[[str], None]) -> Polling:
    """The way to wait: a terminal's line is overwritten; elsewhere each status is noted once."""
    once = cache(note)
    report = update if notes.is_terminal else lambda line: once(line.rpartition(" (")[0])
    return Polling(report, every_s=times.every_s)


def build(
    *,
    folder: Folder = Path(),
    config: Path | None = None,
    readable: bool = False,
    check: bool = False,
) -> int:
    """Builds the notebooks.

    Args:
        config: TOML file of settings [default: notebooks/config.toml]
        readable: the kit as plain text, a cell to each file
        check: write nothing; fail where a notebook is out of date
    """
    if check:
        old = bundle.stale(folder, config)
        for path in old:
            say(f"{path} does not correspond to the tree: run aimo-submit build")
        return FAILED if old else 0
    if config is None:
        compare(folder)
    path = bundle.build(folder, config, readable=readable)
    say(f"{path}: {path.stat().st_size / 1000:.0f} kB, digest {bundle.digest(path)[:16]}")
    return 0


def compare(folder: Path) -> None:
    """Tells what is odd about settings and metadata; raises UserError where they do not agree."""
    for oddity in gate.compare(folder):
        note(oddity)


def push(
    *,
    folder: Folder = Path(),
    unrehearsed: bool = False,
    no_wait: bool = False,
    times: Seam = TIMES,
) -> None:
    """Builds and pushes the kernel, and waits until it has run.

    Args:
        unrehearsed: push also what no rehearsal has passed; it is noted
        no_wait: do not wait for the run's end
    """
    require_credentials(os.environ, Path.home())
    if gate.is_ours(folder):
        compare(folder)
        bundle.build(folder)
        metadata = read_metadata(folder)
        passed = gate.passed(folder, unrehearsed=unrehearsed)
    else:
        metadata = read_metadata(folder)
        passed = gate.foreign(folder)
    api = connect(times.silence_s)
    wanting = list(sources.not_ready(api, metadata, note))
    if wanting:
        raise KaggleFailed("; ".join(wanting))
    pushed = kernel.push(api, metadata)
    entry = Entry(
        pushed.ref,
        pushed.version,
        git=ledger.git_sha(folder),
        competition=metadata.competition or "",
        **dataclasses.asdict(passed),
    )
    ledger.append(entry)
    say(f"version {pushed.version} is at {pushed.url}")
    if passed.note:
        note(passed.note)
    if not no_wait:
        _wait(api, metadata, pushed.version, times)


def _wait(api: Any, metadata: Metadata, version: int, times: Times) -> None:
    try:
        with notes.status(f"version {version}: QUEUED") as line:
            kernel.wait_for_run(api, metadata.id, version, polling(times, line.update))
    except KeyboardInterrupt:
        note(f"version {version} runs on; aimo-submit status --wait watches it")
        raise
    say(f"version {version} is complete; next: aimo-submit output")


def status(
    *, folder: Folder = Path(), version: Version = None, wait: bool = False, times: Seam = TIMES
) -> None:
    """Prints where a version stands.

    Args:
        wait: wait until it has run
    """
    metadata, api = _signed_in(folder, times)
    version = _version(metadata, version)
    if wait:
        _wait(api, metadata, version, times)
    else:
        say(f"version {version}: {kernel.status_of(api, metadata.id, version)}")


def logs(*, folder: Folder = Path(), version: Version = None, times: Seam = TIMES) -> None:
    """Prints a version's log."""
    metadata, api = _signed_in(folder, times)
    for line in kernel.log_lines(api, metadata.id, _version(metadata, version)):
        print(line)


def output(
    *,
    folder: Folder = Path(),
    version: Version = None,
    edition: str | None = None,
    accept: bool = False,
    times: Seam = TIMES,
) -> None:
    """Fetches and checks a version's output.

    Args:
        edition: a competition, or its TOML file [default: the kernel's]
        accept: let fallbacks and alarms in the log pass
    """
    metadata, api = _signed_in(folder, times)
    version = _version(metadata, version)
    standing = kernel.status_of(api, metadata.id, version)
    if standing != "COMPLETE":
        raise KaggleFailed(f"version {version} is {standing}: wait with aimo-submit status --wait")
    place = kernel.fetch(api, metadata.id, version)
    rule = competition_named(edition) if edition else competition_of(metadata.competition)
    found = submission.check_output(place, rule, accept=accept)
    for alarm in found.alarms:
        note(alarm)
    known = "" if found.fallbacks is None else f", {found.fallbacks} fallbacks"
    say(f"{place}: {found.rows} answers{known}; next: aimo-submit submit")


def submit(
    *,
    folder: Folder = Path(),
    version: Version = None,
    message: Annotated[str, Parameter(alias="-m")] = "",
    again: bool = False,
    no_wait: bool = False,
    times: Seam = TIMES,
) -> None:
    """Submits a version whose output was checked, and waits for its score.

    Args:
        message: to know the submission by [default: the pushed commit and its subject]
        again: submit also what was submitted before
        no_wait: do not wait for the score
    """
    metadata, api = _signed_in(folder, times)
    if metadata.competition is None:
        raise UserError("competition_sources is empty: name the competition to submit to")
    entries = ledger.read()
    pushed = ledger.version_of(entries, metadata.id, version)
    entry = None if again else submission.earlier(entries, pushed)
    if entry is not None and entry.status == ledger.COMPLETE:
        raise UserError(
            f"version {entry.version} was submitted and scored {entry.score}: push anew, or "
            "submit it --again"
        )
    if entry is None:
        place = RUNS / metadata.slug / str(pushed.version)
        pushed = dataclasses.replace(pushed, config=submission.settings_of(place) or pushed.config)
        told = message.strip() or _message(folder, pushed)
        entry = submission.submit(
            api, pushed, place, competition=metadata.competition, message=told
        )
        ledger.append(entry)
        say(f"version {entry.version} is submission {entry.ref} to {entry.competition}: {told}")
    if not no_wait:
        _await_score(api, entry, times)


def _message(folder: Path, pushed: Entry) -> str:
    """What a submission is known by, where nothing is said."""
    words = f"{pushed.git} {ledger.subject(folder, pushed.git)}".strip()
    return words or f"version {pushed.version}"


def _await_score(api: Any, entry: Entry, times: Times) -> None:
    with notes.status(f"submission {entry.ref}: PENDING") as line:
        entry = submission.score(api, entry, polling(times, line.update))
    ledger.append(entry)
    if entry.status == ledger.ERROR:
        raise KaggleFailed(
            f"submission {entry.ref} could not be scored: {entry.note or 'no reason given'}: "
            "compare its log with a rehearsal's, mend and push again"
        )
    say(f"submission {entry.ref}: {'no public score' if entry.score is None else entry.score}")


def scores(*, times: Seam = TIMES) -> None:
    """Prints the scores of all submissions."""
    pending = [entry for entry in ledger.read() if entry.status == ledger.PENDING]
    try:
        api = connect(times.silence_s) if pending else None
        for entry in pending:
            ledger.append(submission.look_up(api, entry))
    except (KaggleFailed, UserError) as error:  # what is recorded can be shown all the same
        note(f"what is pending was not looked up: {error}")
    groups = ledger.by_config(ledger.read())
    if not groups:
        raise UserError("nothing has been submitted from here: run aimo-submit submit first")
    say(submissions_table(groups))


def _signed_in(folder: Path, times: Times) -> tuple[Metadata, Any]:
    require_credentials(os.environ, Path.home())
    metadata = read_metadata(folder)
    return metadata, connect(times.silence_s)


def _version(metadata: Metadata, version: int | None) -> int:
    return ledger.version_of(ledger.read(), metadata.id, version).version


def submissions_table(scores: Sequence[ledger.Scores]) -> Table:
    """The scores as a table, a row a config."""
    table = Table("config", "scores", "mean", "spread", "pending", "failed")
    for row in scores:
        table.add_row(
            row.label,
            " ".join(f"{score:g}" for score in row.scores),
            f"{mean(row.scores):.2f}" if row.scores else "",
            "" if row.spread is None else f"{row.spread:.2f}",
            str(row.pending or ""),
            str(row.failed or ""),
        )
    return table
