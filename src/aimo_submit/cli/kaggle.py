"""`aimo-submit push | status | logs | output | submit | scores`: parses, calls, prints."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aimo_submit.cli.console import guarded, note, patience_for, say
from aimo_submit.cli.options import Commands, notes, out
from aimo_submit.competition import Competition, competition_named, competition_of
from aimo_submit.errors import UserError
from aimo_submit.kaggle.client import bundle, gate, kernel, ledger, sources, submission
from aimo_submit.kaggle.client.api import SILENCE_S, KaggleFailed, connect, require_credentials
from aimo_submit.kaggle.client.kernel import EVERY_S, RUNS
from aimo_submit.kaggle.client.ledger import Entry
from aimo_submit.kaggle.client.metadata import Metadata, read_metadata
from aimo_submit.kaggle.client.output import check, settings

STALE = 1


def add_kernel_commands(
    commands: Commands, every_s: float = EVERY_S, silence_s: float = SILENCE_S
) -> None:
    """Adds the commands about the kernel on Kaggle.

    `every_s` is the pause between questions, `silence_s` how long Kaggle may say nothing.
    """
    command = partial(_command, commands, {"every_s": every_s, "silence_s": silence_s})
    push = command("push", _push, "build and push the rehearsed kernel, wait until it has run")
    push.add_argument(
        "--unrehearsed", action="store_true", help="also what no rehearsal has passed; it is noted"
    )
    push.add_argument("--no-wait", action="store_true", help="do not wait for the run's end")

    status = command("status", _status, "where a version stands")
    status.add_argument("--wait", action="store_true", help="wait until it has run")

    command("logs", _logs, "print a version's log")

    output = command("output", _output, "fetch a version's output, check it")
    output.add_argument("--edition", help="a competition, or its TOML file (the kernel's)")
    output.add_argument(
        "--accept", action="store_true", help="let fallbacks and alarms in the log pass"
    )

    submit = command("submit", _submit, "submit a checked version, wait for its score")
    submit.add_argument("-m", "--message", default="", help="to know the submission by")
    submit.add_argument("--again", action="store_true", help="also what was submitted before")
    submit.add_argument("--no-wait", action="store_true", help="do not wait for the score")

    command("scores", _scores, "scores of all submissions, by config")


def _command(
    commands: Commands,
    times: Mapping[str, float],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, epilog=f"example: aimo-submit {name}")
    if name != "scores":
        parser.add_argument(
            "--folder", type=Path, default=Path(), help="folder of kernel-metadata.json (here)"
        )
    if name not in ("push", "scores"):
        parser.add_argument("--version", type=int, metavar="N", help="default: the newest pushed")
    parser.set_defaults(run=lambda args: guarded(run, args), **times)
    return parser


def _push(args: argparse.Namespace) -> int:
    require_credentials(os.environ, Path.home())
    ours = gate.is_ours(args.folder)
    if ours:
        bundle.build(args.folder)
    metadata = read_metadata(args.folder)
    if ours:
        passed = gate.passed(args.folder, unrehearsed=args.unrehearsed)
    else:
        passed = gate.foreign(args.folder)
    api = connect(args.silence_s)
    wanting = list(sources.problems(api, metadata, note))
    if wanting:
        raise KaggleFailed("; ".join(wanting))
    pushed = kernel.push(api, metadata)
    git = ledger.git_sha(args.folder)
    ledger.append(Entry(pushed.ref, pushed.version, git=git, **dataclasses.asdict(passed)))
    say(f"version {pushed.version} is at {pushed.url}")
    if passed.note:
        note(passed.note)
    if not args.no_wait:
        _wait(api, metadata, pushed.version, args)
    return 0


def _wait(api: Any, metadata: Metadata, version: int, args: argparse.Namespace) -> None:
    try:
        with notes.status(f"version {version}: QUEUED") as line:
            kernel.wait(api, metadata.id, version, patience_for(args, line.update))
    except KeyboardInterrupt:
        notes.print(f"version {version} runs on; aimo-submit status --wait watches it")
        raise
    say(f"version {version} is complete; next: aimo-submit output")


def _status(args: argparse.Namespace) -> int:
    metadata, api = _signed_in(args)
    version = _version(args, metadata)
    if args.wait:
        _wait(api, metadata, version, args)
        return 0
    run = kernel.run_of(api, metadata.id, version)
    if run.failed:
        raise kernel.failure(api, metadata.id, version, run)
    say(f"version {version}: {run.status}")
    return 0


def _logs(args: argparse.Namespace) -> int:
    metadata, api = _signed_in(args)
    for line in kernel.log_lines(api, metadata.id, _version(args, metadata)):
        print(line)
    return 0


def _output(args: argparse.Namespace) -> int:
    metadata, api = _signed_in(args)
    version = _version(args, metadata)
    run = kernel.run_of(api, metadata.id, version)
    if run.failed:
        raise kernel.failure(api, metadata.id, version, run)
    if run.status != "COMPLETE":
        raise KaggleFailed(
            f"version {version} is {run.status}: wait with aimo-submit status --wait"
        )
    folder = kernel.fetch(api, metadata.id, version)
    found = check(folder, _edition(args, metadata), accept=args.accept)
    for alarm in found.alarms:
        notes.print(alarm, markup=False)
    known = "" if found.fallbacks is None else f", {found.fallbacks} fallbacks"
    say(f"{folder}: {found.rows} answers{known}; next: aimo-submit submit")
    return 0


def _submit(args: argparse.Namespace) -> int:
    metadata, api = _signed_in(args)
    if metadata.competition is None:
        raise UserError("competition_sources is empty: name the competition to submit to")
    entries = ledger.read()
    pushed = ledger.version_of(entries, metadata.id, args.version)
    entry = None if args.again else submission.earlier(entries, pushed)
    if entry is not None and entry.status == ledger.COMPLETE:
        raise UserError(
            f"version {entry.version} was submitted and scored {entry.score}: push anew, or "
            "submit it --again"
        )
    if entry is None:
        folder = RUNS / metadata.slug / str(pushed.version)
        pushed = dataclasses.replace(pushed, config=settings(folder) or pushed.config)
        entry = submission.submit(
            api, pushed, folder, competition=metadata.competition, message=args.message
        )
        ledger.append(entry)
        say(f"version {entry.version} is submission {entry.ref}")
    return 0 if args.no_wait else _await_score(api, entry, args)


def _await_score(api: Any, entry: Entry, args: argparse.Namespace) -> int:
    with notes.status(f"submission {entry.ref}: PENDING") as line:
        entry = submission.score(api, entry, patience_for(args, line.update))
    ledger.append(entry)
    if entry.status == ledger.ERROR:
        raise KaggleFailed(
            f"submission {entry.ref} could not be scored: {entry.note or 'no reason given'}: "
            "compare its log with a rehearsal's, mend and push again"
        )
    out.print(
        f"submission {entry.ref}: {'no public score' if entry.score is None else entry.score}"
    )
    return 0


def _scores(args: argparse.Namespace) -> int:
    _refresh([e for e in ledger.read() if e.status == ledger.PENDING], args)
    groups = ledger.by_config(ledger.read())
    if not groups:
        raise UserError("nothing has been submitted from here: run aimo-submit submit first")
    out.print(ledger.scores_table(groups))
    return 0


def _refresh(pending: Sequence[Entry], args: argparse.Namespace) -> None:
    if not pending:
        return
    try:
        api = connect(args.silence_s)
        for entry in pending:
            ledger.append(submission.look(api, entry))
    except (KaggleFailed, UserError) as error:  # what is recorded can be shown all the same
        note(f"what is pending was not looked up: {error}")


def _signed_in(args: argparse.Namespace) -> tuple[Metadata, Any]:
    require_credentials(os.environ, Path.home())
    metadata = read_metadata(args.folder)
    return metadata, connect(args.silence_s)


def _version(args: argparse.Namespace, metadata: Metadata) -> int:
    return ledger.version_of(ledger.read(), metadata.id, args.version).version


def _edition(args: argparse.Namespace, metadata: Metadata) -> Competition:
    named = args.edition
    return competition_named(named) if named else competition_of(metadata.competition)


def add_notebook_commands(commands: Commands) -> None:
    """Adds the command that builds the notebooks."""
    build = commands.add_parser(
        "build",
        help="build the notebooks, the kit inside the submission's",
        epilog="example: aimo-submit build --config my.toml",
    )
    build.add_argument(
        "--folder", type=Path, default=Path(), help="folder of kernel-metadata.json (here)"
    )
    build.add_argument(
        "--config", type=Path, metavar="FILE", help="settings as TOML (notebooks/config.toml)"
    )
    build.add_argument(
        "--check", action="store_true", help="write nothing; fail where a notebook is out of date"
    )
    build.set_defaults(run=_build)


def _build(args: argparse.Namespace) -> int:
    from aimo_submit.kaggle.client import bundle

    if args.check:
        old = bundle.stale(args.folder, args.config)
        for path in old:
            print(f"{path} does not correspond to the tree: run aimo-submit build")
        return STALE if old else 0
    path = bundle.build(args.folder, args.config)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB, digest {bundle.digest(path)[:16]}")
    return 0
