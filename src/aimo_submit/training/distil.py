"""Training data from a teacher: its right solutions, as NuminaMath-TIR's columns hold them.

The way of the AIMO-1 winner (huggingface.co/blog/winning-aimo-progress-prize, "Tool-integrated
reasoning"): a teacher writes solutions whose code is run, those that miss the gold answer are
dropped, and what stays unsolved is tried again, three times. Every sample goes through the kit's
own loop and into a journal, so that a killed run resumes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from aimo_submit.evaluate.runner import Submitting, evaluate, remaining, solving
from aimo_submit.formats import Format
from aimo_submit.formats.families import FORMATS, Harmony
from aimo_submit.journal import Journal, solutions_in
from aimo_submit.records import Outcome, Problem, Round, Solution, Trace
from aimo_submit.training.filters import HeldOut, distinct, words_of

_NUMINA = FORMATS["numina_tir"]


class Row(TypedDict):
    """One solution, in the columns of AI-MO/NuminaMath-TIR."""

    problem: str
    solution: str
    messages: list[dict[str, str]]


@dataclass(slots=True)
class Chosen:
    """The problems to be solved, and why the others were left."""

    problems: list[Problem] = field(default_factory=list)
    no_answer: int = 0
    repeated: int = 0
    held_out: Counter[str] = field(default_factory=Counter)  # by the set that has them


@dataclass(slots=True)
class Harvest:
    """The rows, and what became of all that was sampled."""

    rows: list[Row] = field(default_factory=list)
    samples: int = 0
    right: int = 0  # with the gold answer
    unsound: int = 0  # of these: their last code failed
    alike: int = 0  # of the sound ones: like another of the same problem
    solved: int = 0  # problems


def choose(problems: Sequence[Problem], held_out: HeldOut) -> Chosen:
    """The problems with an answer, each once, that no set which is measured on has."""
    chosen, seen = Chosen(), set()
    for problem in problems:
        words = words_of(problem.text)
        if problem.answer is None:
            chosen.no_answer += 1
            continue
        if words in seen:
            chosen.repeated += 1
        elif name := held_out.set_of(problem.text):
            chosen.held_out[name] += 1
        else:
            chosen.problems.append(problem)
        seen.add(words)
    return chosen


def sample(
    solver: Submitting,
    problems: Sequence[Problem],
    journal: Journal,
    seeds: Sequence[int],
    *,
    at_once: int = 1,
    report: Callable[[Solution], None] = lambda solution: None,
) -> None:
    """Solves the problems with the first seed, then what is unsolved with the next, and so on."""
    for seed in seeds:
        jobs = remaining(unsolved(problems, journal.path), [seed], journal)
        evaluate(solving(solver, at_once), jobs, journal, report=report)


def unsolved(problems: Sequence[Problem], journal: Path) -> list[Problem]:
    """The problems that the journal has no sound solution of."""
    solved = {s.problem.text for s in solutions_in(journal) if any(map(sound, _right(s)))}
    return [problem for problem in problems if problem.text not in solved]


def harvest(problems: Sequence[Problem], journal: Path, format: Format, keep: int) -> Harvest:
    """Up to `keep` solutions of each problem, no two alike, in the order of the problems."""
    found, rows = Harvest(), dict[str, list[Row]]()
    wanted = {problem.text for problem in problems}
    for solution in solutions_in(journal):
        if solution.problem.text in wanted:
            rows.setdefault(solution.problem.text, []).extend(_rows(solution, format, keep, found))
    found.rows = [row for problem in problems for row in rows.get(problem.text, [])]
    return found


def _rows(solution: Solution, format: Format, keep: int, found: Harvest) -> list[Row]:
    right = _right(solution)
    texts = [written(trace, format) for trace in right if sound(trace)]
    kept = [texts[at] for at in distinct(texts)]
    found.samples += len(solution.traces)
    found.right += len(right)
    found.unsound += len(right) - len(texts)
    found.alike += len(texts) - len(kept)
    found.solved += bool(kept)
    return [_row(solution.problem.text, text) for text in kept[:keep]]


def _row(problem: str, solution: str) -> Row:
    turns = (("user", problem), ("assistant", solution))
    messages = [{"content": content, "role": role} for role, content in turns]
    return Row(problem=problem, solution=solution, messages=messages)


def _right(solution: Solution) -> list[Trace]:
    gold = solution.problem.answer
    return [t for t in solution.traces if t.answer is not None and t.answer == gold]


def sound(trace: Trace) -> bool:
    """Whether the last code that ran did so without an error: else the answer is a guess."""
    runs = [r.execution for r in trace.rounds if r.execution and r.attempt == trace.attempt]
    return not runs or runs[-1].outcome is Outcome.OK


def written(trace: Trace, format: Format) -> str:
    """The solution in Python and output fences, whatever the teacher's own marks for code are."""
    if format.code_begin == _NUMINA.code_begin and not isinstance(format, Harmony):
        return trace.text
    rounds = [r for r in trace.rounds if r.attempt == trace.attempt]
    return "".join(_fenced(r, format) for r in rounds)


def _fenced(turn: Round, format: Format) -> str:
    said = format.words("", turn.completion).strip()
    if turn.code is None or turn.execution is None:
        return said
    code = f"{_NUMINA.code_begin}\n{turn.code}\n{_NUMINA.code_end}\n{_NUMINA.stop[0]}"
    return f"{said}\n{code}{_NUMINA.show(turn.execution)}\n"
