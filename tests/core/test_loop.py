"""One sample through its rounds: what it sees, when it ends, and why."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from aimo_submit.config import Config
from aimo_submit.engines import Sampling
from aimo_submit.engines.scripted import ScriptedEngine, StepTime
from aimo_submit.errors import UserError
from aimo_submit.records import Execution, Outcome, Problem, Solution, Status, Trace
from aimo_submit.run import Run, seed_of
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.solve import solve
from tests.scripted import ANSWER, ASK, PROBLEM, replies, run_of, solved


def trace_of(*texts: str, **options: object) -> Trace:
    return solved(run_of(replies(*texts), **options))[0].traces[0]  # type: ignore[arg-type]


def test_code_is_run_and_its_output_read_before_the_answer() -> None:
    trace = trace_of(ASK, ANSWER)
    assert (trace.status, trace.answer) == (Status.ANSWERED, 42)
    assert trace.text == ASK + "42\n```" + ANSWER
    assert trace.rounds[0].code == "print(6*7)"


def test_a_continuation_extends_the_tokens_before_it_and_nothing_else() -> None:
    prompts: list[bytes] = []

    class Recording(ScriptedEngine):
        async def complete(self, prompt, sampling):  # type: ignore[no-untyped-def]
            prompts.append(bytes(prompt))
            return await super().complete(prompt, sampling)

    run = run_of(replies(ASK, ANSWER))
    solved(dataclasses.replace(run, engine=Recording(replies(ASK, ANSWER))))
    assert prompts[1] == prompts[0] + ASK.encode() + b"42\n```"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["I give up."], "ended with neither code nor an answer"),
        ([ANSWER], "answered before any code had run"),
        (["As before:\n```output\n"], "asked for an output without any code"),
        (["```python\nprint(1" + " " * 3000], "cut off by the token limit"),
    ],
)
def test_a_sample_that_cannot_go_on_is_pruned_and_says_why(texts: list[str], reason: str) -> None:
    trace = trace_of(*texts)
    assert (trace.status, trace.reason, trace.answer) == (Status.FAILED, reason, None)


def test_a_family_that_reasons_without_code_may_answer_at_once() -> None:
    assert trace_of(ANSWER, format="r1_distill").answer == 42


def test_the_last_round_runs_no_code_and_forces_no_answer() -> None:
    runs: list[str] = []

    def execute(code: str) -> Execution:
        runs.append(code)
        return Execution(Outcome.OK, "42", 0.0)

    trace = trace_of(ASK, config=Config(samples=1, rounds=3), execute=execute)
    assert (trace.status, len(trace.rounds), len(runs)) == (Status.EXHAUSTED, 3, 2)


def test_a_failed_sample_restarts_when_configured_and_keeps_what_it_tried() -> None:
    def script(prompt: str, sampling: Sampling) -> str:
        if "```output" in prompt:
            return ANSWER
        return ASK if sampling.seed == seed_of(0, PROBLEM.text, 0, 1) else "I give up."

    trace = solved(run_of(script, Config(samples=1, on_failure="restart")))[0].traces[0]
    assert (trace.status, trace.answer, trace.attempt) == (Status.ANSWERED, 42, 1)
    assert [r.attempt for r in trace.rounds] == [0, 1, 1]
    assert "give up" not in trace.text


def test_an_error_is_shown_to_the_model_which_repairs_its_code() -> None:
    outputs = {"print(6*7)": Execution(Outcome.ERROR, "NameError: name 'x'", 0.1)}
    trace = trace_of(ASK, ASK, ANSWER, execute=lambda code: outputs[code])
    assert "NameError" in trace.rounds[0].appended
    assert trace.answer == 42


def test_a_full_context_ends_the_sample() -> None:
    prompt = f"### Problem: {PROBLEM.text}\n### Solution: "
    trace = trace_of(ASK, ANSWER, context=len(prompt + ASK + "42\n```"))
    assert (trace.status, trace.reason) == (Status.FAILED, "the context is full")


def test_a_crash_in_one_sample_leaves_the_others_alone() -> None:
    def script(prompt: str, sampling: Sampling) -> str:
        if sampling.seed == seed_of(0, PROBLEM.text, 1, 0):
            raise RuntimeError("a bug")
        return replies(ASK, ANSWER)(prompt, sampling)

    solution = solved(run_of(script, Config(samples=4)))[0]
    assert [t.status for t in solution.traces].count(Status.ANSWERED) == 3
    assert solution.traces[1].reason == "RuntimeError: a bug"


def test_no_sample_waits_for_another() -> None:
    """In lockstep the quick sample's second round would start only after the slow one's first."""

    def script(prompt: str, sampling: Sampling) -> str:
        slow = sampling.seed == seed_of(0, PROBLEM.text, 0, 0)
        return replies("." * 2000 * slow + ASK, ANSWER)(prompt, sampling)

    run = run_of(script, Config(samples=2, max_new_tokens=4000), step_time=StepTime(s0=1.0))
    slow, quick = solved(run)[0].traces
    seconds = [sum(r.engine_s + r.sandbox_s for r in trace.rounds) for trace in (slow, quick)]
    assert seconds[1] < 100 < 2000 < seconds[0]


def test_seeds_depend_on_run_problem_sample_and_round_only() -> None:
    base = seed_of(0, "text", 1, 2)
    assert base == seed_of(0, "text", 1, 2)
    assert (
        len({base, seed_of(1, "text", 1, 2), seed_of(0, "t", 1, 2), seed_of(0, "text", 2, 2)}) == 4
    )
    assert 0 <= base < 2**63


CALLS = {  # how a call begins and ends, and what of its output's frame tells that it has run
    "numina_tir": ("```python", "```\n```output\n", "```output\n"),
    "tora": ("```python", "```\n```output\n", "```output\n"),
    "openmath_nemotron_tir": ("<tool_call>", "</tool_call>", "```output\n"),
    "nemotron_llm_code": ("<llm-code>", "</llm-code>", "<llm-code-output>\n"),
    "llama3": ("<|python_tag|>", "", "ipython<|end_header_id|>"),
}


@pytest.mark.slow
@pytest.mark.parametrize("format", CALLS)
def test_a_block_sees_of_earlier_ones_what_the_format_says(format: str) -> None:
    begin, end, frame = CALLS[format]
    blocks = [f"{begin}\n{code}\n{end}" for code in ("x = 6 * 7", "print(x)")]

    def script(prompt: str, sampling: Sampling) -> str:
        return [*blocks, ANSWER][min(prompt.count(frame), 2)]

    trace = really_solved(run_of(script, format=format)).traces[0]
    assert ("NameError" if format == "numina_tir" else "42") in trace.rounds[1].appended
    assert trace.answer == 42


def really_solved(run: Run) -> Solution:
    """The problem's solution, its code run in the sandbox."""

    async def work() -> Solution:
        async with ForkServer(workers=1) as sandbox:
            return await solve(dataclasses.replace(run, sandbox=sandbox), PROBLEM, [])

    return asyncio.run(work())


