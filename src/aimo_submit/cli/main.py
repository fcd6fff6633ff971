"""The command line: parses, calls, prints. Results on stdout, notes on stderr."""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.logging import RichHandler

from aimo_submit.cards import fits_context
from aimo_submit.cli.doctor import add_doctor_command
from aimo_submit.cli.eval import add_eval_commands
from aimo_submit.cli.kaggle import add_kernel_commands, add_notebook_commands
from aimo_submit.cli.models import add_models_command, add_profile_command
from aimo_submit.cli.options import add_run_options, notes, out, settings_of_run
from aimo_submit.cli.pool import add_pool_commands
from aimo_submit.cli.rehearse import add_rehearse_command
from aimo_submit.cli.report import add_report_command
from aimo_submit.cli.training import add_distil_command, add_quantize_command
from aimo_submit.cli.tune import add_tune_command
from aimo_submit.cli.upload import add_upload_command
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.records import Problem, Trace

MISUSE, FAILED, INTERRUPTED = 2, 1, 130
CRASH = Path("runs/crash.txt")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 failed, 2 misuse, 130 interrupted."""
    handler = RichHandler(console=notes, show_path=False, show_time=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s")
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except UserError as error:
        print(f"aimo-submit: {error}", file=sys.stderr)
        return MISUSE
    except EngineDied as error:
        print(f"aimo-submit: the engine could not be started again: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("aimo-submit: stopped; run again, eval and distil go on", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # the border to the user: a line to read, the details in a file
        with suppress(OSError):  # a full disk may be what went wrong
            CRASH.parent.mkdir(exist_ok=True)
            CRASH.write_text(traceback.format_exc())
        print(f"aimo-submit: {type(error).__name__}: {error}; details in {CRASH}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aimo-submit",
        description="Solve, evaluate, tune and submit for the AI Mathematical Olympiad prizes.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    solve = commands.add_parser(
        "solve",
        help="solve one problem, showing samples, code, outputs and votes as they come",
        epilog="example: aimo-submit solve 'What is the sum of the digits of $2^{40}$?'",
    )
    solve.add_argument("text", metavar="PROBLEM", help="the problem's text, or - for stdin")
    add_run_options(solve)
    solve.set_defaults(run=_solve)

    add_eval_commands(commands)
    add_pool_commands(commands)
    add_doctor_command(commands)
    add_kernel_commands(commands)
    add_upload_command(commands)
    add_notebook_commands(commands)
    add_rehearse_command(commands)
    add_models_command(commands)
    add_distil_command(commands)
    add_profile_command(commands)
    add_tune_command(commands)
    add_report_command(commands)
    add_quantize_command(commands)
    return parser


def _solve(args: argparse.Namespace) -> int:
    config, card = settings_of_run(args)
    problem = Problem("problem", sys.stdin.read() if args.text == "-" else args.text)
    if not problem.text.strip():
        raise UserError("the problem is empty: give its text, in quotes")
    fits_context(card, [problem])
    from aimo_submit import show, start_solver

    def watch(problem: Problem, trace: Trace) -> None:
        line = show.round_line(trace)
        if line:
            notes.print(line)

    with notes.status(f"loading {card.name} on {config.engine}"):
        solver = start_solver(config, card, watch=watch).load()
    with solver:
        solution = solver.solve(problem)
    out.print(show.work(solution))
    out.print(show.solution_line(solution))
    return 0


if __name__ == "__main__":
    sys.exit(main())
