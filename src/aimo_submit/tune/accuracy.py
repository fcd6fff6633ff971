"""accuracy(N, M) and pass@k of a recorded pool: exact, without drawing anything.

A vote of N samples is a random N-subset of the S recorded ones, cut at depth M. Its expected score
is a sum over g, the votes of the right answer: C(c, g) times the ways in which no wrong answer gets
more than g, over C(S, N). Those ways are a product of polynomials, one for each wrong answer that
has g samples or more; a tie with t others counts 1/(1+t), the integral of y**t from 0 to 1, which
Gauss's rule gives without error. All terms are positive, so nothing is lost to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aimo_submit.errors import UserError
from aimo_submit.pool.arrays import Pool

MOST = 1000  # samples a problem: C(1000, 500) is near the largest float
_CHUNK = 1 << 17  # numbers worked on at a time: what the processor's cache holds

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def accuracies(pool: Pool, depths: Sequence[int]) -> Floats:
    """P x N x M: the expected maj@N of each problem at each depth; N from 1, nan beyond S."""
    tables = np.stack([counts(pool, depth) for depth in depths], axis=1)  # P x M x counts
    flat = tables.reshape(-1, tables.shape[-1])
    return np.moveaxis(maj(flat).reshape(*tables.shape[:2], -1), 2, 1)


def counts(pool: Pool, depth: int) -> Ints:
    """P x (2 + wrong answers): samples in all, right ones, then those of each wrong answer."""
    given = pool.present & (pool.answered >= 0) & (pool.answered < depth)
    problem = np.nonzero(given)[0]
    codes = 1 + max(int(pool.answer.max(initial=0)), 1)
    flat = np.bincount(problem * codes + pool.answer[given], minlength=len(given) * codes)
    votes = flat.reshape(len(given), codes)
    return np.column_stack([pool.present.sum(axis=1), votes])


def maj(table: Ints, most: int | None = None) -> Floats:
    """R x N: expected maj@N, N from 1 to `most`, of rows as `counts` gives them; nan beyond S."""
    largest = int(table[:, 0].max(initial=0))
    if largest > MOST:
        raise UserError(f"{largest} samples of a problem: tuning takes {MOST} at most")
    size = 1 + min(largest, largest if most is None else most)
    ordered = np.column_stack([table[:, :2], -np.sort(-table[:, 2:], axis=1)])
    rows, where = np.unique(ordered, axis=0, return_inverse=True)
    choose = _pascal(largest)
    with np.errstate(invalid="ignore"):
        shares = _ways(rows, choose, size) / np.where(choose > 0, choose, np.nan)[rows[:, 0], :size]
    return np.asarray(shares[where.ravel(), 1:])


def _ways(table: Ints, choose: Floats, size: int) -> Floats:
    """R x n: C(S, n) times the expected score of n samples, for n below `size`."""
    samples, right, wrong = table[:, 0], table[:, 1], table[:, 2:]
    ways = np.zeros((len(table), size))
    for votes in range(1, min(int(right.max(initial=0)), size - 1) + 1):
        for rows in _chunks(votes, table):
            kept = choose[:, : size - votes]
            held = _held(votes, wrong[rows], samples[rows] - right[rows], kept, choose)
            ways[rows, votes:] += choose[right[rows], votes, None] * held
    return ways


def pass_at(right: Ints, samples: Ints, most: int) -> Floats:
    """R x k: the chance that one of k samples is right, k from 1 (arXiv 2107.03374, eq. 1)."""
    choose = _pascal(int(samples.max(initial=0)))
    drawn, missed = choose[samples][:, 1 : most + 1], choose[samples - right][:, 1 : most + 1]
    return np.asarray(1 - missed / np.where(drawn > 0, drawn, np.nan))


def jackknife(pool: Pool, samples: int, depth: int) -> float:
    """The standard error of accuracy(N, M) on these very problems, were the samples drawn anew.

    Each sample is left out in turn; those that voted alike are worked out once. nan where N = S.
    """
    table = counts(pool, depth)
    if samples >= table[:, 0].min():
        return float("nan")
    kinds = np.column_stack([table[:, 0] - table[:, 1:].sum(axis=1), table[:, 1:]])
    problem, kind = np.nonzero(kinds)
    rows = table[problem]
    rows[:, 0] -= 1
    voted = kind > 0
    rows[voted, kind[voted]] -= 1
    without, weight = maj(rows, samples)[:, -1], kinds[problem, kind]
    size = table[:, 0]
    mean = np.bincount(problem, weight * without) / size
    spread = np.bincount(problem, weight * (without - mean[problem]) ** 2)
    return float(np.sqrt(((size - 1) / size * spread).sum()) / len(size))


def _pascal(most: int) -> Floats:
    """C(n, k) for n, k up to `most`."""
    rows = np.zeros((most + 1, most + 1))
    rows[:, 0] = 1
    for n in range(1, most + 1):
        rows[n, 1:] = rows[n - 1, 1:] + rows[n - 1, :-1]
    return rows


def _chunks(votes: int, table: Ints) -> Iterator[Ints]:
    """The rows in which the right answer may have so many votes, in descent of their rivals."""
    rows = np.nonzero(table[:, 1] >= votes)[0]
    rivals = (table[rows, 2:] >= votes).sum(axis=1)
    rows, rivals = rows[np.argsort(-rivals)], -np.sort(-rivals)
    start = 0
    while start < len(rows):
        size = max(1, _CHUNK // (table[:, 0].max() * (1 + rivals[start] // 2)))
        yield rows[start : start + size]
        start += size


def _held(votes: int, wrong: Ints, others: Ints, kept: Floats, choose: Floats) -> Floats:
    """R x n: the ways to draw n of the samples that are not right, no answer ahead of `votes`.

    The rows come with the most rivals first; a rival is a wrong answer with as many samples.
    """
    rivals = (wrong >= votes).sum(axis=1)
    free = others - np.where(wrong >= votes, wrong, 0).sum(axis=1)
    nodes, weights = np.polynomial.legendre.leggauss(int(rivals.max(initial=0)) // 2 + 1)
    ties = (nodes + 1) / 2
    product = np.repeat(kept[free][:, None, :], len(ties), axis=1)  # rows x ties x n
    for k in range(int(rivals.max(initial=0))):
        live = int((rivals > k).sum())
        factor = np.repeat(choose[wrong[:live, k], None, 1 : votes + 1], len(ties), axis=1)
        factor[:, :, -1] *= ties
        product[:live] = _times(product[:live], factor)
    return np.asarray(np.einsum("rtn,t->rn", product, weights / 2))


def _times(product: Floats, factor: Floats) -> Floats:
    """The polynomials times 1 + factor[0] x + factor[1] x**2 ..., as far as they are kept."""
    made, part = product.copy(), np.empty_like(product)
    for j in range(1, min(factor.shape[2] + 1, product.shape[2])):
        np.multiply(product[:, :, :-j], factor[:, :, j - 1 : j], out=part[:, :, j:])
        made[:, :, j:] += part[:, :, j:]
    return made