def program(code: str) -> str:
    return f"<think>Let us count.</think>\n```python\n{code}\n```\n"


PROGRAMS = [  # a text; what it answers, and how its code ended
    (program("print(6 * 7)") + "So \\boxed{41}.", 42, Outcome.OK),
    (program("print(6 * 7)"), 42, Outcome.OK),
    (program("print(1)") + program("print(6 * 7)"), 42, Outcome.OK),
    (program("x = 42") + program("raise ValueError(x)") + "\\boxed{41}", 41, Outcome.ERROR),
    (program("raise ValueError(7)") + "\\boxed{41}", 41, Outcome.ERROR),
    (program("while True: pass") + "\\boxed{41}", 41, Outcome.TIMEOUT),
    (program("x = 42") + "\\boxed{41}", 41, Outcome.OK),
    (program("print(-1234)") + "\\boxed{41}", 41, Outcome.OK),
    (program("1 / 0"), None, Outcome.ERROR),
    ("No code, but \\boxed{41}.", 41, None),
    (program("print(42)") + "." * 3000 + "\\boxed{41}", None, None),
]


@pytest.mark.slow
def test_the_last_block_of_a_text_that_ended_gives_the_answer_before_the_box() -> None:
    texts = {seed_of(0, PROBLEM.text, k, 0): text for k, (text, *_) in enumerate(PROGRAMS)}
    config = Config(samples=len(texts), rounds=1, edition="aimo-2", code_timeout_s=3.0)
    run = run_of(lambda prompt, sampling: texts[sampling.seed], config, format="r1_distill_code")
    traces = really_solved(run).traces
    turns = [turn for trace in traces for turn in trace.rounds]
    runs = [turn.execution.outcome if turn.execution else None for turn in turns]
    assert list(zip(texts.values(), (t.answer for t in traces), runs, strict=True)) == PROGRAMS
    assert [t.status is Status.ANSWERED for t in traces] == [t.answer is not None for t in traces]
    assert traces[0].text.endswith("So \\boxed{41}.\n```output\n42\n```\n")
    assert traces[8].reason == "neither its code nor its text gave an answer"
    assert traces[10].reason == "cut off by the token limit"


def test_a_sample_that_ends_with_its_code_is_one_vote_and_waits_for_no_other() -> None:
    ended: dict[int, float] = {}

    def script(prompt: str, sampling: Sampling) -> str:
        return program("slow") if "Python program" in prompt else "So \\boxed{41}."

    def watch(problem: Problem, trace: Trace) -> None:
        ended[trace.sample] = asyncio.get_running_loop().time()

    mixed = Config(samples=3, formats=["r1_distill_code", "r1_distill"])
    run = run_of(script, mixed, execute=lambda code: Execution(Outcome.OK, "42", 30.0))
    (solution,) = solved(dataclasses.replace(run, watch=watch))
    assert [(v.answer, v.weight) for v in solution.votes] == [(42, 2.0), (41, 1.0)]
    assert ended[1] < 1 < 30 <= ended[0]


def test_a_program_that_gives_no_answer_is_written_anew_when_configured() -> None:
    second = seed_of(0, PROBLEM.text, 0, 1)

    def script(prompt: str, sampling: Sampling) -> str:
        return program("print(42)") if sampling.seed == second else program("print()")

    def execute(code: str) -> Execution:
        return Execution(Outcome.OK, "42" if "42" in code else "", 0.1)

    config = Config(samples=1, on_failure="restart")
    run = run_of(script, config, execute=execute, format="r1_distill_code")
    trace = solved(run)[0].traces[0]
    assert (trace.answer, trace.attempt, len(trace.rounds)) == (42, 1, 2)


def test_formats_take_turns_over_the_samples() -> None:
    """Diverse prompts, as AIMO-2's second place mixed reasoning and code."""
    prompts: list[str] = []

    def script(prompt: str, sampling: object) -> str:
        prompts.append(prompt)
        return "So \\boxed{42}."

    run = run_of(script, Config(samples=4, formats=["r1_distill", "deepseekmath_rl_cot"]))
    (solution,) = solved(run)
    assert [t.answer for t in solution.traces] == [42] * 4
    assert [p.startswith("User: ") for p in prompts] == [False, True, False, True]


def test_an_unknown_format_in_the_mix_is_refused() -> None:
    with pytest.raises(UserError, match="unknown format 'cot'"):
        Config(formats=["cot"])
