"""accuracy(N, M) and pass@k: exact, and how sure."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimo_submit.errors import UserError
from aimo_submit.evaluate.summary import interval, population
from aimo_submit.pool.arrays import load_pool
from aimo_submit.tune.accuracy import accuracies, counts, jackknife, maj, pass_at
from benchmarks.tune import chances, covered, resampled, simulated, truth
from tests import NOT_SHARED, SHARED

TABLES = sorted((SHARED / "data" / "traces").glob("*_votes.csv"))
Votes = list[int]  # of one problem: -1 none, 0 the right answer, others wrong

some_votes = st.lists(st.integers(-1, 4), min_size=1, max_size=8)


def row(votes: Votes) -> np.ndarray:
    """The problem's row as `counts` gives it."""
    tally = np.bincount([v for v in votes if v >= 0], minlength=6)
    return np.array([[len(votes), *tally]])


def score(votes: tuple[int, ...]) -> float:
    """The expected score of a vote: a tie with t others counts 1/(1+t)."""
    given = [v for v in votes if v >= 0]
    most = max(map(given.count, given), default=0)
    leaders = {v for v in given if given.count(v) == most}
    return 1 / len(leaders) if 0 in leaders else 0.0


def enumerated(votes: Votes, n: int) -> float:
    """The mean score of all subsets of n."""
    subsets = list(itertools.combinations(votes, n))
    return math.fsum(map(score, subsets)) / len(subsets)


@given(some_votes)
def test_accuracy_is_the_mean_over_all_subsets(votes: Votes) -> None:
    found = maj(row(votes))[0]
    assert found == pytest.approx([enumerated(votes, n) for n in range(1, len(votes) + 1)])


@given(some_votes, st.permutations(range(1, 5)))
def test_relabelling_wrong_answers_changes_nothing(votes: Votes, names: list[int]) -> None:
    relabelled = [names[v - 1] if v > 0 else v for v in votes]
    assert maj(row(votes)).tolist() == maj(row(relabelled)).tolist()


@given(some_votes)
def test_all_samples_are_the_plain_vote_and_one_is_pass_at_1(votes: Votes) -> None:
    found = maj(row(votes))[0]
    assert found[-1] == pytest.approx(score(tuple(votes)))
    assert found[0] == pytest.approx(votes.count(0) / len(votes))


@given(some_votes)
def test_pass_at_k_counts_the_subsets_with_a_right_answer(votes: Votes) -> None:
    table = row(votes)
    found = pass_at(table[:, 1], table[:, 0], len(votes))[0]
    for k in range(1, len(votes) + 1):
        subsets = list(itertools.combinations(votes, k))
        assert found[k - 1] == pytest.approx(sum(0 in s for s in subsets) / len(subsets))
    assert (np.diff(found) >= -1e-12).all()
    assert (found >= maj(table)[0] - 1e-12).all()


@given(some_votes, st.integers(0, 7))
def test_one_more_right_sample_never_lowers_accuracy(votes: Votes, place: int) -> None:
    better = list(votes)
    better[place % len(votes)] = 0
    assert (maj(row(better)) >= maj(row(votes)) - 1e-12).all()


def test_many_samples_agree_with_resamples() -> None:
    """Large counts, long ties: where rounding or a wrong bound would show."""
    rng = np.random.default_rng(0)
    table = counts(simulated(chances(40, rng), 96, 1, rng), 1)
    exact = maj(table)
    for n in (2, 7, 24, 60, 95):
        mean, error = resampled(table, n, 4000, rng)
        assert abs(exact[:, n - 1].mean() - mean) < 4 * error


@pytest.mark.parametrize("size", [96, 300, 1000])
def test_a_tie_of_all_samples_counts_its_share(size: int) -> None:
    rows = np.array([[size, 1, *[1] * (size - 1)]])
    assert maj(rows, 50)[0] == pytest.approx(1 / size)


def test_fewer_n_give_the_same_figures() -> None:
    rng = np.random.default_rng(1)
    table = counts(simulated(chances(20, rng), 48, 1, rng), 1)
    assert maj(table, 10) == pytest.approx(maj(table)[:, :10])


