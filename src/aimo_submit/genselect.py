"""GenSelect: the model reads solutions that disagree and picks the right one (arXiv 2504.16891).

Only for votes that are undecided. Several picks are drawn, each with the candidates in another
order and, where an answer has several samples, with another of them. An answer takes the place of
the vote's only with more than half of all picks asked for; whatever else comes - no pick, a tie,
the deadline, a dead engine - leaves the solution as the vote made it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from aimo_submit.engines import Engine
from aimo_submit.errors import EngineDied
from aimo_submit.records import Problem, Solution, Trace
from aimo_submit.run import Run, seed_of
from aimo_submit.vote import confidence

log = logging.getLogger(__name__)

UNDECIDED = 0.8  # confidence below which a selection is worth its time: docs/log/votes.md
MAX_CANDIDATES = 4
MAX_SUMMARY = 1024  # tokens of a solution that a pick reads: its end
MIN_SUMMARY = 32  # fewer say nothing

_JUDGMENT = re.compile(r"Judgment:\s{0,9}\[?([0-9]{1,2})\]?[\s*_.$]{0,20}\Z")


def undecided(solution: Solution) -> bool:
    """True if the samples disagree and the vote is not sure of its answer."""
    sure = solution.confidence is not None and solution.confidence >= UNDECIDED
    return len(solution.votes) > 1 and not sure


async def select(run: Run, solution: Solution, picks: int, until: float = math.inf) -> Solution:
    """Returns the solution after that many picks, none beyond `until` on the loop's clock.

    It is the one given, with a note in its reason, unless the picks outvote it.
    """
    left = until - asyncio.get_running_loop().time()
    if picks < 1 or left <= 0 or not undecided(solution):
        return solution
    answers, room = _fitting(run, solution)
    if len(answers) < 2:
        return solution
    tasks = [asyncio.create_task(_pick(run, solution, answers, room, k)) for k in range(picks)]
    try:
        await asyncio.wait(tasks, timeout=None if math.isinf(left) else left)
    finally:
        for task in tasks:
            task.cancel()  # aborts the request in the engine
        results = await asyncio.gather(*tasks, return_exceptions=True)
    return _weighed(solution, results)


def judgment(text: str) -> int | None:
    """Returns the number of the solution that a text ends by naming; None without that ending."""
    found = _JUDGMENT.search(text)
    return int(found[1]) if found else None


def _fitting(run: Run, solution: Solution) -> tuple[list[int], int]:
    """Returns the answers to choose from, and the tokens that each one's solution may have.

    Three quarters of the context are for the prompt; the weakest answers go until it fits.
    """
    answers = [vote.answer for vote in solution.votes[:MAX_CANDIDATES]]
    while answers:
        frame = run.engine.encode(_prompt(run, solution.problem, [""] * len(answers)), prompt=True)
        room = (run.engine.context * 3 // 4 - len(frame)) // len(answers)
        if room >= MIN_SUMMARY:
            return answers, min(room, MAX_SUMMARY)
        answers.pop()
    return [], 0


async def _pick(
    run: Run, solution: Solution, answers: Sequence[int], room: int, number: int
) -> int | None:
    """Returns the answer of the solution that the model prefers; None where it names none."""
    seed = seed_of(solution.seed, solution.problem.text, "pick", number)
    shown = _drawn(solution.traces, answers, random.Random(seed))
    texts = [_tail(run.engine, summary(trace), room) for trace in shown]
    tokens = run.engine.encode(_prompt(run, solution.problem, texts), prompt=True)
    sampling = replace(run.sampling(solution.problem, Trace(number), len(tokens)), seed=seed)
    index = judgment((await run.engine.complete(tokens, sampling)).text)
    return shown[index].answer if index is not None and index < len(shown) else None


def _drawn(traces: Sequence[Trace], answers: Sequence[int], rng: random.Random) -> list[Trace]:
    """A sample of each answer, in an order that does not tell the votes."""
    ordered = sorted(traces, key=lambda trace: trace.sample)
    shown = [rng.choice([t for t in ordered if t.answer == answer]) for answer in answers]
    rng.shuffle(shown)
    return shown


def summary(trace: Trace) -> str:
    """Returns a sample's text after its thoughts, where it marks them, else all of it."""
    thoughts, mark, conclusion = trace.text.rpartition("</think>")
    return (conclusion if mark and conclusion.strip() else trace.text).strip()


def _tail(engine: Engine, text: str, limit: int) -> str:
    """Returns the end of the text, in at most that many tokens."""
    text = text[-32 * limit :]  # no tokenizer packs more; spares reading megabytes
    while (size := len(engine.encode(text))) > limit:
        text = text[len(text) - len(text) * limit // size :]
    return text


def _prompt(run: Run, problem: Problem, texts: Sequence[str]) -> str:
    listed = "\n\n".join(f"Solution {index}:\n{text}" for index, text in enumerate(texts))
    question = (
        f"Below are a problem and {len(texts)} solutions to it, which come to different answers. "
        "Compare them where they differ, check those steps, and decide which solution is right.\n\n"
        f"Problem:\n{problem.text}\n\n{listed}\n\n"
        "After your comparison, end with exactly this line:\nJudgment: IDX\n"
        f"where IDX is the number of the right solution, 0 to {len(texts) - 1}."
    )
    return run.format.ask(question)


def _weighed(solution: Solution, results: Sequence[int | BaseException | None]) -> Solution:
    """Weighs the picks against the vote. A pick that the deadline cancelled counts as none."""
    errors = [result for result in results if isinstance(result, Exception)]
    for error in errors:
        log.warning("a pick failed: %s: %s", type(error).__name__, error)
    died = "; the engine died" if any(isinstance(error, EngineDied) for error in errors) else ""
    favoured = Counter(result for result in results if isinstance(result, int)).most_common(1)
    answer, count = favoured[0] if favoured else (solution.answer, 0)
    told = f"{count} of {len(results)} picks for {answer}" if count else "no pick"
    if 2 * count <= len(results) or answer == solution.answer:
        return replace(solution, reason=f"{solution.reason}; {told}{died}")
    sure = confidence(solution.traces, answer)
    return replace(solution, answer=answer, confidence=sure, reason=f"selection: {told}{died}")
