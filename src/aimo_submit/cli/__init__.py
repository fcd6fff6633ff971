"""The command line: which commands there are, each loaded when it is called.

Results go to stdout, notes to stderr. Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aimo_submit.errors import EngineDied, Failed, UserError
from aimo_submit.toml import meant

# What is heavy is imported inside `main`, where Ctrl-C already ends in a line.
if TYPE_CHECKING:
    from inspect import BoundArguments

    from cyclopts import App

FAILED, MISUSE, INTERRUPTED = 1, 2, 130
CRASH = Path("runs/crash.txt")

ABOUT = "Solve, evaluate, tune and submit for the AI Mathematical Olympiad prizes."
GROUPS = {"pool": "look at recorded samples, write them as a table, take in those of others"}
# name: (function, which is loaded when the command is called; help; example)
COMMANDS = {
    "solve": ("solve:solve",
        "solve one problem, showing samples, code, outputs and votes as they come",
        "solve 'What is the sum of the digits of $2^{40}$?'"),
    "eval": ("eval:evaluate",
        "solve a problem set and report accuracy with its variance; resumes when run again",
        "eval original --samples 16 --seeds 3 --out runs/a.jsonl"),
    "summary": ("eval:summary",
        "accuracy, time and failures of what eval recorded, also while it runs",
        "summary runs/original.jsonl"),
    "votes": ("eval:votes", "compare the vote rules on recorded samples",
        "votes runs/original.jsonl"),
    "pool show": ("eval:pool_show", "what a pool holds, and how right it is", "pool show pool/"),
    "pool export": ("eval:pool_export",
        "write a pool as one table with a row a round; pool/tables.py has its columns",
        "pool export pool/ pool.parquet"),
    "pool import": ("eval:pool_import", "write a table of other runs' answers as a journal",
        "pool import votes.csv theirs/"),
    "tune": ("tune:tune", "choose samples, rounds and how to stop from a recorded pool",
        "tune --pool pool/ --profile t4x2 --limit 9h --out tuned.toml"),
    "report": ("report:report",
        "write a pool as one HTML file: plots, a table of problems, every sample to read",
        "report pool/ --profile t4x2 --limit 9h --out report/"),
    "models": ("models:models", "list the model cards, and what of them fits which machine",
        "models --machine t4x2 --samples 48"),
    "profile": ("models:profile",
        "measure how quickly an engine generates on this machine; the file travels",
        "profile --engine vllm --out t4x2.toml"),
    "distil": ("training:distil",
        "make training data: a teacher's right solutions of a set; resumes when run again",
        "distil train.jsonl --out data.parquet --against amc aime -n 8"),
    "quantize": ("training:quantize",
        "write a card's model in 8 or 4 bits (GPTQ), and compare it with the original",
        "quantize numina-7b-tir --bits 8 --traces pool/"),
    "build": ("kaggle:build", "build the notebooks, the kit inside the submission's",
        "build --config my.toml"),
    "rehearse": ("rehearse:rehearse",
        "run the built notebook as Kaggle would, offline, and judge it",
        "rehearse tiny --limit 5 --run rerun"),
    "upload": ("upload:upload",
        "put a folder of weights or wheels on Kaggle, wait until it is ready",
        "upload wheels/ --name you/t4-wheels --license other --attach"),
    "push": ("kaggle:push", "build and push the rehearsed kernel, wait until it has run", "push"),
    "status": ("kaggle:status", "where a version stands", "status --wait"),
    "logs": ("kaggle:logs", "print a version's log", "logs --version 3"),
    "output": ("kaggle:output", "fetch a version's output, check it", "output"),
    "submit": ("kaggle:submit", "submit a checked version, wait for its score",
        "submit -m 'first try'"),
    "scores": ("kaggle:scores", "scores of all submissions, by config", "scores"),
    "doctor": ("doctor:doctor",
        "what this machine offers, what is missing for which job, and how to mend it",
        "doctor"),
}  # fmt: skip


def main(argv: Sequence[str] | None = None, **seams: object) -> int:
    """Runs a command and returns the exit code; `seams` fill its parameters that have no option."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv), seams)
    except UserError as error:
        return _told(error, MISUSE)
    except Failed as error:
        for line in error.log_end:
            print(f"  | {line}", file=sys.stderr)
        return _told(error, FAILED)
    except EngineDied as error:
        return _told(f"the engine could not be started again: {error}", FAILED)
    except KeyboardInterrupt:
        return _told("stopped; run again, eval and distil go on", INTERRUPTED)
    except Exception as error:  # the border to the user: a line to read, the details in a file
        with suppress(OSError):  # a full disk may be what went wrong
            CRASH.parent.mkdir(exist_ok=True)
            CRASH.write_text(traceback.format_exc())
        return _told(f"{type(error).__name__}: {error}; details in {CRASH}", FAILED)


def _told(reason: object, code: int) -> int:
    print(f"aimo-submit: {reason}", file=sys.stderr)
    return code


def _run(argv: list[str], seams: dict[str, object]) -> int:
    if not argv or argv in ([group] for group in GROUPS):
        raise UserError(f"name a command: aimo-submit {' '.join((*argv, '--help'))} lists them")
    app = _app()
    if argv[0] in app.help_flags:  # and load no more
        app.help_print([])
        return 0
    command, bound, hidden = _parsed(app, argv)

    from rich.logging import RichHandler

    from aimo_submit.cli.options import notes

    handler = RichHandler(console=notes, show_path=False, show_time=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s")
    given = {name: seams[name] for name in hidden if name in seams}
    return command(*bound.args, **bound.kwargs, **given) or 0


def _parsed(
    app: App, argv: list[str]
) -> tuple[Callable[..., int | None], BoundArguments, Iterable[str]]:
    """The function to call, with what, and its parameters that have no option."""
    from cyclopts import CycloptsError, UnknownCommandError

    try:
        return app.parse_args(argv, print_error=False, exit_on_error=False)
    except UnknownCommandError as error:  # its own words would load every command
        name, known = (error.unused_tokens or argv)[0], error.app or app
        names = [each for each in known if not each.startswith("-")]
        raise UserError(f"no command {name!r}: {meant(name, names)}") from error
    except CycloptsError as error:
        asked = " ".join(("aimo-submit", *(error.command_chain or ()), "--help"))
        raise UserError(f"{' '.join(str(error).split())} See {asked}") from error


def _app() -> App:
    """The commands with their help; their modules are not loaded yet."""
    from cyclopts import App, Parameter

    common = Parameter(
        negative=(),  # no --no-wait for --wait
        allow_repeating=True,  # the last one counts
        show_default=lambda value: str(value) if value else None,
    )
    group_of = partial(App, version_flags=(), help_format="plaintext", default_parameter=common)
    app = group_of("aimo-submit", ABOUT)
    for number, (name, (function, about, example)) in enumerate(COMMANDS.items()):
        group, _, action = name.rpartition(" ")
        if group and group not in app:
            app.command(group_of(group, GROUPS[group], sort_key=number))
        (app[group] if group else app).command(
            f"aimo_submit.cli.{function}",
            action,
            help=about,
            help_epilogue=f"example: aimo-submit {example}",
            help_format="markdown",  # fills lines that docstrings break
            sort_key=number,
        )
    return app
