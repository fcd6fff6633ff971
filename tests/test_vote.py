"""The vote: ranked answers, deterministic ties."""

from __future__ import annotations

from aimo_submit.records import Completion, Finish, Round, Trace
from aimo_submit.vote import confidence, majority


def trace(sample: int, answer: int | None, mean_logprob: float = -0.1) -> Trace:
    completion = Completion("x", (1, 2), Finish.EOS, mean_logprob)
    return Trace(sample, [Round(completion)], answer=answer)


def test_the_answer_of_most_samples_comes_first() -> None:
    ranked = majority([trace(0, 7), trace(1, 42), trace(2, None), trace(3, 42)])
    assert [(v.answer, v.weight) for v in ranked] == [(42, 2.0), (7, 1.0)]


def test_a_tie_goes_to_the_earliest_sample_whatever_the_order_of_arrival() -> None:
    traces = [trace(0, 7), trace(1, 42), trace(2, 42), trace(3, 7)]
    assert majority(traces)[0].answer == majority(traces[::-1])[0].answer == 7


def test_confidence_lets_a_sure_sample_outweigh_an_unsure_one() -> None:
    assert confidence([trace(0, 7, -3.0), trace(1, 42, -0.1)])[0].answer == 42


def test_without_answers_there_is_no_vote() -> None:
    assert majority([trace(0, None)]) == []
