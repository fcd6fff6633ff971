"""Policy R against fixed settings and published schemes: how many of 50, and does the time hold.

Problems, their samples' answers and lengths come from a bank: simulated, or resampled from votes
that real models cast. The budget is the real one, and so are its stopping and starting rules and
the vote. Only the token level is shortened: a batch is simulated from one sample's end to the next,
at s0 + s1*b seconds a token with b running. `--check` solves one run of every policy through the
real solver and loop as well, on the scripted engine's virtual clock, and compares.

The simulated bank: success ~ Beta(.40, .55); wrong answers in 40 clusters by Zipf's law; lengths
log-normal, cut by the context. Its three free constants were set so that fixed N=48 and T/50 each
come out as they did in the study that found policy R: docs/log/budget.md. In three of ten problems
the solver comes back up to a few seconds late, in one of a hundred 120 s late.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import math
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from aimo_submit import Config, Problem, Trace
from aimo_submit.budget import Allotment, Budget, Tally, Terms, effort_of
from aimo_submit.competition import competition_named
from aimo_submit.engines import Sampling
from aimo_submit.engines.scripted import ScriptedEngine, ScriptedSandbox, StepTime, simulate
from aimo_submit.errors import UserError
from aimo_submit.formats.families import FORMATS
from aimo_submit.journal import solutions_in
from aimo_submit.pacing import Effort, Pacing
from aimo_submit.records import Execution, Outcome
from aimo_submit.run import Run, seed_of
from aimo_submit.solve import solve
from aimo_submit.tune.simulation import Policy, Samples, Simulated, simulate_problem

PROBLEMS = 50
N = 48
POOL = 96  # samples a problem has: policy R starts no more
RIGHT = 0  # the answer that is right, in every bank
CLUSTERS, ZIPF = 40, 1.1
TOKENS, SPREAD, CONTEXT = 1915.0, 0.6, 5100  # median length, sigma of its logarithm, cut
MACHINE = StepTime(0.045, 0.0035)
LATE, LATE_S = 0.3, 3.0  # how often the solver is late, and by how much in the mean
STALL, STALL_S = 0.01, 120.0
GAP_S = 1.0  # the gateway's, between two problems
RATIOS = (0.25, 0.40, 0.60, 1.09, 1.6)  # of the time that fixed N=48 takes
KAGGLE_S = 5 * 3600.0  # what the published schemes were written for

console, notes = Console(), Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One problem's pool of samples: answers (None: it gave none) and lengths in tokens."""

    answers: Sequence[int | None]
    tokens: Sequence[int]
    known: dict[Allotment, Simulated] = field(default_factory=dict, repr=False)  # without deadline


def simulated(rng: np.random.Generator) -> list[Recorded]:
    """A problem set of the simulated bank."""
    weights = 1 / np.arange(1, CLUSTERS + 1) ** ZIPF
    weights /= weights.sum()
    problems = []
    for success in rng.beta(0.40, 0.55, PROBLEMS):
        wrong = 1 + rng.choice(CLUSTERS, POOL, p=weights)
        answers = np.where(rng.random(POOL) < success, RIGHT, wrong)
        problems.append(Recorded(answers.tolist(), lengths(rng)))
    return problems


def lengths(rng: np.random.Generator) -> list[int]:
    """The tokens of a pool's samples."""
    drawn = TOKENS * np.exp(SPREAD * rng.normal(size=POOL))
    return [int(n) for n in np.clip(drawn, 50, CONTEXT)]


def resampled(votes: Sequence[Sequence[int | None]], rng: np.random.Generator) -> list[Recorded]:
    """A problem set whose samples are drawn from the votes that were cast on real problems."""
    chosen = rng.choice(len(votes), PROBLEMS, replace=False)
    return [
        Recorded([votes[i][k] for k in rng.integers(len(votes[i]), size=POOL)], lengths(rng))
        for i in chosen
    ]


def recorded_votes(folder: Path) -> list[list[int | None]]:
    """The votes of every problem in the folder's *_votes.csv on which the voters differ."""
    files = sorted(folder.glob("*_votes.csv"))
    if not files:
        raise UserError(f"no *_votes.csv in {folder}: give their folder as --votes")
    problems: dict[str, list[int | None]] = defaultdict(list)
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                problems[row["problem_id"]].append(cast(row["boxed"], row["answer"]))
    return [votes for votes in problems.values() if len(set(votes)) > 1]


