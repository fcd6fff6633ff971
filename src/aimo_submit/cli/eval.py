"""`aimo-submit eval | summary | votes`: parses, calls, prints."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimo_submit.cards import Card, fits_context
from aimo_submit.cli.options import Commands, add_run_options, at_least, notes, out, settings_of_run
from aimo_submit.cli.pool import print_pool
from aimo_submit.competition import EDITIONS
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.records import Problem, Solution

if TYPE_CHECKING:
    from aimo_submit.evaluate.runner import Job, Solving
    from aimo_submit.journal import Journal, Key

# What would end samples early, or add to them; a pool has every sample as it came.
NOT_IN_POOLS = ("early_stop", "problem_timeout_s", "total_time_s", "problems")


def add_eval_commands(commands: Commands) -> None:
    """Adds `eval`, `summary` and `votes`."""
    _add_eval(commands)

    summary = commands.add_parser(
        "summary",
        help="accuracy, time and failures of what eval recorded, also while it runs",
        epilog="example: aimo-submit summary runs/original.jsonl",
    )
    summary.add_argument("journal", type=Path, metavar="FILE", help="journal: what eval wrote")
    summary.add_argument(
        "--against", type=Path, metavar="FILE", help="another journal: how far FILE is ahead of it"
    )
    summary.set_defaults(run=_summary)

    votes = commands.add_parser(
        "votes",
        help="compare the vote rules on recorded samples",
        epilog="example: aimo-submit votes runs/original.jsonl",
    )
    votes.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="journals, or .csv tables of answers"
    )
    votes.set_defaults(run=_votes)


def _add_eval(commands: Commands) -> None:
    evaluate = commands.add_parser(
        "eval",
        help="solve a problem set and report accuracy with its variance; resumes when run again",
        epilog="example: aimo-submit eval original --samples 16 --seeds 3 --out runs/a.jsonl",
    )
    evaluate.add_argument(
        "problems",
        metavar="SET",
        help="tiny, original; amc, aime, math4, math5 from the hub or as NAME=FILE; "
        "a .csv/.jsonl/.parquet file; a hub name",
    )
    evaluate.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="K",
        help="how many runs, each with a seed of its own (1)",
    )
    evaluate.add_argument("--limit", type=int, metavar="K", help="take the first K problems only")
    evaluate.add_argument(
        "--out",
        metavar="FILE|FOLDER/",
        help="where to record every sample (runs/SET.jsonl); FOLDER/ makes a pool, for tune and "
        "report: nothing stops early",
    )
    evaluate.add_argument("--show", action="store_true", help="show one sample's work per problem")
    evaluate.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="solve on a Ray cluster (without ADDRESS: on one of this machine alone)",
    )
    evaluate.add_argument(
        "--actors", type=int, metavar="K", help="solvers on the cluster (one per GPU or machine)"
    )
    add_run_options(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    from aimo_submit.evaluate.problem_sets import load_problems

    config, card = settings_of_run(args)
    at_least(1, args, "seeds", "limit", "actors")
    if args.actors and not args.ray:
        raise UserError("--actors is for clusters: give --ray too")
    pool = _folder(args.out)
    config = _unstopped(config) if pool else config
    if config.total_time_s is not None:
        raise UserError("eval keeps no time budget, so that every sample counts: drop total_time_s")
    problems = load_problems(args.problems, EDITIONS[config.edition])[: args.limit]
    fits_context(card, problems)
    path = _journal(args, pool, config.seed)
    _record(config, card, problems, path, args)
    notes.print(f"every sample is in {path}")
    return 0


def _folder(target: str | None) -> Path | None:
    """The folder of the pool, where one is meant."""
    if target and (target.endswith("/") or Path(target).is_dir()):
        return Path(target)
    return None


def _journal(args: argparse.Namespace, pool: Path | None, seed: int) -> Path:
    name = args.problems.partition("=")[0]
    if pool:  # runs with other seeds get a file of their own, so that pools can be put together
        return pool / f"{Path(name).stem}-{seed}.jsonl"
    return Path(args.out) if args.out else Path("runs") / f"{Path(name).stem}.jsonl"


def _unstopped(config: Config) -> Config:
    off = [name for name in NOT_IN_POOLS if getattr(config, name) is not None]
    if off:
        notes.print(f"a pool keeps every sample to its end: {', '.join(off)} left aside")
    return Config.of({**dataclasses.asdict(config), **dict.fromkeys(off), "picks": 0})


def _record(
    config: Config, card: Card, problems: list[Problem], path: Path, args: argparse.Namespace
) -> None:
    from aimo_submit.evaluate.runner import remaining, settings_of
    from aimo_submit.journal import Journal, key_of, read_journal

    seeds, pool = range(config.seed, config.seed + args.seeds), _folder(args.out)
    done = _elsewhere(path, settings_of(config)) if pool else set()
    with Journal(path, settings_of(config)) as journal:
        jobs = remaining(problems, seeds, done | journal.keys)
        total = len(problems) * len(seeds)
        if len(jobs) < total:
            notes.print(f"{path}: {total - len(jobs)} solved before, {len(jobs)} to go")
        if jobs:
            _solve(config, card, jobs, journal, args)
    if pool and any(problem.answer is not None for problem in problems):
        print_pool(pool)
    elif not pool:
        wanted = {key_of(p, seed) for p in problems for seed in seeds}
        _print_summary([s for s in read_journal(path)[1] if key_of(s.problem, s.seed) in wanted])


def _elsewhere(path: Path, settings: dict[str, Any]) -> set[Key]:
    """What the pool's other journals hold already; all must be of one kind with this run."""
    from aimo_submit.journal import settings_in
    from aimo_submit.pool.reading import Index, alike

    others = [file for file in path.parent.glob("*.jsonl") if file != path]
    if not others:
        return set()
    alike([("this run", settings), *((str(file), settings_in(file)) for file in others)])
    return Index(path.parent).keys(settings["samples"])


