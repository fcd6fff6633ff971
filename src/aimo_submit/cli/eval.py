"""`aimo-submit eval | summary | votes`: a problem set is solved, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from aimo_submit import show
from aimo_submit.cards import Card, fits_context
from aimo_submit.cli.options import NONE_GIVEN, Count, RunOptions, note, notes, say
from aimo_submit.cli.tables import (
    comparison,
    pool_table,
    rules_table,
    seeds_table,
    summary_table,
)
from aimo_submit.competition import competition_named
from aimo_submit.config import Config, settings_of, settings_that
from aimo_submit.errors import UserError
from aimo_submit.evaluate import runner
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.evaluate.ray import LOCAL, Actors
from aimo_submit.evaluate.runner import Job, Solving, problems_at_once, solving
from aimo_submit.evaluate.summary import Summary, grades_of, lead_of, summarise
from aimo_submit.journal import Journal, Key, key_of, locations_in, settings_in, solutions_in
from aimo_submit.pool import alike
from aimo_submit.pool.arrays import load_pool
from aimo_submit.pool.ballots import Ballot, ballots_in, import_votes
from aimo_submit.pool.tables import to_parquet
from aimo_submit.records import Solution
from aimo_submit.start import start_solver
from aimo_submit.tune.vote_rules import VoteCounts, counts_of, quality_lines, score_rules


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Evaluation:
    """How much is solved, where, and where it is recorded.

    Args:
        seeds: how many runs, each with a seed of its own
        limit: take the first K problems only
        out: where to record every sample; FOLDER/ makes a pool, for tune and report, in which
            nothing stops early [default: runs/SET.jsonl]
        show: show one sample's work of each problem
        ray: solve on the Ray cluster of that address; without one, on a cluster of this machine
        actors: solvers on the cluster [default: one for each GPU, or machine]
    """

    seeds: Count = 1
    limit: Count | None = None
    out: str | None = None
    show: bool = False
    ray: Annotated[list[str] | None, Parameter(consume_multiple=(0, 1))] = None
    actors: Count | None = None

    @property
    def pool(self) -> Path | None:
        """The folder of the pool, where one is meant."""
        if self.out and (self.out.endswith("/") or Path(self.out).is_dir()):
            return Path(self.out)
        return None

    def journal(self, name: str, seed: int) -> Path:
        """The journal of that problem set; in a pool each first seed has a file of its own."""
        stem = Path(name.partition("=")[0]).stem
        if self.pool:
            return self.pool / f"{stem}-{seed}.jsonl"
        return Path(self.out) if self.out else Path("runs") / f"{stem}.jsonl"


ONCE = Evaluation()


def evaluate(problems: str, /, *, how: Evaluation = ONCE, run: RunOptions = NONE_GIVEN) -> None:
    """Solves a problem set, goes on where an earlier run ended, and prints the summary.

    Args:
        problems: tiny, original; amc, aime, math4, math5 from the hub or as NAME=FILE; a .csv,
            .jsonl or .parquet file; a hub name
    """
    config, card = run.resolved()
    if how.actors and how.ray is None:
        raise UserError("--actors is for clusters: give --ray too")
    config = _unstopped(config) if how.pool else config
    if config.total_time_s is not None:
        raise UserError("eval keeps no time budget, so that every sample counts: drop total_time_s")
    chosen = load_problems(problems, competition_named(config.edition))[: how.limit]
    fits_context(card, chosen)
    path = how.journal(problems, config.seed)
    seeds = range(config.seed, config.seed + how.seeds)
    done = _elsewhere(path, settings_of(config)) if how.pool else set()
    with Journal(path, settings_of(config)) as journal:
        jobs = runner.remaining(chosen, seeds, done | journal.keys)
        total = len(chosen) * how.seeds
        if len(jobs) < total:
            note(f"{path}: {total - len(jobs)} solved before, {len(jobs)} to go")
        if jobs:
            _solve(config, card, jobs, journal, how)
    if how.pool and any(problem.answer is not None for problem in chosen):
        say(pool_table(how.pool, load_pool(how.pool)))
    elif not how.pool:
        wanted = {key_of(p, seed) for p in chosen for seed in seeds}
        _print_summary(s for s in solutions_in(path) if key_of(s.problem, s.seed) in wanted)
    note(f"every sample is in {path}")


def _unstopped(config: Config) -> Config:
    whole = Config()
    off = {name: getattr(whole, name) for name in settings_that("cuts", "aside")}
    given = [name for name, value in off.items() if getattr(config, name) != value]
    if given:
        note(f"a pool keeps every sample to its end: {', '.join(given)} left aside")
    return dataclasses.replace(config, **off)


def _elsewhere(path: Path, settings: dict[str, Any]) -> set[Key]:
    """The keys in the pool's other journals, which must all be of one kind with this run."""
    others = [file for file in path.parent.glob("*.jsonl") if file != path]
    alike([("this run", settings), *((str(file), settings_in(file)) for file in others)])
    places = chain.from_iterable(map(locations_in, others))
    return {place.key for place in places if place.samples >= settings["samples"]}