def cast(boxed: str, gold: str) -> int | None:
    """A vote as an integer with the right answer at RIGHT; None for what is no integer."""
    try:
        value, right = Decimal(boxed), Decimal(gold)
        return None if value != value.to_integral_value() else int(value - right) + RIGHT
    except (InvalidOperation, ValueError, OverflowError):
        return None


# --- policies


@dataclass
class Plain:
    """A policy that gives each problem what `given` says of the time left and the problems left.

    A guard at the limit cuts what would exceed it, unless `guarded` is off.
    """

    total_s: float
    clock: Callable[[], float]
    given: Callable[[Plain], Allotment]
    guarded: bool = True
    done: int = 0
    used_s: float = 0.0

    @property
    def left_s(self) -> float:
        """Seconds left, less what a stall and the gaps between the problems left take."""
        held = max(STALL_S, 0.02 * self.total_s) + GAP_S * (PROBLEMS - self.done)
        return self.total_s - self.clock() - held if self.guarded else math.inf

    @property
    def share_s(self) -> float:
        """Seconds left, for each problem left."""
        return max(0.0, self.total_s - self.clock()) / (PROBLEMS - self.done)

    def begin(self) -> Allotment:
        allotment = self.given(self)
        return replace(allotment, deadline_s=max(0.0, min(allotment.deadline_s, self.left_s)))

    def end(self, effort: Effort) -> None:
        self.done += 1
        self.used_s += effort.seconds


@dataclass(frozen=True, slots=True)
class Agreement(Allotment):
    """Stops when `a` of the first `b` answers agree, for any of the pairs (a, b)."""

    pairs: tuple[tuple[int, int], ...] = ()
    last: tuple[int, int] | None = None  # or when a of the last b do
    enough: int = 1 << 30  # or when so many samples have ended: the stragglers are cancelled

    def settles(self, tally: Tally, outstanding: int) -> bool:
        answered = len(tally.answers)
        if any(tally.lead >= a and answered <= b for a, b in self.pairs):
            return True
        if self.last and answered >= self.last[1]:
            window = tally.answers[-self.last[1] :]
            if max(map(window.count, window)) >= self.last[0]:
                return True
        return tally.ended >= self.enough


def policy_r(total_s: float, clock: Callable[[], float]) -> Policy:
    """The kit's own policy."""
    pacing = Pacing(TOKENS, MACHINE.s0, MACHINE.s1)
    return Budget(Terms(total_s, PROBLEMS, samples=N), clock, pacing)


def all_samples(plain: Plain) -> Allotment:
    """Fixed N, to the end."""
    return Allotment(width=N, samples=N)


def equal_shares(plain: Plain) -> Allotment:
    """T/50 for each problem; it ends when nothing can change the winner."""
    return Allotment(plain.total_s / PROBLEMS - GAP_S, N, N, 0.0)


def greedy(plain: Plain) -> Allotment:
    """As long as a problem needs, with early stopping."""
    return Allotment(width=N, samples=N, eps=0.02)


def first_place(plain: Plain) -> Agreement:
    """AIMO-2, first place: 350 s and up to 210 s that were saved; 4 of the first 5 (2504.16891)."""
    scale = plain.total_s / KAGGLE_S
    saved_s = max(0.0, plain.done * 350 * scale - plain.used_s)
    limit = 350 * scale + min(saved_s, 210 * scale)
    return Agreement(limit, 16, 16, pairs=((4, 5),), enough=12)


def second_place(plain: Plain) -> Agreement:
    """AIMO-2, second place: N and time by the time left; 4/4, 4 of the last 5, 5/7, 6/9."""
    hurried = plain.share_s < 300 * plain.total_s / KAGGLE_S
    width, limit = (10, 1.5) if hurried else (15, 2.0)
    rules = ((4, 4), (5, 7), (6, 9))
    return Agreement(limit * plain.share_s, width, width, pairs=rules, last=(4, 5))


def third_public(plain: Plain) -> Agreement:
    """AIMO-3, public notebooks: what the later problems' 300 s leave, 300 to 900 s; 4 of 8."""
    scale, left = plain.total_s / KAGGLE_S, PROBLEMS - plain.done
    spare = plain.total_s - plain.clock() - (left - 1) * 300 * scale
    limit = min(max(spare, 300 * scale), 900 * scale)
    return Agreement(limit, 8, 8, pairs=((4, 8),))


POLICIES: dict[str, Callable[[float, Callable[[], float]], Policy]] = {
    "fixed N=48, guard at T": partial(Plain, given=all_samples),
    "T/50 each": partial(Plain, given=equal_shares, guarded=False),
    "greedy early stop": partial(Plain, given=greedy),
    "AIMO-2 first place": partial(Plain, given=first_place),
    "AIMO-2 second place": partial(Plain, given=second_place),
    "AIMO-3 public": partial(Plain, given=third_public),
    "R": policy_r,
}


