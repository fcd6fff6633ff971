"""The same problems in many orders: are the answers the same, and the samples?

A competition shuffles its problems, so nothing about one may hang on those before it. Two ways on
the real engine and sandbox, with a time that no deadline falls into: every sample to its end, and
under a budget, where early stopping cuts samples off. A sample is the same if all it wrote is, as
far as it came in both orders.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import track
from rich.table import Table

from aimo_submit import Problem, Solution, Trace, config_for, start_solver
from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.records import Status

AMPLE_S = 360_000.0

out, notes = Console(), Console(stderr=True)
Solved = dict[str, Solution]  # by problem


def main() -> int:
    """Prints, for each way, how much stays the same; 1 if an answer does not without a budget."""
    args = arguments()
    try:
        problems = load_problems("tiny", competition_named("aimo-2"))[: args.problems]
        runs = {way: solved(way, problems, args) for way in ("every sample", "budget")}
    except UserError as error:
        print(f"orders: {error}", file=sys.stderr)
        return 2
    table = Table(title=f"{len(problems)} problems, N={args.samples}, {args.orders} orders")
    for column in ("way", "answers the same", "samples the same", "samples that ended"):
        table.add_column(column)
    for way, orders in runs.items():
        table.add_row(way, *compared(orders))
    out.print(table)
    return int(any(answers(o) != answers(runs["every sample"][0]) for o in runs["every sample"]))


def solved(way: str, problems: Sequence[Problem], args: argparse.Namespace) -> list[Solved]:
    """The solutions in each order; the first order is the problems' own."""
    given = {"samples": args.samples, "edition": "aimo-2", "engine": args.engine}
    budget = {"total_time_s": AMPLE_S, "problems": len(problems) * args.orders}
    config, card = config_for({**given, **(budget if way == "budget" else {})})
    shuffle, orders = random.Random(0), []
    with start_solver(config, card) as solver:
        for k in track(range(args.orders), way, console=notes):
            order = list(problems) if k == 0 else shuffle.sample(problems, len(problems))
            orders.append({problem.id: solver.solve(problem) for problem in order})
    return orders


def compared(orders: Sequence[Solved]) -> tuple[str, str, str]:
    """Answers and samples that are as in the first order, and the share of samples that ended."""
    first, *others = orders
    right = [o[i].answer == first[i].answer for o in others for i in first]
    pairs = [
        (a, b)
        for o in others
        for i in first
        for a, b in zip(first[i].traces, o[i].traces, strict=False)
    ]
    traces = [trace for o in orders for solution in o.values() for trace in solution.traces]
    return (
        f"{sum(right)} of {len(right)}",
        f"{sum(same(a, b) for a, b in pairs) / len(pairs):.2%}",
        f"{sum(map(ended, traces)) / len(traces):.1%}",
    )


def answers(solved: Solved) -> dict[str, int]:
    """The answer of each problem."""
    return {name: solution.answer for name, solution in solved.items()}


def same(a: Trace, b: Trace) -> bool:
    """Whether the samples agree; one that was cut off, as far as its last whole round."""
    if ended(a) and ended(b):
        return a.text == b.text
    return a.text.startswith(b.text) or b.text.startswith(a.text)


def ended(trace: Trace) -> bool:
    """Whether the sample came to its own end."""
    return trace.status not in (Status.ACTIVE, Status.CANCELLED)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="are answers independent of the order?")
    parser.add_argument("--problems", type=int, default=30, metavar="K")
    parser.add_argument("--orders", type=int, default=20, metavar="K")
    parser.add_argument("--samples", type=int, default=8, metavar="N")
    parser.add_argument("--engine", default="transformers", metavar="NAME")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