def _solve(config: Config, card: Card, jobs: list[Job], journal: Journal, how: Evaluation) -> None:
    board = show.Board(notes, len(jobs))

    def report(solution: Solution) -> None:
        board.finish(solution)
        if how.show:
            say(show.work(solution))
        say(show.solution_line(solution), markup=True)

    at_once = problems_at_once(config)
    with ExitStack() as stack:
        with notes.status(f"loading {card.name} on {config.engine}"):
            if how.ray is None:
                solver = stack.enter_context(start_solver(config, card, watch=board.watch))
                solve: Solving = solving(solver, at_once)
            else:
                address = how.ray[0] if how.ray else LOCAL
                actors = Actors(config, address=address, actors=how.actors, at_once=at_once)
                solve = stack.enter_context(actors).solve
        if notes.is_terminal:
            stack.enter_context(board.live)
        runner.evaluate(solve, jobs, journal, report=report)


def summary(file: Path, /, *, against: Path | None = None) -> None:
    """Prints the summary of a journal, and how far it is ahead of another.

    Args:
        file: the journal that eval wrote
        against: another journal: how far FILE is ahead of it
    """
    ours = _print_summary(solutions_in(file))
    if not ours.solutions:
        raise UserError(f"{file}: no problem has been solved yet")
    if against:
        both, pass_1, maj_n = lead_of(ours.grades, grades_of(solutions_in(against)))
        if pass_1 is None or maj_n is None:
            raise UserError("the two journals have no problem with a gold answer in common")
        say(comparison(both, pass_1, maj_n))


def _print_summary(solutions: Iterable[Solution]) -> Summary:
    found = summarise(solutions)
    if found.solutions:
        say(summary_table(found))
    if table := seeds_table(found.grades):
        say(table)
    return found


def votes(files: list[Path], /) -> None:
    """Prints how each vote rule does on recorded samples.

    Args:
        files: journals, or .csv tables of answers
    """
    counted: list[VoteCounts] = []

    def ballots() -> Iterator[Ballot]:
        for ballot in chain.from_iterable(map(ballots_in, files)):
            counts = counts_of(ballot.traces, ballot.gold)
            counted.extend([counts] if counts else [])
            yield ballot

    scores = score_rules(ballots())
    say(rules_table(scores, f"{scores[0].ballots} votes"))
    for line in quality_lines(counted):
        say(line)


def pool_show(pool: Path, /) -> None:
    """Prints the figures of a pool.

    Args:
        pool: folder of journals, a journal, a .parquet export or a .csv of votes
    """
    say(pool_table(pool, load_pool(pool)))


def pool_export(pool: Path, out: Path, /) -> None:
    """Writes a pool as one table.

    Args:
        pool: folder of journals, or a journal
        out: the .parquet to write
    """
    rows = to_parquet(pool, out)
    note(f"{rows:,} rounds are in {out}: pandas.read_parquet({str(out)!r})")


def pool_import(votes: Path, out: str, /) -> None:
    """Writes a table of answers as a journal.

    Args:
        votes: a .csv with columns problem_id, answer (gold), logged_answer; if known boxed,
            has_code
        out: a journal, or a folder of its own, ending in /
    """
    target = Path(out)
    if out.endswith("/") or target.is_dir():
        target = target / f"{votes.stem}.jsonl"
    note(f"{import_votes(votes, target)} problems are in {target}")