# --- one problem: each sample a single round


def outcome(problem: Recorded, allotment: Allotment) -> Simulated:
    """The problem under the allotment, each sample a single round."""
    rounds = Samples(problem.answers, [(n,) for n in problem.tokens], [()] * len(problem.tokens))
    found = simulate_problem(rounds, allotment, MACHINE)
    ended = [(n - 1.0, life) for n, life in found.effort.ended]  # a turn's end has no text
    return replace(found, effort=replace(found.effort, ended=ended))


def recall(problem: Recorded, allotment: Allotment) -> Simulated:
    """`outcome`, from memory where the deadline made no difference."""
    if allotment.samples > allotment.width:
        return outcome(problem, allotment)  # a start depends on the deadline
    key = replace(allotment, deadline_s=math.inf)
    if key not in problem.known:
        problem.known[key] = outcome(problem, key)
    whole = problem.known[key]
    return whole if whole.effort.seconds < allotment.deadline_s else outcome(problem, allotment)


# --- runs


@dataclass(frozen=True, slots=True)
class Outturn:
    """One run of 50 problems."""

    correct: int
    seconds: float
    tokens: float
    answers: tuple[int | None, ...] = ()


def lateness(rng: random.Random, seconds: float) -> float:
    """Seconds by which a problem ends later than it should; one that got no time is not late."""
    slow, stalled, late_s = rng.random(), rng.random(), rng.expovariate(1 / LATE_S)
    late = (late_s if slow < LATE else 0.0) + (STALL_S if stalled < STALL else 0.0)
    return late if seconds > 0.01 else 0.0


def shuffled(seed: int) -> list[int]:
    """An order of the problems."""
    return random.Random(seed).sample(range(PROBLEMS), PROBLEMS)


def shortcut(name: str, bank: Sequence[Recorded], total_s: float, seed: int) -> Outturn:
    """A run of a policy over the problems in an order of their own, on the shortcut."""
    rng, now = random.Random(-1 - seed), 0.0
    policy = POLICIES[name](total_s, lambda: now)
    tokens, answers = 0.0, []
    for index in shuffled(seed):
        found = recall(bank[index], policy.begin())
        now += found.effort.seconds + lateness(rng, found.effort.seconds)
        policy.end(found.effort)
        answers.append(found.answer)
        tokens += found.tokens
        finish, now = now, now + GAP_S
    return Outturn(answers.count(RIGHT), finish, tokens, tuple(answers))


def full_loop(name: str, bank: Sequence[Recorded], total_s: float, seed: int) -> Outturn:
    """The same run through the real solver and loop, on the virtual clock."""
    return simulate(_full_loop(name, bank, total_s, seed))


async def _full_loop(name: str, bank: Sequence[Recorded], total_s: float, seed: int) -> Outturn:
    now, rng = asyncio.get_running_loop().time, random.Random(-1 - seed)
    policy = POLICIES[name](total_s, now)
    run = scripted(bank)
    tokens, answers, finish = 0, [], 0.0
    for index in shuffled(seed):
        start, allotment, traces = now(), policy.begin(), list[Trace]()
        solution = await solve(run, Problem(str(index), str(index)), traces, allotment)
        seconds = now() - start
        await asyncio.sleep(lateness(rng, seconds))
        policy.end(effort_of(traces, seconds, allotment.width))
        answers.append(solution.answer if solution.votes else None)
        tokens += sum(trace.n_tokens + 1 for trace in traces if trace.rounds)
        finish = now()
        await asyncio.sleep(GAP_S)
    await run.engine.aclose()
    return Outturn(answers.count(RIGHT), finish, tokens, tuple(answers))


def scripted(bank: Sequence[Recorded]) -> Run:
    """A run whose engine writes the bank's samples, token for token."""
    texts = {
        seed_of(0, str(index), k, 0): written(problem.answers[k], problem.tokens[k])
        for index, problem in enumerate(bank)
        for k in range(POOL)
    }

    def script(prompt: str, sampling: Sampling) -> str:
        return texts[sampling.seed]

    config = Config(edition="any", samples=N, rounds=1, max_new_tokens=2 * CONTEXT)
    sandbox = ScriptedSandbox(lambda code: Execution(Outcome.OK, "", 0.0))
    engine = ScriptedEngine(script, MACHINE)
    return Run(config, FORMATS["r1_distill"], competition_named("any"), engine, sandbox)


