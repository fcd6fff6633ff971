"""The command line: parses, calls, prints. Results on stdout, notes on stderr."""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from aimo_submit.cards import Card, config_for, fits_context
from aimo_submit.competition import EDITIONS
from aimo_submit.config import Config, parse_value, read_toml
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.kaggle.commands import add_kernel_commands
from aimo_submit.records import Problem, Solution, Trace

MISUSE, FAILED, INTERRUPTED = 2, 1, 130
CRASH = Path("runs/crash.txt")

out = Console()
notes = Console(stderr=True)


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
        print("aimo-submit: stopped; the same command resumes", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # the border to the user: a line to read, the details in a file
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
    _run_options(solve)
    solve.set_defaults(run=_solve)

    evaluate = commands.add_parser(
        "eval",
        help="solve a problem set and report accuracy with its variance; resumes when run again",
        epilog="example: aimo-submit eval original --seeds 5 --samples 16 --out runs/first.jsonl",
    )
    evaluate.add_argument(
        "problems", metavar="SET", help="tiny, original, a .csv/.jsonl/.parquet file, a hub name"
    )
    evaluate.add_argument("--seeds", type=int, default=1, metavar="K", help="seeds, from --seed on")
    evaluate.add_argument("--limit", type=int, metavar="K", help="take the first K problems only")
    evaluate.add_argument(
        "--out", type=Path, metavar="FILE", help="journal (default: runs/SET.jsonl)"
    )
    evaluate.add_argument("--show", action="store_true", help="show one sample's work per problem")
    _run_options(evaluate)
    evaluate.set_defaults(run=_evaluate)

    doctor = commands.add_parser(
        "doctor", help="what holds on this machine around model-written code, tried out"
    )
    doctor.set_defaults(run=_doctor)

    summary = commands.add_parser(
        "summary",
        help="summarise a journal, also while it is growing",
        epilog="example: aimo-submit summary runs/original.jsonl",
    )
    summary.add_argument("journal", type=Path, metavar="FILE", help="a journal that eval wrote")
    summary.set_defaults(run=_summary)

    votes = commands.add_parser(
        "votes",
        help="compare every vote rule on samples that were recorded",
        epilog="example: aimo-submit votes runs/original.jsonl",
    )
    votes.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="journals, or .csv tables of answers"
    )
    votes.set_defaults(run=_votes)
    add_kernel_commands(commands)
    return parser


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    parser.add_argument("--model", metavar="CARD", help="model card (default: tiny-tir)")
    parser.add_argument("--engine", metavar="NAME", help="transformers (default) or vllm")
    parser.add_argument("--edition", metavar="NAME", help="aimo-1 (default), aimo-2, aimo-3, any")
    parser.add_argument("-n", "--samples", type=int, metavar="N", help="samples a problem (48)")
    parser.add_argument("-m", "--rounds", type=int, metavar="M", help="rounds a sample (4)")
    parser.add_argument("--seed", type=int, metavar="K", help="first seed (0)")
    parser.add_argument(
        "-c", dest="settings", action="append", default=[], metavar="NAME=VALUE",
        help="any other setting, as in TOML: -c temperature=0.6",
    )  # fmt: skip


def _given(args: argparse.Namespace) -> Mapping[str, Any]:
    """The settings named on the command line, over those of --config."""
    given = read_toml(args.config) if args.config else {}
    for name in ("model", "engine", "edition", "samples", "rounds", "seed"):
        if getattr(args, name) is not None:
            given[name] = getattr(args, name)
    return given | dict(parse_value(setting) for setting in args.settings)


def _solve(args: argparse.Namespace) -> int:
    config, card = config_for(_given(args))
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
        solver = start_solver(config, card, watch=watch).__enter__()
    with solver:
        solution = solver.solve(problem)
    out.print(show.work(solution))
    out.print(show.solution_line(solution))
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from aimo_submit.offline.problems import load_problems

    config, card = config_for(_given(args))
    if config.total_time_s is not None:
        raise UserError("eval keeps no time budget, so that every sample counts: drop total_time_s")
    for name in ("seeds", "limit"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)}: must be at least 1")
    problems = load_problems(args.problems, EDITIONS[config.edition])[: args.limit]
    fits_context(card, problems)
    path = args.out or Path("runs") / f"{Path(args.problems).stem}.jsonl"
    _run(config, card, problems, path, args)
    return 0


def _run(
    config: Config, card: Card, problems: list[Problem], path: Path, args: argparse.Namespace
) -> None:
    from aimo_submit import show, start_solver
    from aimo_submit.offline.evaluate import evaluate, problems_at_once, remaining, settings_of
    from aimo_submit.offline.journal import Journal, key_of

    seeds = range(config.seed, config.seed + args.seeds)
    with Journal(path, settings_of(config)) as journal:
        jobs = remaining(problems, seeds, journal)
        done = len(problems) * len(seeds) - len(jobs)
        if done:
            notes.print(f"{path}: {done} solved before, {len(jobs)} to go")
        board = show.Board(notes, done + len(jobs), done)

        def report(solution: Solution) -> None:
            board.finish(solution)
            if args.show:
                out.print(show.work(solution))
            out.print(show.solution_line(solution))

        if jobs:
            with notes.status(f"loading {card.name} on {config.engine}"):
                solver = start_solver(config, card, watch=board.watch).__enter__()
            with solver, board.live if notes.is_terminal else nullcontext():
                at_once = problems_at_once(config)
                evaluate(solver, jobs, journal, at_once=at_once, report=report)
        wanted = {key_of(p, seed) for p in problems for seed in seeds}
        solved = [s for s in journal.solutions if key_of(s.problem, s.seed) in wanted]
    _print_summary(solved)
    notes.print(f"every sample is in {path}")


def _doctor(args: argparse.Namespace) -> int:
    import asyncio

    from aimo_submit import show
    from aimo_submit.sandbox.server import ForkServer
    from aimo_submit.sandbox.trial import promises

    async def examine() -> bool:
        async with ForkServer() as server:
            layers, found = await server.layers(), await promises(server)
        out.print(show.layers_table(layers))
        out.print(show.promises_table(found))
        return all(promise.holds for promise in found)

    if asyncio.run(examine()):
        return 0
    notes.print("what does not hold takes root in a container, or a kernel with Landlock (5.13 on)")
    return FAILED


def _summary(args: argparse.Namespace) -> int:
    from aimo_submit.offline.journal import read_journal

    _, solutions = read_journal(args.journal)
    if not solutions:
        raise UserError(f"{args.journal}: no problem has been solved yet")
    _print_summary(solutions)
    return 0


def _votes(args: argparse.Namespace) -> int:
    from aimo_submit.offline.votes import compare, load_ballots, quality_lines, rules_table

    ballots = [ballot for path in args.files for ballot in load_ballots(path)]
    out.print(rules_table(compare(ballots), f"{len(ballots)} votes"))
    for line in quality_lines(ballots):
        out.print(line)
    return 0


def _print_summary(solutions: list[Solution]) -> None:
    from aimo_submit import show
    from aimo_submit.offline.summary import summarise

    out.print(show.summary_table(summarise(solutions)))


if __name__ == "__main__":
    sys.exit(main())
