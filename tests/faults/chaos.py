"""Every fault, or those that are named, in a rehearsal of the built notebook: `make chaos`.

    python -m tests.faults.chaos                              all, in the competition's rerun
    python -m tests.faults.chaos engine-hangs+disk-full       two at once
    python -m tests.faults.chaos engine-killed --engine vllm
    python -m tests.faults.chaos --edition aimo-3 --package DOWNLOADED/kaggle_evaluation

The engine is a scripted one, which answers at once. Ends with code 1 if a run fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aimo_submit.cards import load_card
from aimo_submit.competition import competition_named
from aimo_submit.errors import UserError
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.kaggle.client.bundle import build
from aimo_submit.kaggle.rehearsal.rehearsal import Rehearsal, rehearse
from aimo_submit.kaggle.rehearsal.verdict import Result
from tests.faults.cases import ALL, Case, cases_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", default=[ALL], metavar="CASE", help="or all (all)")
    parser.add_argument("--engine", default="transformers", help="(transformers)")
    parser.add_argument("--edition", default="aimo-1", help="(aimo-1)")
    parser.add_argument("--package", type=Path, help="the competition's own (a fake)")
    parser.add_argument("--python", type=Path, default=sys.executable, help="the notebook's (this)")
    parser.add_argument("--limit", type=int, default=4, metavar="K", help="problems (4)")
    parser.add_argument("--interactive", action="store_true", help="the save run")
    args = parser.parse_args()
    try:
        cases = [Case(name, scripted=True) for name in cases_of(args.cases, args.engine)]
        rehearsal = Rehearsal(
            notebook=build(Path()),
            edition=args.edition,
            problems=load_problems("tiny", competition_named(args.edition))[: args.limit],
            card=load_card("tiny-tir"),
            package=args.package,
            python=Path(args.python).absolute(),
            settings={"engine": args.engine},
        )
        rehearsal.check()
    except UserError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    results = []
    for case in cases:
        results.append(rehearse(rehearsal, rerun=not args.interactive, faults=case))
        print(told(results[-1]), flush=True)
    passed = sum(result.passed for result in results)
    print(f"{passed} of {len(results)} runs passed")
    return 0 if passed == len(results) else 1


def told(result: Result) -> str:
    """A result in a line, and one more for each thing that was done or is wrong."""
    word = "FAILED" if not result.passed else "stopped" if result.stopped else "passed"
    lines = [
        f"{result.case:18} {result.rows}/{result.problems} answers, {result.fallbacks} fallbacks, "
        f"{result.used_s:.0f} s of {result.limit_s:.0f} s: {word}"
    ]
    if result.stopped and result.passed:
        lines.append(f"rightly stopped: {result.stopped}")
    return "\n    ".join([*lines, *result.injected, *result.against])


if __name__ == "__main__":
    sys.exit(main())
