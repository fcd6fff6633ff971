"""One sample through its rounds: complete, run the code, append the output, complete ...

Nothing here waits for another sample. A sample's prompt only ever grows by the tokens the model
wrote and the tokens we appended, so the engine's prefix cache and the model's own context hold.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from aimo_submit.answers import extract, printed
from aimo_submit.errors import EngineDied
from aimo_submit.records import (
    Completion,
    Finish,
    Outcome,
    Problem,
    Round,
    Status,
    Trace,
)
from aimo_submit.run import Run
from aimo_submit.sandbox import Session


@dataclass(frozen=True, slots=True)
class Step:
    """The next step after a completion: code to run, an answer to keep, or a reason to end.

    Code that ends a sample comes with the answer of the text, kept where the code prints none.
    """

    code: str | None = None
    answer: int | None = None
    reason: str = ""


def decide(run: Run, trace: Trace, completion: Completion) -> Step:
    """Decides a trace's next step. The reasons are those for which the Numina notebook prunes."""
    if run.format.asks(completion):
        code = run.format.block(completion)
        return Step(code=code) if code else Step(reason="asked for an output without any code")
    answer = extract(run.format.words(trace.text, completion), run.competition.answers.admit)
    if run.format.runs_last and completion.finish is Finish.EOS:
        if code := run.format.block(completion):
            return Step(code, answer, "neither its code nor its text gave an answer")
    if answer is not None:
        has_run = any(r.execution and r.attempt == trace.attempt for r in trace.rounds)
        if has_run or not run.format.needs_code:
            return Step(answer=answer)
        return Step(reason="answered before any code had run")
    if completion.finish is Finish.LENGTH:
        return Step(reason="cut off by the token limit")
    return Step(reason="ended with neither code nor an answer")


async def sample(run: Run, problem: Problem, trace: Trace, prompt: list[int]) -> None:
    """Takes one sample through its rounds; the trace says how it ended, whatever happened."""
    session = run.sandbox.session(run.format.scope)
    try:
        await _rounds(run, session, problem, trace, prompt)
    except asyncio.CancelledError:
        _end(trace, Status.CANCELLED, "stopped before its end")
        raise
    except EngineDied as error:
        trace.engine_died = True
        _end(trace, Status.FAILED, f"the engine died: {error}")
    except Exception as error:  # the border of one trace: its failure must not end the others
        _end(trace, Status.FAILED, f"{type(error).__name__}: {error}")
    finally:
        await session.aclose()
        run.watch(problem, trace)


async def _rounds(
    run: Run, session: Session, problem: Problem, trace: Trace, prompt: list[int]
) -> None:
    tokens = list(prompt)
    for left in reversed(range(run.config.rounds)):  # rounds left after this one
        if len(tokens) >= run.engine.context:
            return _end(trace, Status.FAILED, "the context is full")
        step = await _complete(run, problem, trace, tokens)
        if step.code is not None and run.format.runs_last:
            step = await _close(run, session, trace, step)
        if step.answer is not None:
            trace.answer = step.answer
            return _end(trace, Status.ANSWERED)
        if step.code is not None and left > 0:
            tokens += await _execute(run, session, trace)
            run.watch(problem, trace)
        elif step.code is not None:
            return _end(trace, Status.EXHAUSTED, "wanted code after the last round")
        elif left > 0 and run.config.on_failure == "restart":
            trace.attempt += 1
            await session.aclose()
            tokens = list(prompt)
        else:
            return _end(trace, Status.FAILED, step.reason)
    return None


async def _complete(run: Run, problem: Problem, trace: Trace, tokens: list[int]) -> Step:
    """Has the engine complete the trace once more; returns the step that this asks for."""
    now = asyncio.get_running_loop().time
    start = now()
    completion = await run.engine.complete(tokens, run.sampling(problem, trace, len(tokens)))
    step = decide(run, trace, completion)
    trace.rounds.append(Round(completion, step.code, attempt=trace.attempt, engine_s=now() - start))
    return step


async def _execute(run: Run, session: Session, trace: Trace) -> list[int]:
    """Runs the code of the last round; returns the tokens by which the prompt grows."""
    now = asyncio.get_running_loop().time
    turn = trace.rounds[-1]
    start = now()
    execution = await session.run(turn.code or "", run.config.code_timeout_s)
    shown = run.format.show(execution)
    seconds = now() - start
    trace.rounds[-1] = replace(turn, execution=execution, appended=shown, sandbox_s=seconds)
    return [*turn.completion.tokens, *run.engine.encode(shown)]


async def _close(run: Run, session: Session, trace: Trace, step: Step) -> Step:
    """Runs the code that ends a sample; its step is the answer it prints, else the text's."""
    await _execute(run, session, trace)
    execution, answer = trace.rounds[-1].execution, None
    if execution and execution.outcome is Outcome.OK:
        answer = printed(execution.output, run.competition.answers.admit)
    return Step(answer=step.answer if answer is None else answer, reason=step.reason)


def _end(trace: Trace, status: Status, reason: str = "") -> None:
    trace.status, trace.reason = status, reason
