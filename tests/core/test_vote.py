"""The vote: ranked answers, deterministic ties, weights that stay sane, a confidence."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimo_submit.records import (
    Completion,
    Execution,
    Finish,
    Outcome,
    Problem,
    Round,
    Solution,
    Status,
    Trace,
    Vote,
    from_json,
    to_json,
)
from aimo_submit.vote import (
    RULES,
    Rule,
    agreement,
    boxed,
    brevity,
    coded,
    confidence,
    how_won,
    logprob,
    majority,
    weighted,
)

Spec = tuple[int | None, float, str | None]  # answer, mean logprob, what its code printed

LOGPROBS = st.floats(-5.0, 0.0)
ANSWERS = st.one_of(st.none(), st.integers(0, 3))
SPECS = st.lists(st.tuples(ANSWERS, LOGPROBS, st.sampled_from([None, "0", "2"])), max_size=12)


def trace(
    sample: int, answer: int | None, mean_logprob: float = -0.1, output: str | None = None
) -> Trace:
    """A sample that ran one block, if there is an output, and then answered."""
    rounds = [Round(Completion("x", (1, 2), Finish.EOS, mean_logprob))]
    if output is not None:
        asked = Completion("x", (1, 2), Finish.STOP, mean_logprob)
        rounds.insert(0, Round(asked, "print()", Execution(Outcome.OK, output, 0.1)))
    return Trace(sample, rounds, Status.FAILED if answer is None else Status.ANSWERED, answer)


def traces_of(specs: Sequence[Spec]) -> list[Trace]:
    return [trace(k, *spec) for k, spec in enumerate(specs)]


def scored(answers: Sequence[int], scores: Sequence[float]) -> list[Vote]:
    """The weighted vote of samples with these answers and these signals."""
    return weighted(lambda t: scores[t.sample])([trace(k, a) for k, a in enumerate(answers)])


def test_the_answer_of_most_samples_comes_first() -> None:
    ranked = majority([trace(0, 7), trace(1, 42), trace(2, None), trace(3, 42)])
    assert [(v.answer, v.weight) for v in ranked] == [(42, 2.0), (7, 1.0)]


def test_a_tie_goes_to_the_earliest_sample_whatever_the_order_of_arrival() -> None:
    traces = [trace(0, 7), trace(1, 42), trace(2, 42), trace(3, 7)]
    assert majority(traces)[0].answer == majority(traces[::-1])[0].answer == 7


def test_a_tie_is_told_and_a_plain_vote_is_not() -> None:
    told = how_won(majority([trace(0, 7), trace(1, 42), trace(2, 9), trace(3, 42), trace(4, 7)]))
    assert told == "vote: 7, 42 tie, 7 comes from the earliest sample"
    assert how_won(majority([trace(0, 7), trace(1, 42), trace(2, 42)])) == "vote"


def test_weights_that_add_up_to_the_same_tie_in_whatever_order_they_come() -> None:
    """0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 are different floats."""
    scores = [0.1, 0.7, 0.2, 0.45, 0.3]
    votes = scored([1] * 5 + [2] * 5, [*scores, *scores[::-1]])
    assert votes[0].weight == votes[1].weight
    assert "tie" in how_won(votes)


def test_a_sample_of_which_the_signal_is_not_known_weighs_as_an_average_one() -> None:
    for unknown in (math.nan, -math.inf):
        weights = {v.answer: v.weight for v in scored([1, 2, 3], [-1.0, unknown, -3.0])}
        assert weights[2] == 1.0
        assert weights[3] < 1 < weights[1]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_without_answers_there_is_no_vote(rule: Rule) -> None:
    assert rule([]) == rule([trace(0, None)]) == []


def test_a_sure_sample_outweighs_an_unsure_one() -> None:
    assert RULES["logprob"]([trace(0, 7, -3.0), trace(1, 42, -0.1)])[0].answer == 42


def test_a_weight_cannot_turn_a_clear_majority() -> None:
    """At beta = 1 the one sure sample in ten would outweigh the others: exp(3) = 20."""
    traces = [trace(k, 7, -3.0) for k in range(9)] + [trace(9, 42, -0.1)]
    assert RULES["logprob"](traces)[0].answer == 7


def test_an_answer_that_the_code_printed_agrees_with_it() -> None:
    assert agreement(trace(0, 26, output="{d: 26.0000, n: 10.0}")) == 1
    assert agreement(trace(0, 345, output="12345")) == 1  # modulo 1000
    assert agreement(trace(0, 26, output="26.5, 260, x")) == -1
    assert agreement(trace(0, 26)) == 0


def test_the_output_of_a_failed_block_or_an_earlier_attempt_is_no_support() -> None:
    failed = Round(
        Completion("", (), Finish.STOP, 0.0), "", Execution(Outcome.ERROR, "line 7", 0.0)
    )
    assert agreement(Trace(0, [failed], answer=7)) == 0
    restarted = trace(0, 7, output="7")
    restarted.attempt = 1
    assert agreement(restarted) == 0


def test_a_huge_output_is_read_quickly_and_without_an_error() -> None:
    assert agreement(trace(0, 7, output="9" * 5_000_000 + " 7")) == 1


def test_signals_read_what_a_sample_did() -> None:
    with_code, without = trace(0, 7, output="7"), trace(1, 7)
    assert (brevity(with_code), brevity(without)) == (-1, 0)
    assert (coded(with_code), coded(without)) == (1, 0)
    stated = Trace(0, [Round(Completion("so $\\boxed{7}$", (), Finish.EOS, 0.0))], answer=7)
    assert (boxed(stated), boxed(without), boxed(Trace(0))) == (1, 0, 0)
    assert logprob(trace(0, 7, -0.5)) == -0.5


@given(SPECS, st.randoms(use_true_random=False))
def test_the_order_of_the_traces_changes_nothing(specs: list[Spec], rng: random.Random) -> None:
    traces = traces_of(specs)
    shuffled = list(traces)
    rng.shuffle(shuffled)
    for rule in RULES.values():
        assert rule(shuffled) == rule(traces)


@given(SPECS, st.permutations(range(4)))
def test_other_names_for_the_answers_change_only_the_names(
    specs: list[Spec], names: list[int]
) -> None:
    renamed = [
        (None if a is None else names[a], logprob, out and str(names[int(out)]))
        for a, logprob, out in specs
    ]
    for rule in RULES.values():
        expected = [Vote(names[v.answer], v.weight) for v in rule(traces_of(specs))]
        assert rule(traces_of(renamed)) == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.floats()), min_size=1, max_size=12))
def test_weights_are_finite_and_positive_whatever_the_signal(
    samples: list[tuple[int, float]],
) -> None:
    answers, scores = zip(*samples, strict=True)
    assert all(math.isfinite(v.weight) and v.weight > 0 for v in scored(answers, scores))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.floats())
def test_a_signal_that_is_the_same_in_all_samples_leaves_the_majority(
    answers: list[int], score: float
) -> None:
    traces = [trace(k, a) for k, a in enumerate(answers)]
    assert scored(answers, [score] * len(answers)) == majority(traces)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_one_more_vote_for_the_leader_keeps_it(answers: list[int]) -> None:
    leader = majority([trace(k, a) for k, a in enumerate(answers)])[0].answer
    more = [*answers, leader]
    assert majority([trace(k, a) for k, a in enumerate(more)])[0].answer == leader


@given(st.lists(st.tuples(st.integers(0, 3), LOGPROBS), min_size=1, max_size=12))
def test_one_more_vote_for_the_leader_from_the_surest_sample_keeps_it(
    samples: list[tuple[int, float]],
) -> None:
    """A vote far less sure than the others may cost it the lead: signals are relative."""
    answers, scores = zip(*samples, strict=True)
    leader = scored(answers, scores)[0]
    after = scored((*answers, leader.answer), (*scores, max(scores)))
    best = next(v for v in after if v.answer == leader.answer)
    assert best.weight >= after[0].weight - 1e-9


def test_confidence_rises_with_the_lead_and_falls_with_silence() -> None:
    def sure(own: int, rival: int, silent: int) -> float:
        answers = [1] * own + [2] * rival + [None] * silent
        return confidence([trace(k, a) for k, a in enumerate(answers)], 1)

    for own, rival, silent in itertools.product(range(1, 9), range(9), range(9)):
        here = sure(own, rival, silent)
        assert 0 < here < 1
        assert sure(own + 1, rival, silent) > here or own < rival  # behind, it is only less so
        assert sure(own, rival + 1, silent) < here or own < rival
        assert sure(own, rival, silent + 1) < here or own <= rival
    assert sure(5, 3, 0) < sure(5, 0, 3)
    assert sure(48, 0, 0) > 0.95
    assert sure(1, 1, 46) < 0.5


def test_a_sample_that_was_stopped_does_not_count_against_the_answer() -> None:
    """Stopped at 5 to 0 of 48, a vote is as sure as 5 of 5."""
    voted = [trace(k, 7) for k in range(5)]
    stopped = [Trace(k, status=Status.CANCELLED) for k in range(5, 48)]
    assert confidence([*voted, *stopped, Trace(48)], 7) == confidence(voted, 7) > 0.95


def test_an_answer_of_no_sample_has_no_confidence() -> None:
    assert confidence([trace(0, 7)], 42) == confidence([], 0) == 0.0


def test_the_margin_is_the_lead_as_a_share_of_the_weight() -> None:
    def margin(*weights: float) -> float:
        votes = [Vote(k, weight) for k, weight in enumerate(weights)]
        return Solution(Problem("p", "?"), 0, votes, [], 0, 1.0).margin

    assert margin(3.0, 1.0, 1.0) == pytest.approx(0.4)
    assert margin(2.0) == 1.0
    assert margin(2.0, 2.0) == margin() == 0.0


def test_a_solution_of_an_older_journal_is_read_without_its_confidence() -> None:
    solution = Solution(Problem("p", "?"), 7, [Vote(7, 1.0)], [], 0, 1.0, "vote", 0.75)
    written = to_json(solution)
    assert from_json(Solution, written) == solution
    del written["confidence"]
    assert from_json(Solution, written).confidence is None
