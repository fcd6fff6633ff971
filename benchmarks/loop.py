"""The loop against a lockstep baseline and against the engine's own limit.

Three ways to solve the same problems on the same engine, from the same seeds, in one process:

  lockstep  as the AIMO-1 winner's notebook does: all samples wait for the slowest of a round,
            finished samples are submitted again, each block runs in a fresh `python3` with numpy
            and sympy imported, as many at a time as there are CPUs
  ours      `aimo_submit.solve.solve`
  bound     the engine alone: the completions of `ours` decoded once more, with no code to wait for

The ways take turns and the order rotates, so that a drifting machine is fair to all; the seed
changes with each repetition. Medians and ratios are printed, with the spread of the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aimo_submit import Problem, Trace, config_for
from aimo_submit.competition import competition_named
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.loop import decide
from aimo_submit.records import Execution, Outcome, Round, Solution
from aimo_submit.run import Run
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.solve import solve
from aimo_submit.start import start_engine

PRELUDE = "import math\nimport numpy as np\nimport sympy as sp\n"

console = Console()
Way = Callable[[Run, Problem], Awaitable[int]]  # the tokens it decoded


async def lockstep(run: Run, problem: Problem) -> int:
    """Solves the problem as the winning notebook does; the number of tokens decoded."""
    every = traces = [Trace(k) for k in range(run.config.samples)]
    prompt = run.engine.encode(run.format.prompt(problem.text), prompt=True)
    prompts = [list(prompt) for _ in traces]
    slots = asyncio.Semaphore(os.cpu_count() or 1)
    for left in reversed(range(run.config.rounds)):
        await asyncio.gather(
            *(complete(run, problem, t, p) for t, p in zip(traces, prompts, strict=True))
        )
        if left:
            await asyncio.gather(
                *(execute(run, t, p, slots) for t, p in zip(traces, prompts, strict=True))
            )
        alive = [(t, p) for t, p in zip(traces, prompts, strict=True) if not t.reason]
        traces, prompts = [t for t, _ in alive], [p for _, p in alive]
    return tokens_of(every)


async def complete(run: Run, problem: Problem, trace: Trace, prompt: list[int]) -> None:
    """One sample's next completion, whether or not it had already answered."""
    sampling = run.sampling(problem, trace, len(prompt))
    if sampling.max_new_tokens < 1:
        trace.reason = "the context is full"
        return
    completion = await run.engine.complete(prompt, sampling)
    step = decide(run, trace, completion)
    trace.rounds.append(Round(completion, step.code))
    trace.answer = trace.answer if step.answer is None else step.answer
    if trace.answer is None and step.code is None:
        trace.reason = step.reason  # pruned; answered samples are kept, as in the notebook
    prompt += completion.tokens


async def execute(run: Run, trace: Trace, prompt: list[int], slots: asyncio.Semaphore) -> None:
    """Runs the sample's block in a fresh interpreter and appends the output."""
    turn = trace.rounds[-1] if trace.rounds else None
    if turn is None or turn.code is None:
        return
    async with slots:
        execution = await fresh_interpreter(turn.code, run.config.code_timeout_s)
    shown = run.format.show(execution)
    trace.rounds[-1] = replace(turn, execution=execution, appended=shown)
    prompt += run.engine.encode(shown)


async def fresh_interpreter(code: str, timeout_s: float) -> Execution:
    """The notebook's way to run code: a new python3 for each block."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "block.py"
        file.write_text(PRELUDE + code)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(file),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        start = time.monotonic()
        try:
            output, _ = await asyncio.wait_for(process.communicate(), timeout_s)
        except TimeoutError:
            process.kill()
            await process.wait()
            return Execution(Outcome.TIMEOUT, f"Timed out after {timeout_s} seconds.", timeout_s)
    outcome = Outcome.OK if process.returncode == 0 else Outcome.ERROR
    return Execution(outcome, output.decode(errors="replace"), time.monotonic() - start)


def tokens_of(traces: list[Trace]) -> int:
    """The tokens decoded for the traces."""
    return sum(trace.n_tokens for trace in traces)


async def bound(run: Run, problem: Problem, solution: Solution) -> int:
    """Decodes the solution's completions once more, with nothing between them."""
    prompt = run.engine.encode(run.format.prompt(problem.text), prompt=True)

    async def again(trace: Trace) -> int:
        tokens, seen, decoded = list(prompt), Trace(trace.sample), 0
        for turn in trace.rounds:
            sampling = run.sampling(problem, seen, len(tokens))
            decoded += len((await run.engine.complete(tokens, sampling)).tokens)
            tokens += [*turn.completion.tokens, *run.engine.encode(turn.appended)]
            seen.rounds.append(turn)
        return decoded

    return sum(await asyncio.gather(*(again(trace) for trace in solution.traces)))


async def measure(args: argparse.Namespace) -> list[dict[str, float]]:
    """Seconds and tokens of every way, one dictionary a repetition."""
    given = {"model": args.model, "engine": args.engine, "samples": args.samples, "rounds": 4}
    config, card = config_for(given)
    problems = load_problems("tiny", competition_named("aimo-1"))[: args.problems]
    figures = []
    async with ForkServer() as sandbox:
        engine = await start_engine(config, card)
        edition = competition_named(config.edition)
        for seed in range(args.runs + 1):  # the first one warms up
            run = Run(replace(config, seed=seed), card.format, edition, engine, sandbox)
            figure = await repetition(run, problems, seed)
            if seed:
                figures.append(figure)
                console.print({name: round(value, 2) for name, value in figure.items()})
        await engine.aclose()
    return figures


async def repetition(run: Run, problems: list[Problem], seed: int) -> dict[str, float]:
    """All ways over all problems once, in an order that rotates with the seed."""
    recorded = {p.id: await solve(run, p, []) for p in problems}

    async def ours(run: Run, problem: Problem) -> int:
        return tokens_of((await solve(run, problem, [])).traces)

    async def alone(run: Run, problem: Problem) -> int:
        return await bound(run, problem, recorded[problem.id])

    ways: list[tuple[str, Way]] = [("lockstep", lockstep), ("ours", ours), ("bound", alone)]
    figure: dict[str, float] = {}
    for name, way in ways[seed % 3 :] + ways[: seed % 3]:
        start = time.monotonic()
        figure[f"{name} tokens"] = sum([await way(run, problem) for problem in problems])
        figure[f"{name} s"] = time.monotonic() - start
    return figure


def report(figures: list[dict[str, float]], args: argparse.Namespace) -> Table:
    """The table of medians and ratios."""
    title = f"{args.engine}, {args.problems} problems, N={args.samples}, M=4, {len(figures)} runs"
    table = Table("way", "seconds", "tokens", "problems/h", title=title)
    for name in ("lockstep", "ours", "bound"):
        seconds = statistics.median(f[f"{name} s"] for f in figures)
        tokens = statistics.median(f[f"{name} tokens"] for f in figures)
        hourly = 3600 * args.problems / seconds
        table.add_row(name, f"{seconds:.1f}", f"{tokens:,.0f}", f"{hourly:,.0f}")
    speedups = [f["lockstep s"] / f["ours s"] for f in figures]
    efficiencies = [f["bound s"] / f["ours s"] for f in figures]
    for label, ratios in (("lockstep / ours", speedups), ("bound / ours", efficiencies)):
        middle = statistics.median(ratios)
        table.add_row(label, f"{middle:.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}", "")
    return table


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", default="tiny-tir")
    parser.add_argument("--engine", default="vllm")
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--problems", type=int, default=6)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    console.print(report(asyncio.run(measure(args)), args))


if __name__ == "__main__":
    main()