def test_problems_of_fewer_samples_have_no_larger_n() -> None:
    rows = np.array([[3, 2, 1], [5, 2, 1]])
    found = maj(rows)
    assert np.isnan(found[0, 3:]).all()
    assert not np.isnan(found[1]).any()


def test_too_many_samples_are_refused() -> None:
    with pytest.raises(UserError, match="1001 samples"):
        maj(np.array([[1001, 1, 1]]))


def test_a_cut_pool_counts_only_what_was_answered_by_then() -> None:
    rng = np.random.default_rng(2)
    pool = simulated(chances(15, rng), 12, 4, rng)
    found = accuracies(pool, [1, 4])
    for problem, depth in itertools.product(range(15), (1, 4)):
        votes = [
            int(a) if 0 <= r < depth else -1
            for a, r in zip(pool.answer[problem], pool.answered[problem], strict=True)
        ]
        expected = enumerated(votes, 3)
        assert found[problem, 2, (1, 4).index(depth)] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.skipif(not TABLES, reason=NOT_SHARED)
@pytest.mark.parametrize("table", TABLES, ids=lambda p: p.stem)
def test_recorded_votes_agree_with_enumeration_at_every_n(table: Path) -> None:
    pool = load_pool(table)
    exact = maj(counts(pool, 1))
    hard = np.nonzero((exact[:, 0] > 0) & (exact[:, 0] < 1))[0][:60]
    assert len(hard) == 60
    for problem in hard:
        votes = pool.answer[problem][pool.present[problem]].tolist()
        for n in range(1, len(votes) + 1):
            assert exact[problem, n - 1] == pytest.approx(enumerated(votes, n), abs=1e-12)


# --- intervals


@settings(max_examples=20)
@given(st.lists(some_votes.filter(lambda v: len(v) > 2), min_size=2, max_size=4))
def test_the_jackknife_leaves_out_each_sample_once(problems: list[Votes]) -> None:
    rng = np.random.default_rng(0)
    pool = simulated(np.full(len(problems), 0.5), max(map(len, problems)), 1, rng)
    pool.present[:], pool.answered[:] = False, -1
    for p, votes in enumerate(problems):
        size = len(votes)
        pool.present[p, :size], pool.answer[p, :size] = True, votes
        pool.answered[p, :size] = [0 if v >= 0 else -1 for v in votes]
    variance = 0.0
    for votes in problems:
        without = [enumerated(votes[:k] + votes[k + 1 :], 2) for k in range(len(votes))]
        variance += (len(votes) - 1) * np.var(without)
    assert jackknife(pool, 2, 1) == pytest.approx(math.sqrt(variance) / len(problems))


def test_the_jackknife_does_not_claim_to_know_the_vote_of_all_samples() -> None:
    rng = np.random.default_rng(0)
    pool = simulated(chances(10, rng), 8, 1, rng)
    assert math.isnan(jackknife(pool, 8, 1))


def test_the_interval_of_what_does_not_vary_is_a_point() -> None:
    low, high = population(np.full((30, 2), 0.25))
    assert low.tolist() == pytest.approx([0.25, 0.25])
    assert high.tolist() == pytest.approx([0.25, 0.25])


def test_an_interval_goes_no_further_than_what_was_seen() -> None:
    assert interval(np.array([0.0, 1.0])) == (0.0, 1.0)
    low, high = interval(np.array([0.0] * 49 + [1.0]))
    assert low == 0.0
    assert 0.02 < high < 0.1


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """`benchmarks/tune.py coverage` runs more: docs/log/tuning.md."""
    import argparse

    rng = np.random.default_rng(0)
    known = truth(4, 12, rng)
    args = argparse.Namespace(problems=60, samples=24, small=4, large=12)
    held = np.array([covered(known, args, rng) for _ in range(120)]).mean(axis=0)
    assert (held > 0.80).all()
    assert (held < 0.98).all()