def written(answer: int | None, tokens: int) -> str:
    """A sample of that many tokens, the end of its turn included."""
    end = "" if answer is None else f"\\boxed{{{answer}}}"
    return "." * (tokens - 1 - len(end)) + end


# --- the table


@dataclass(frozen=True, slots=True)
class Cell:
    """A policy at one limit, over all runs."""

    policy: str
    ratio: float
    correct: float  # of 50, in the mean
    error: float  # standard error of that, over problem sets
    exceeded: float  # share of the runs that took longer than T
    worst: float  # longest run, as a share of T
    tokens: float  # of a run, in the mean


def cell(name: str, ratio: float, banks: Sequence[Sequence[Recorded]], args: Sizes) -> Cell:
    """The runs of one policy at one limit, summed up."""
    total_s = ratio * args.fixed_s
    runs = [
        [shortcut(name, bank, total_s, args.seed + 1000 * b + o) for o in range(args.orders)]
        for b, bank in enumerate(banks)
    ]
    means = [float(np.mean([run.correct for run in orders])) for orders in runs]
    seconds = np.array([run.seconds for orders in runs for run in orders])
    return Cell(
        policy=name,
        ratio=ratio,
        correct=float(np.mean(means)),
        error=float(np.std(means) / math.sqrt(len(means))),
        exceeded=float(np.mean(seconds > total_s)),
        worst=float(seconds.max() / total_s),
        tokens=float(np.mean([run.tokens for orders in runs for run in orders])),
    )


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is run, and how long fixed N takes."""

    seed: int
    orders: int
    fixed_s: float  # what fixed N=48 takes for a set, in the mean


def fixed_time(banks: Sequence[Sequence[Recorded]]) -> float:
    """Seconds that fixed N=48 takes for a problem set, in the mean."""
    whole = Allotment(width=N, samples=N)
    return float(np.mean([sum(recall(p, whole).effort.seconds for p in bank) for bank in banks]))


# --- what early stopping saves


@dataclass(frozen=True, slots=True)
class Saving:
    """Early stopping against all N samples to their end, over all problems of a bank."""

    at_once: int
    eps: float
    correct: float  # of 50, beyond what all samples give
    tokens: float  # share saved
    seconds: float  # share saved


def saving(problems: Sequence[Recorded], at_once: int, eps: float) -> Saving:
    """What stopping at that eps saves, with so many samples at once."""
    whole = Allotment(width=N, samples=N)
    stopping = Allotment(width=at_once, samples=N, eps=eps, least=N)
    full, less = (figures(problems, allotment) for allotment in (whole, stopping))
    saved = 1 - less / full
    gained = PROBLEMS * (less[0] - full[0]) / len(problems)
    return Saving(at_once, eps, float(gained), float(saved[1]), float(saved[2]))


def figures(problems: Sequence[Recorded], allotment: Allotment) -> NDArray[np.float64]:
    """Right answers, tokens and seconds of all the problems together."""
    found = [outcome(problem, allotment) for problem in problems]
    rows = [(float(p.answer == RIGHT), p.tokens, p.effort.seconds) for p in found]
    return np.array(rows).sum(axis=0)


def recorded_pool(path: Path) -> list[Recorded]:
    """The problems of a journal with N samples each: answers as they were, lengths too."""
    solutions = list(solutions_in(path))
    pools = [
        Recorded(
            [None if t.answer is None else t.answer - s.problem.answer + RIGHT for t in s.traces],
            [max(2, t.n_tokens) for t in s.traces],
        )
        for s in solutions
        if s.problem.answer is not None and len(s.traces) == N
    ]
    if not pools:
        raise UserError(f"{path}: no problem has a gold answer and {N} samples")
    return pools


def savings(args: argparse.Namespace) -> list[Saving]:
    """Early stopping on the journal, or on the bank where none is given."""
    if args.journal:
        problems = recorded_pool(args.journal)
    else:
        problems = [problem for bank in make_banks(args) for problem in bank]
    notes.print(f"early stopping on {len(problems)} problems, N={N}")
    return [saving(problems, w, eps) for w in (N, N // 2, N // 4) for eps in (0.0, 0.02, 0.15)]


def savings_table(rows: Sequence[Saving]) -> Table:
    """The savings as a table."""
    made = Table("at once", "eps", "correct of 50", "tokens saved", "time saved")
    for r in rows:
        figures = f"{r.correct:+.2f}", f"{r.tokens:.1%}", f"{r.seconds:.1%}"
        made.add_row(str(r.at_once), f"{r.eps:g}" if r.eps else "exact", *figures)
    return made


# --- the command


def make_banks(args: argparse.Namespace) -> list[list[Recorded]]:
    """The problem sets."""
    rngs = [np.random.default_rng([args.seed, k]) for k in range(args.sets)]
    if args.votes is None:
        return [simulated(rng) for rng in rngs]
    votes = recorded_votes(args.votes)
    return [resampled(votes, rng) for rng in rngs]


def measure(args: argparse.Namespace) -> list[Cell]:
    """Every policy at every limit."""
    banks = make_banks(args)
    sizes = Sizes(args.seed, args.orders, fixed_time(banks))
    title = f"{args.sets} sets x {args.orders} orders; fixed N={N} takes {sizes.fixed_s:,.0f} s"
    notes.print(title)
    cells = []
    for name in args.policies:
        for ratio in args.ratios:
            cells.append(cell(name, ratio, banks, sizes))
            notes.print(f"  {name} at {ratio}: {cells[-1].correct:.2f}")
    return cells


def compare(args: argparse.Namespace) -> list[str]:
    """One full-loop run a policy beside the shortcut's; what differs, in words."""
    bank = make_banks(args)[0]
    total_s, differences = args.ratios[0] * fixed_time([bank]), []
    for name in args.policies:
        quick, whole = (way(name, bank, total_s, args.seed) for way in (shortcut, full_loop))
        same = sum(a == b for a, b in zip(quick.answers, whole.answers, strict=True))
        off_s = abs(quick.seconds - whole.seconds)
        notes.print(
            f"{name}: {same} of {PROBLEMS} answers the same, {quick.seconds:.3f} s and "
            f"{whole.seconds:.3f} s of {total_s:.0f} s"
        )
        if same < PROBLEMS or off_s > 1e-6 * total_s:
            differences.append(f"{name}: {PROBLEMS - same} answers, {off_s:.3f} s")
    return differences


