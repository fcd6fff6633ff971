"""A large pool: seconds and peak memory of every command that reads one.

    python benchmarks/pool.py write /tmp/big            # 100,032 samples of 2,000 tokens, 1 GB
    python benchmarks/pool.py measure /tmp/big

`write` makes up a journal: answers of problems of all difficulties, texts of the length and with
the marks of real ones (their words are drawn, so they compress worse). `measure` runs the commands
one after the other, each in a process of its own; resuming is an `eval` that finds all of it done,
first without and then with the arrays that a pool keeps beside its journals.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from aimo_submit.cards import config_for
from aimo_submit.config import settings_of
from aimo_submit.journal import Journal
from aimo_submit.pool.arrays import CACHE
from aimo_submit.records import (
    Completion,
    Execution,
    Finish,
    Outcome,
    Problem,
    Round,
    Solution,
    Status,
    Trace,
)
from aimo_submit.vote import RULES, confidence, how_won

SAMPLES, SEEDS = 48, 2
TOKENS = 667  # of a round on average; there are three
CHARACTERS = 4.3  # of a token, in text
LIMIT_S, LIMIT_MB = 15.0, 400.0
MARKS = ("$x^2$", "\\frac{a}{b}", "=", "+", "\\cdot", "\n", "\n\n", '"', "\\sqrt{2}", "**Step**")


def write(args: argparse.Namespace) -> bool:
    """Makes up the pool, and the problems it is of."""
    rng = random.Random(0)
    problems = [
        Problem(f"made-up-{k}", words(rng, 60), rng.randrange(1000)) for k in range(args.problems)
    ]
    args.folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"id": p.id, "problem": p.text, "answer": p.answer}) for p in problems]
    (args.folder / "big.set").mkdir(exist_ok=True)
    set_of(args.folder).write_text("\n".join(rows))
    config, _ = config_for({"samples": SAMPLES})
    texts = [words(rng, int(TOKENS * CHARACTERS / 5)) for _ in range(500)]
    with Journal(args.folder / "set-0.jsonl", settings_of(config)) as journal:
        for seed in range(SEEDS):
            for problem in problems:
                journal.append(solved(rng, problem, seed, texts))
    return True


def set_of(folder: Path) -> Path:
    """The problems' file; it lies in a folder of its own, as it is no journal."""
    return folder / "big.set" / "set.jsonl"


def words(rng: random.Random, count: int) -> str:
    """A text of so many words and marks, of five characters on average."""
    letters = "etaoinshrdlucmfw"
    made = (
        rng.choice(MARKS) if rng.random() < 0.2 else "".join(rng.choices(letters, k=4))
        for _ in range(count)
    )
    return " ".join(made)


def solved(rng: random.Random, problem: Problem, seed: int, texts: Sequence[str]) -> Solution:
    """A solution; how often its samples are right goes with the problem."""
    chance = random.Random(problem.id).betavariate(0.4, 0.55)
    traces = [sampled(rng, k, problem, chance, texts) for k in range(SAMPLES)]
    votes = RULES["majority"](traces)
    answer = votes[0].answer if votes else 0
    reason = how_won(votes) if votes else "no sample answered"
    sure = confidence(traces, answer)
    return Solution(problem, answer, votes, traces, seed, 300.0, reason, sure, not votes)


def sampled(
    rng: random.Random, number: int, problem: Problem, chance: float, texts: Sequence[str]
) -> Trace:
    """A sample of one to four rounds."""
    answer = problem.answer if rng.random() < chance else rng.randrange(40)
    depth = rng.choice((2, 3, 3, 3, 4))
    rounds = [turn(rng, texts, last=k == depth - 1) for k in range(depth)]
    if rng.random() < 0.1:
        return Trace(number, rounds, Status.FAILED, reason="cut off by the token limit")
    return Trace(number, rounds, Status.ANSWERED, answer)


def turn(rng: random.Random, texts: Sequence[str], *, last: bool) -> Round:
    """A round, which runs code unless it is the last."""
    text = rng.choice(texts)
    text = text[: int(len(text) * rng.uniform(0.6, 1.0))]
    tokens = int(len(text) / CHARACTERS)
    engine_s = tokens * 0.05
    if last:
        said = Completion(text + " \\boxed{7}", (), Finish.EOS, -0.3, tokens)
        return Round(said, engine_s=engine_s)
    code = "from sympy import *\nx = symbols('x')\n" + "print(solve(x**2 - 2, x))\n" * 5
    asked = Completion(f"{text}\n```python\n{code}```\n```output\n", (), Finish.STOP, -0.3, tokens)
    ran = Execution(Outcome.OK, "[-sqrt(2), sqrt(2)]\n", rng.expovariate(1 / 0.4))
    return Round(asked, code, ran, "\n[-sqrt(2), sqrt(2)]\n```\n", 0, engine_s, ran.seconds)


def measure(args: argparse.Namespace) -> bool:
    """Runs the commands; whether each keeps its limit."""
    folder, journal = args.folder, str(args.folder / "set-0.jsonl")
    resume = ["eval", str(set_of(folder)), "--out", f"{folder}/", "--seeds", str(SEEDS)]
    (folder / CACHE).unlink(missing_ok=True)
    held = True
    with tempfile.TemporaryDirectory() as made:
        timed = ["--profile", "t4x2"]
        for name, command in {
            "resume, nothing kept": resume,
            "resume": resume,
            "summary": ["summary", journal],
            "votes": ["votes", journal],
            "tune": ["tune", "--pool", str(folder), *timed],
            "report": ["report", str(folder), *timed, "--out", f"{made}/report"],
            "pool export": ["pool", "export", str(folder), f"{made}/pool.parquet"],
        }.items():
            seconds, memory = spent(command)
            held &= memory <= LIMIT_MB and (seconds <= LIMIT_S or command is not resume)
            print(f"{name:24}{seconds:8.1f} s{memory:8.0f} MB", flush=True)
    print(f"at most {LIMIT_MB:g} MB each, {LIMIT_S:g} s to resume")
    return held


def spent(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a command of the kit."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "aimo_submit", *command], stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)}: {said.read().decode()}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> int:
    """The exit code: 0 every command keeps its limit, 1 one does not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    make = commands.add_parser("write", help="make up the pool")
    make.add_argument("--problems", type=int, default=1042)
    make.set_defaults(run=write)
    look = commands.add_parser("measure", help="seconds and memory of each command")
    look.set_defaults(run=measure)
    for each in (make, look):
        each.add_argument("folder", type=Path)
    args = parser.parse_args()
    return int(not args.run(args))


if __name__ == "__main__":
    sys.exit(main())
