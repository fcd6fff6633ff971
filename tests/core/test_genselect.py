"""GenSelect: the model chooses among solutions that disagree, or the vote stands."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from aimo_submit.config import Config
from aimo_submit.engines import Sampling
from aimo_submit.engines.scripted import ScriptedEngine, StepTime, simulate
from aimo_submit.errors import EngineDied
from aimo_submit.formats.families import FORMATS
from aimo_submit.genselect import judgment, select, summary, undecided
from aimo_submit.records import Completion, Finish, Round, Solution, Status, Trace
from aimo_submit.run import Run, seed_of
from aimo_submit.vote import confidence, majority
from tests.scripted import PROBLEM, run_of, solved

Judge = Callable[[str, Sampling], str]


def solution_of(*answers: int | None, text: str = "") -> Solution:
    """A solution by majority; each sample concludes with its answer in a box."""
    traces = []
    for k, answer in enumerate(answers):
        written = Completion(f"{text}So \\boxed{{{answer}}}.", (), Finish.EOS, 0.0)
        status = Status.FAILED if answer is None else Status.ANSWERED
        traces.append(Trace(k, [Round(written)], status, answer))
    votes = majority(traces)
    sure = confidence(traces, votes[0].answer)
    return Solution(PROBLEM, votes[0].answer, votes, traces, 0, 1.0, "vote", sure)


def index_of(answer: int, prompt: str) -> int:
    """The number under which a prompt shows the solution with that answer."""
    shown = re.findall(r"^Solution \d+:\n(.*?)\n\n", prompt, re.DOTALL | re.MULTILINE)
    return next(k for k, text in enumerate(shown) if f"boxed{{{answer}}}" in text)


def prefers(answer: int) -> Judge:
    """A judge that always names the solution with that answer."""
    return lambda prompt, sampling: f"Compared.\nJudgment: {index_of(answer, prompt)}"


def selected(run: Run, solution: Solution, picks: int = 8, until: float = math.inf) -> Solution:
    async def work() -> Solution:
        chosen = await select(run, solution, picks, until)
        assert run.engine.running == 0
        await run.engine.aclose()
        return chosen

    return simulate(work())


UNSURE = (7, 7, 7, 42, 42, None, None, None)


def test_an_answer_with_most_picks_takes_the_place_of_the_vote() -> None:
    chosen = selected(run_of(prefers(42)), solution_of(*UNSURE))
    assert chosen.answer == 42
    assert chosen.reason == "selection: 8 of 8 picks for 42"
    assert chosen.votes[0].answer == 7
    assert chosen.confidence == confidence(chosen.traces, 42)


def test_picks_for_the_leader_confirm_the_vote() -> None:
    chosen = selected(run_of(prefers(7)), solution_of(*UNSURE))
    assert (chosen.answer, chosen.reason) == (7, "vote; 8 of 8 picks for 7")


def alternating() -> Judge:
    """A judge that names each of two solutions as often as the other."""
    asked: list[str] = []

    def judge(prompt: str, sampling: Sampling) -> str:
        asked.append(prompt)
        return prefers((7, 42)[len(asked) % 2])(prompt, sampling)

    return judge


@pytest.mark.parametrize(
    "judge",
    [
        lambda prompt, sampling: "I cannot tell.",
        lambda prompt, sampling: "",
        lambda prompt, sampling: "Judgment: 99",
        lambda prompt, sampling: "Judgment: -1",
        lambda prompt, sampling: "\ud7ff\x00" * 500 + "Judgment:",
        alternating(),
    ],
    ids=["none", "nothing", "beyond", "negative", "garbage", "tie"],
)
def test_picks_that_decide_nothing_leave_the_answer_of_the_vote(
    judge: Judge, caplog: pytest.LogCaptureFixture
) -> None:
    before = solution_of(*UNSURE)
    chosen = selected(run_of(judge), before)
    assert (chosen.answer, chosen.votes) == (before.answer, before.votes)
    assert re.fullmatch("vote; (no pick|4 of 8 picks for (42|7))", chosen.reason)
    assert not caplog.records


def test_half_of_the_picks_are_not_enough_even_when_the_others_name_nothing() -> None:
    asked: list[str] = []

    def judge(prompt: str, sampling: Sampling) -> str:
        asked.append(prompt)
        return prefers(42)(prompt, sampling) if len(asked) % 2 else "?"

    assert selected(run_of(judge), solution_of(*UNSURE)).answer == 7


def test_a_sure_vote_is_not_judged_and_neither_is_a_lone_answer() -> None:
    def judge(prompt: str, sampling: Sampling) -> str:
        raise AssertionError("the engine was asked")

    for answers in ([7] * 15 + [42], [7, None, None, None], [7, 42]):
        before = solution_of(*answers)
        picks = 0 if answers == [7, 42] else 8  # switched off
        assert selected(run_of(judge), before, picks) is before
    assert undecided(solution_of(*UNSURE))


def numbered() -> Solution:
    """An undecided solution whose samples can be told apart."""
    solution = solution_of(*UNSURE)
    for k, trace in enumerate(solution.traces):
        text = f"sample {k}: So \\boxed{{{trace.answer}}}."
        trace.rounds = [Round(Completion(text, (), Finish.EOS, 0.0))]
    return solution


def test_each_pick_has_its_own_order_seed_and_samples() -> None:
    prompts: list[str] = []
    seeds: set[int] = set()

    def judge(prompt: str, sampling: Sampling) -> str:
        prompts.append(prompt)
        seeds.add(sampling.seed)
        return prefers(42)(prompt, sampling)

    selected(run_of(judge), numbered(), 16)
    assert len(seeds - {seed_of(0, PROBLEM.text, k, 0) for k in range(48)}) == 16
    assert {index_of(42, prompt) for prompt in prompts} == {0, 1}
    assert {k for p in prompts for k in re.findall(r"sample (\d)", p)} == set("01234")


def test_the_same_selection_again_asks_the_same() -> None:
    asked: list[list[tuple[str, int]]] = []
    for order in (1, -1):
        asked.append([])

        def judge(prompt: str, sampling: Sampling) -> str:
            asked[-1].append((prompt, sampling.seed))
            return "?"

        before = numbered()
        before.traces = before.traces[::order]
        selected(run_of(judge), before)
    assert asked[0] == asked[1]


def test_the_deadline_ends_the_picks_and_those_made_by_then_count() -> None:
    made: list[str] = []

    def judge(prompt: str, sampling: Sampling) -> str:
        made.append(prompt)
        slow = len(made) % 4 == 0
        return "." * 1500 * slow + prefers(42)(prompt, sampling)

    run = run_of(judge, Config(max_new_tokens=10_000), step_time=StepTime(s0=1.0))
    chosen = selected(run, solution_of(*UNSURE), until=500.0)
    assert (chosen.answer, chosen.reason) == (42, "selection: 6 of 8 picks for 42")


def test_after_the_deadline_nothing_is_asked() -> None:
    before = solution_of(*UNSURE)
    assert selected(run_of(prefers(42)), before, until=0.0) is before


def test_cancelling_the_selection_leaves_nothing_in_the_engine() -> None:
    run = run_of(lambda prompt, sampling: "." * 1000, step_time=StepTime(s0=1.0))

    async def work() -> tuple[int, int]:
        task = asyncio.create_task(select(run, solution_of(*UNSURE), 8))
        await asyncio.sleep(5)
        before = run.engine.running
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        after = run.engine.running
        await run.engine.aclose()
        return before, after

    assert simulate(work()) == (8, 0)


class Dying(ScriptedEngine):
    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        raise EngineDied("lost its worker")


def test_when_the_engine_dies_the_vote_stands_and_the_reason_says_so() -> None:
    run = replace(run_of(prefers(42)), engine=Dying(prefers(42)))
    chosen = selected(run, solution_of(*UNSURE))
    assert (chosen.answer, chosen.reason) == (7, "vote; no pick; the engine died")


@pytest.mark.parametrize("context", [100, 500, 1000, 4096])
def test_prompts_leave_a_quarter_of_the_context_to_the_judgement(context: int) -> None:
    longest = 0

    def judge(prompt: str, sampling: Sampling) -> str:
        nonlocal longest
        longest = max(longest, len(prompt.encode()))
        assert sampling.max_new_tokens >= context // 4
        return prefers(42)(prompt, sampling)

    before = solution_of(*UNSURE, text="long \u00e9 " * 3000)
    chosen = selected(run_of(judge, context=context), before)
    assert longest <= context * 3 // 4
    assert (longest > 0) == (context >= 1000)
    assert chosen.answer == (42 if context >= 1000 else 7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Judgment: 2", 2),
        ("so\n**Judgment: [0]**\n", 0),
        ("Judgment: 1\nno:\nJudgment: 3.", 3),
        ("Judgment: 1, I think", None),
        ("Judgment: 1 or 2", None),
        ("Judgment: IDX", None),
        ("Judgment: 123", None),
        ("the judgment is 1", None),
        ("Judgment: \u0661", None),
        ("", None),
    ],
)
def test_only_an_ending_that_names_one_number_is_a_pick(text: str, expected: int | None) -> None:
    assert judgment(text) == expected


def test_what_follows_the_thoughts_is_the_summary() -> None:
    def trace(text: str) -> Trace:
        return Trace(0, [Round(Completion(text, (), Finish.EOS, 0.0))])

    assert summary(trace("maybe 3</think>\nIt is 4.")) == "It is 4."
    assert summary(trace("maybe 3</think> ")) == "maybe 3</think>"
    assert summary(trace("It is 4.")) == "It is 4."


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_asks_its_own_way_and_never_for_a_boxed_answer(name: str) -> None:
    if name == "gpt_oss":
        pytest.importorskip("openai_harmony")
    seen: list[str] = []

    def judge(prompt: str, sampling: Sampling) -> str:
        seen.append(prompt)
        return "?"

    before = solution_of(*UNSURE)
    for trace in before.traces:
        trace.rounds = [Round(Completion("It is so.", (), Finish.EOS, 0.0))]
    selected(run_of(judge, format=name), before, 1)
    assert len(seen) == 1
    assert "{question}" not in seen[0]
    assert "Judgment: IDX" in seen[0]
    assert "boxed" not in seen[0]
    if name != "gpt_oss":
        begin, _, end = FORMATS[name].template.partition("{problem}")
        assert seen[0].startswith(begin[:12])
        assert seen[0].endswith(end[-12:])


def split_then(judge: Judge) -> Callable[[str, Sampling], str]:
    """Three samples for 7, two for 42, then what the judge says of them."""
    votes = {seed_of(0, PROBLEM.text, k, 0): a for k, a in enumerate((7, 7, 7, 42, 42))}

    def script(prompt: str, sampling: Sampling) -> str:
        if sampling.seed in votes:
            return f"So \\boxed{{{votes[sampling.seed]}}}."
        return judge(prompt, sampling)

    return script


def test_an_undecided_problem_is_selected_where_picks_are_asked_for() -> None:
    config = Config(samples=5, picks=4)
    assert solved(run_of(split_then(prefers(42)), config, format="r1_distill"))[0].answer == 42
    without = replace(config, picks=0)
    assert solved(run_of(split_then(prefers(42)), without, format="r1_distill"))[0].answer == 7


def test_sampling_leaves_time_to_select_inside_the_deadline() -> None:
    def endless(prompt: str, sampling: Sampling) -> str:
        if sampling.seed == seed_of(0, PROBLEM.text, 5, 0):
            return "." * 10_000
        return split_then(prefers(42))(prompt, sampling)

    config = Config(samples=6, picks=4, problem_timeout_s=100.0, max_new_tokens=20_000)
    solution = solved(run_of(endless, config, step_time=StepTime(s0=0.05), format="r1_distill"))[0]
    assert solution.answer == 42
    assert 80 < solution.seconds <= 100