def table(cells: Sequence[Cell]) -> Table:
    """The cells as the table of the log."""
    ratios = sorted({c.ratio for c in cells})
    made = Table("policy", *(f"{ratio:g}" for ratio in ratios), "exceeds T", "tokens, last")
    for name in dict.fromkeys(c.policy for c in cells):
        row = [c for ratio in ratios for c in cells if (c.policy, c.ratio) == (name, ratio)]
        figures = [f"{c.correct:.2f} ±{c.error:.2f}" for c in row]
        exceeded = " ".join(f"{c.exceeded:.1%}" for c in row if c.exceeded) or "0"
        made.add_row(name, *figures, exceeded, f"{row[-1].tokens / 1e6:.2f} M")
    return made


def main() -> int:
    """The exit code: 0 done, 1 shortcut and loop differ, 2 misuse."""
    args = _parser().parse_args()
    try:
        _validate(args)
        differences = compare(args) if args.check else []
        saved = savings(args) if args.stop or args.journal else []
        cells = measure(args) if args.orders and not saved else []
    except UserError as error:
        print(f"budget: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps([asdict(row) for row in [*cells, *saved]]))
    elif cells or saved:
        console.print(table(cells) if cells else savings_table(saved))
    for line in differences:
        print(f"budget: shortcut and loop differ: {line}", file=sys.stderr)
    return 1 if differences else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=int, default=200, metavar="K", help="problem sets (200)")
    parser.add_argument("--orders", type=int, default=10, metavar="K", help="orders of each (10)")
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="first seed (0)")
    parser.add_argument(
        "--ratios", type=float, nargs="+", default=list(RATIOS), metavar="X",
        help="limits T, over the time of fixed N=48",
    )  # fmt: skip
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), metavar="NAME")
    parser.add_argument(
        "--votes", type=Path, metavar="DIR", help="draw the problems from its *_votes.csv"
    )
    parser.add_argument("--stop", action="store_true", help="what early stopping saves, instead")
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="that, on the samples of an eval's journal"
    )
    parser.add_argument("--check", action="store_true", help="compare with the full loop first")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    return parser


def _validate(args: argparse.Namespace) -> None:
    if args.sets < 1 or args.orders < 0:
        raise UserError("--sets must be at least 1, --orders at least 0 (0: --check only)")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: must be at least 0")
    if not all(math.isfinite(ratio) and ratio > 0 for ratio in args.ratios):
        raise UserError("--ratios must be numbers above 0")
    for name in args.policies:
        if name not in POLICIES:
            raise UserError(f"unknown policy {name!r}: choose among {', '.join(POLICIES)}")


if __name__ == "__main__":
    sys.exit(main())