def _solve(
    config: Config,
    card: Card,
    jobs: list[Job],
    journal: Journal,
    args: argparse.Namespace,
) -> None:
    from aimo_submit import show, start_solver
    from aimo_submit.evaluate.runner import evaluate, problems_at_once

    board = show.Board(notes, len(jobs))

    def report(solution: Solution) -> None:
        board.finish(solution)
        if args.show:
            out.print(show.work(solution))
        out.print(show.solution_line(solution), soft_wrap=True)

    at_once = problems_at_once(config)
    with ExitStack() as stack:
        with notes.status(f"loading {card.name} on {config.engine}"):
            if args.ray:
                from aimo_submit.evaluate.ray import Actors

                crew = Actors(config, address=args.ray, actors=args.actors, at_once=at_once)
                solver: Solving = stack.enter_context(crew)
                at_once *= crew.share.actors
            else:
                solver = stack.enter_context(start_solver(config, card, watch=board.watch))
        if notes.is_terminal:
            stack.enter_context(board.live)
        evaluate(solver, jobs, journal, at_once=at_once, report=report)


def _summary(args: argparse.Namespace) -> int:
    from aimo_submit.journal import read_journal

    _, solutions = read_journal(args.journal)
    if not solutions:
        raise UserError(f"{args.journal}: no problem has been solved yet")
    _print_summary(solutions)
    if args.against:
        _print_comparison(solutions, read_journal(args.against)[1])
    return 0


def _print_comparison(ours: Sequence[Solution], theirs: Sequence[Solution]) -> None:
    from aimo_submit.cli.tables import comparison
    from aimo_submit.evaluate.summary import compare

    both, pass_1, maj_n = compare(ours, theirs)
    if pass_1 is None or maj_n is None:
        raise UserError("the two journals have no problem with a gold answer in common")
    out.print(comparison(both, pass_1, maj_n), soft_wrap=True)


def _votes(args: argparse.Namespace) -> int:
    from aimo_submit.cli.tables import rules_table
    from aimo_submit.pool.ballots import load_ballots
    from aimo_submit.tune.votes import quality_lines, score_rules, vote_counts

    ballots = [ballot for path in args.files for ballot in load_ballots(path)]
    out.print(rules_table(score_rules(ballots), f"{len(ballots)} votes"))
    for line in quality_lines(vote_counts(ballots)):
        out.print(line)
    return 0


def _print_summary(solutions: Sequence[Solution]) -> None:
    from aimo_submit.cli.tables import seeds_table, summary_table
    from aimo_submit.evaluate.summary import summarise

    out.print(summary_table(summarise(solutions)))
    table = seeds_table(solutions)
    if table:
        out.print(table)
