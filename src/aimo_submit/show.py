"""Solutions and samples as rich text for people. Nothing here prints."""

from __future__ import annotations

import threading
from collections import Counter

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.rule import Rule
from rich.text import Text

from aimo_submit.records import Problem, Round, Solution, Status, Trace

_MARKS = {True: "[green]right[/]", False: "[red]wrong[/]", None: ""}


class Board:
    """A live line for a run: problems done, time used and left, the votes of those under way."""

    def __init__(self, console: Console, total: int, done: int = 0) -> None:
        self._votes: dict[str, Counter[int]] = {}
        self._lock = threading.Lock()  # samples report from the solver's thread
        self._bar = Progress(
            TextColumn("problems"),
            BarColumn(30),
            MofNCompleteColumn(),
            TextColumn("used"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("", total=total, completed=done)
        self.live = Live(console=console, get_renderable=self._render, refresh_per_second=4)

    def watch(self, problem: Problem, trace: Trace) -> None:
        """Takes note of a sample's progress."""
        if trace.status is Status.ACTIVE:
            return
        with self._lock:
            votes = self._votes.setdefault(problem.id, Counter())
            if trace.answer is not None:
                votes[trace.answer] += 1

    def finish(self, solution: Solution) -> None:
        """Takes note of a solved problem."""
        with self._lock:
            self._votes.pop(solution.problem.id, None)
        self._bar.advance(self._task)

    def _render(self) -> RenderableType:
        with self._lock:
            lines = [f"  {name}: {votes_line(votes)}" for name, votes in self._votes.items()]
        return Group(self._bar, *(Text(line) for line in lines))


def votes_line(votes: Counter[int], most: int = 4) -> str:
    """Formats the leading answers with their votes: `42 x9  7 x3`."""
    if not votes:
        return "no votes"
    return "  ".join(f"{answer} x{n}" for answer, n in votes.most_common(most))


def solution_line(solution: Solution) -> str:
    """One line, in markup: the answer, whether it is right, its votes and its time."""
    votes = Counter({v.answer: round(v.weight) for v in solution.votes})
    mark = _MARKS[solution.correct]
    gold = f" (gold {solution.problem.answer})" if solution.correct is False else ""
    reason = "" if solution.reason == "vote" else f"  [yellow]{escape(solution.reason)}[/]"
    return (
        f"{escape(solution.problem.id)}  answer [bold]{solution.answer}[/] {mark}{gold}  "
        f"{votes_line(votes)} of {len(solution.traces)}  {solution.seconds:.1f} s{reason}"
    )


def work(solution: Solution) -> RenderableType:
    """Shows the problem and one sample that gave the answer, with its code and outputs."""
    chosen = next((t for t in solution.traces if t.answer == solution.answer), None)
    parts: list[RenderableType] = [Text(solution.problem.text, style="bold")]
    if chosen is not None:
        parts += [Rule(f"sample {chosen.sample} of {len(solution.traces)}", style="dim")]
        parts += sample_text(chosen)
    return Panel(Group(*parts), title=escape(solution.problem.id), title_align="left")


def sample_text(trace: Trace) -> list[RenderableType]:
    """A sample as it was written: the model's words, and what came back from its code."""
    shown: list[RenderableType] = []
    for turn in trace.rounds:
        shown.append(Text(turn.completion.text.strip("\n")))
        if turn.execution is not None:
            shown.append(Text(turn.appended.strip("\n"), style="cyan"))
    return shown


def round_line(trace: Trace) -> str:
    """One line, in markup, on what a sample has just done; empty when there is nothing to say."""
    if trace.status is Status.ANSWERED:
        return f"[green]sample {trace.sample:>2}[/] answers [bold]{trace.answer}[/]"
    if trace.status is not Status.ACTIVE:
        return f"[yellow]sample {trace.sample:>2}[/] {trace.status}: {escape(trace.reason)}"
    if trace.rounds and trace.rounds[-1].execution is not None:
        return f"[dim]sample {trace.sample:>2}[/] {_ran(trace.rounds[-1])}"
    return ""


def _ran(turn: Round) -> str:
    code = (turn.code or "").strip().splitlines()
    execution = turn.execution
    output = (execution.output.strip().splitlines() if execution else [])[-1:]
    last = code[-1] if code else ""
    return f"runs [cyan]{escape(last[:60])}[/] -> {escape(' '.join(output)[:60])}"
