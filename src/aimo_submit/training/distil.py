"""Training data from a teacher: its right solutions, as NuminaMath-TIR's columns hold them.

The way of the AIMO-1 winner (huggingface.co/blog/winning-aimo-progress-prize, "Tool-integrated
reasoning"): a teacher writes solutions whose code is run, those that miss the gold answer are
dropped, and what stays unsolved is tried again, three times. Every sample goes through the kit's
own loop and into a journal, so that a killed run resumes.

Problems that are measured on are left out. Texts are compared as a reader would: case, spaces,
dollars and braces make no difference, numbers and operators do.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from aimo_submit.evaluate.runner import Submitting, evaluate, remaining, solving
from aimo_submit.formats import Format
from aimo_submit.formats.families import FORMATS, Harmony
from aimo_submit.journal import Journal, solutions_in
from aimo_submit.records import Outcome, Problem, Round, Solution, Trace

Words = tuple[str, ...]

GRAM = 13  # words in a row that give a problem away: GPT-3's, arXiv 2005.14165, appendix C
# A run that stands in so many problems of the sets gives none of them away: "m/n, where m and n
# are relatively prime positive integers. Find m+n".
BOILERPLATE = 3
SHINGLE = 3  # words in a row by which solutions are compared
ALIKE = 0.8  # of their runs, and two solutions are near-duplicates

_NUMINA = FORMATS["numina_tir"]
_WORD = re.compile(r"[^\W\d_]+|\d+|[-+*/^=<>!|]")
_DRESS = re.compile(r"\\(?:left|right|displaystyle|quad|[,;!:])(?![a-z])")


class TrainingRow(TypedDict):
    """One solution, in the columns of AI-MO/NuminaMath-TIR."""

    problem: str
    solution: str
    messages: list[dict[str, str]]


@dataclass(slots=True)
class Selection:
    """The problems to be solved, and why the others were left."""

    problems: list[Problem] = field(default_factory=list)
    no_answer: int = 0
    repeated: int = 0
    held_out: Counter[str] = field(default_factory=Counter)  # by the set that has them


@dataclass(slots=True)
class Dataset:
    """Training rows, with counts of what was sampled and of what was dropped."""

    rows: list[TrainingRow] = field(default_factory=list)
    samples: int = 0
    right: int = 0  # with the gold answer
    unsound: int = 0  # of these: their last code failed
    alike: int = 0  # of the sound ones: like another of the same problem
    solved: int = 0  # problems


def select_problems(problems: Sequence[Problem], held_out: HeldOut) -> Selection:
    """The problems with an answer, each once, that no set which is measured on has."""
    chosen, seen = Selection(), set()
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


def dataset_of(problems: Sequence[Problem], journal: Path, format: Format, keep: int) -> Dataset:
    """Up to `keep` solutions of each problem, no two alike, in the order of the problems."""
    found, rows = Dataset(), dict[str, list[TrainingRow]]()
    wanted = {problem.text for problem in problems}
    for solution in solutions_in(journal):
        if solution.problem.text in wanted:
            rows.setdefault(solution.problem.text, []).extend(_rows(solution, format, keep, found))
    found.rows = [row for problem in problems for row in rows.get(problem.text, [])]
    return found


def _rows(solution: Solution, format: Format, keep: int, found: Dataset) -> list[TrainingRow]:
    right = _right(solution)
    texts = [written(trace, format) for trace in right if sound(trace)]
    kept = [texts[at] for at in distinct(texts)]
    found.samples += len(solution.traces)
    found.right += len(right)
    found.unsound += len(right) - len(texts)
    found.alike += len(texts) - len(kept)
    found.solved += bool(kept)
    return [_row(solution.problem.text, text) for text in kept[:keep]]


def _row(problem: str, solution: str) -> TrainingRow:
    turns = (("user", problem), ("assistant", solution))
    messages = [{"content": content, "role": role} for role, content in turns]
    return TrainingRow(problem=problem, solution=solution, messages=messages)


def _right(solution: Solution) -> list[Trace]:
    gold = solution.problem.answer
    return [t for t in solution.traces if t.answer is not None and t.answer == gold]


def sound(trace: Trace) -> bool:
    """True if the last code that ran did so without an error: else the answer is a guess."""
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


# --- the same text: by its words, by long runs of words, by most of its short ones


def words_of(text: str) -> Words:
    """The text as lower-case words, numbers and operators."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\\dfrac", "\\frac")
    return tuple(_WORD.findall(_DRESS.sub(" ", plain)))


def grams(words: Words, size: int) -> set[Words]:
    """The runs of so many words; of a shorter text the whole of it."""
    return {words[at : at + size] for at in range(max(1, len(words) - size + 1))}


class HeldOut:
    """Problems that are measured on, by the name of their set; none of them may be trained on."""

    def __init__(self, sets: Mapping[str, Iterable[str]]) -> None:
        self._whole: dict[Words, str] = {}
        for name, texts in sets.items():
            for text in texts:
                self._whole.setdefault(words_of(text), name)
        found = Counter(gram for words in self._whole for gram in _long(words))
        self._runs = {
            gram: name
            for words, name in self._whole.items()
            for gram in _long(words)
            if found[gram] < BOILERPLATE
        }

    def set_of(self, text: str) -> str | None:
        """The set that has the problem, whole or a run of `GRAM` words of it; None: none has."""
        words = words_of(text)
        runs = (self._runs[gram] for gram in _long(words) if gram in self._runs)
        return self._whole.get(words) or next(runs, None)


def _long(words: Words) -> set[Words]:
    """The runs of `GRAM` words or numbers; a formula's operators make none longer."""
    said = tuple(word for word in words if word.isalnum())
    return grams(said, GRAM) if len(said) >= GRAM else set()


def distinct(texts: Sequence[str]) -> Iterator[int]:
    """Places of the texts that are no near-duplicates of one before them."""
    kept: list[set[Words]] = []
    for at, text in enumerate(texts):
        runs = grams(words_of(text), SHINGLE)
        if not any(_alike(runs, other) for other in kept):
            kept.append(runs)
            yield at


def _alike(one: set[Words], two: set[Words]) -> bool:
    return len(one & two) >= ALIKE * len(one | two)
