"""Scripted runs for the tests of loop and solver: what a model would write, as plain text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aimo_submit.competition import competition_named
from aimo_submit.config import Config
from aimo_submit.engines.scripted import ScriptedEngine, ScriptedSandbox, StepTime, simulate
from aimo_submit.formats.families import FORMATS
from aimo_submit.records import Execution, Outcome, Problem, Solution
from aimo_submit.run import Run
from aimo_submit.solve import solve

ASK = "```python\nprint(6*7)\n```\n```output\n"
ANSWER = "\nThe answer is $\\boxed{42}$."
PROBLEM = Problem("p", "What is $6 \\cdot 7$?", 42)


def replies(*texts: str) -> Callable[[str, object], str]:
    """A script in which each of a sample's completions is the next of the texts."""

    def script(prompt: str, sampling: object) -> str:
        return texts[min(prompt.count("```output\n"), len(texts) - 1)]

    return script


def run_of(
    script: Callable[..., str],
    config: Config | None = None,
    *,
    execute: Callable[[str], Execution] = lambda code: Execution(Outcome.OK, "42", 0.1),
    step_time: StepTime | None = None,
    format: str = "numina_tir",
    context: int = 1 << 20,
) -> Run:
    """A run on the scripted engine and sandbox."""
    config = config or Config(samples=1)
    engine = ScriptedEngine(script, step_time, context=context)
    sandbox = ScriptedSandbox(execute)
    edition = competition_named(config.edition)
    return Run(config, FORMATS[format], edition, engine, sandbox)


def solved(run: Run, problems: Sequence[Problem] = (PROBLEM,)) -> list[Solution]:
    """The problems' solutions, one after the other, on the virtual clock."""

    async def work() -> list[Solution]:
        solutions = [await solve(run, problem, []) for problem in problems]
        await run.engine.aclose()
        return solutions

    return simulate(work())
