"""The corpus: problems of a split, and their solutions with and without code.

Solutions with code are run block by block in the kit's sandbox and kept only where the last
output is the answer. About a sixth of them have a wrong first block, kept only where it raised.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from numina.data import Part

from aimo_submit.formats.families import FORMATS
from aimo_submit.records import Execution, Outcome
from aimo_submit.sandbox.client.fork_server import ForkServer
from tiny import faults
from tiny.compose import Puzzle, puzzle
from tiny.draw import Draw, Split
from tiny.families import FAMILIES

FORMAT = FORMATS["numina_tir"]
WRONG_FIRST = 0.18  # of solutions; some of the mistakes do not raise, and are dropped
BLOCK_TIMEOUT_S = 10.0
AT_ONCE = 8
LEADS = ("", "", " Let us compute this with Python.", " We run a short program.")


@dataclass(frozen=True, slots=True)
class Example:
    """One training text: the prompt, then what model and runner write in turn."""

    puzzle: Puzzle
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(part.text for part in self.parts)


def puzzles(split: Split, count: int, start: int = 0) -> Iterator[tuple[Draw, Puzzle]]:
    """`count` problems, the families in turn, each with the draw that made it."""
    names = list(FAMILIES)
    for index in range(start, start + count):
        for retry in range(1000):
            draw = Draw(split, index * 1000 + retry)
            if made := puzzle(draw, names[index % len(names)]):
                yield draw, made
                break


def without_code(draw: Draw, item: Puzzle) -> Example:
    """The solution in words alone, for the first stage."""
    steps = [item.plan, item.found, _closing(item.answer)]
    solution = " ".join(step for step in steps if step)
    return Example(item, (Part(FORMAT.prompt(item.problem), learnt=False), Part(solution)))


async def with_code(draw: Draw, item: Puzzle, box: ForkServer) -> Example | None:
    """The solution with its code run, or None where the output is not what it should be."""
    parts = [Part(FORMAT.prompt(item.problem), learnt=False)]
    lead = item.plan + draw.pick(*LEADS)
    if draw.chance(WRONG_FIRST):
        bad = faults.wrong(draw, item.code, item.slip)
        run = await box.run(bad, BLOCK_TIMEOUT_S)
        if run.outcome is not Outcome.ERROR:
            return None
        parts += _block(lead, bad, run)
        lead = "\n" + faults.remark(run.output)
    run = await box.run(item.code, BLOCK_TIMEOUT_S)
    if run.outcome is not Outcome.OK or run.output.strip() != str(item.answer):
        return None
    parts += [*_block(lead, item.code, run), Part("\n" + _closing(item.answer))]
    return Example(item, tuple(parts))


def _block(lead: str, code: str, run: Execution) -> list[Part]:
    asks = f"{lead}\n{FORMAT.code_begin}\n{code}\n{FORMAT.code_end}\n{FORMAT.stop[0]}"
    return [Part(asks), Part(FORMAT.show(run), learnt=False)]


def _closing(answer: int) -> str:
    return f"The answer is $\\boxed{{{answer}}}$."


async def solved(made: Sequence[tuple[Draw, Puzzle]]) -> AsyncIterator[Example]:
    """The examples with code whose outputs match, in the order of the problems."""
    async with ForkServer() as box:
        for at in range(0, len(made), AT_ONCE):
            batch = [with_code(draw, item, box) for draw, item in made[at : at + AT_ONCE]]
            for example in await asyncio.gather(*batch):
                if example:
                    yield example


def bundle(path: Path, count: int = 120, split: Split = Split.TEST, start: int = 0) -> None:
    """Writes problems of a split as JSON lines of id, problem and answer."""
    rows = [
        {"id": f"tiny-{i:03d}-{item.family}", "problem": item.problem, "answer": item.answer}
        for i, (_, item) in enumerate(puzzles(split, count, start), start)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Writes the bundled evaluation set, or problems of another split."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="JSONL file to write")
    parser.add_argument("--problems", type=int, default=120)
    parser.add_argument("--split", type=Split, default=Split.TEST, help="test, train, validation")
    parser.add_argument("--start", type=int, default=0, help="of train: fresh from 20,000,000 on")
    given = parser.parse_args()
    bundle(given.bundle, given.problems, given.split, given.start)


if __name__ == "__main__":
    main()
