"""A pool: every sample of recorded runs as arrays, from which N and M are tuned.

A pool is a folder of journals, so merging those of several machines or days is putting them into
one folder. Samples of a problem from several seeds are simply more samples of it. Texts stay on
disk: `reading.Index` reads those of one problem at a time.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimo_submit.cards import load_card
from aimo_submit.errors import UserError, need
from aimo_submit.pool import (
    ProblemSamples,
    Recording,
    Sample,
    from_journals,
    journals_of,
)

CACHE = ".pool.npz"  # in the folder, made anew when a journal has changed


@dataclass(frozen=True, slots=True)
class Pool:
    """P problems, up to S samples each, D rounds deep; samples that `present` denies are padding.

    Cut at M rounds a sample has an answer if 0 <= answered < M; what it then took is the tokens of
    M rounds and the code_s of M - 1: the code of the last round does not run.
    """

    problems: tuple[str, ...]  # P ids
    golds: tuple[int, ...]  # P
    values: tuple[tuple[int, ...], ...]  # values[p][code]: the answer; code 0 is the gold answer
    answer: NDArray[np.int32]  # P x S: code, -1 where the sample gave none
    answered: NDArray[np.int8]  # P x S: the round in which it answered, from 0; -1 never
    present: NDArray[np.bool_]  # P x S
    tokens: NDArray[np.int32]  # P x S x D: generated in that round; 0 where it was not reached
    engine_s: NDArray[np.float32]  # P x S x D
    code_s: NDArray[np.float32]  # P x S x D: that the block itself ran
    prompt_tokens: NDArray[np.int32]  # P; 0 where the model's tokenizer is not at hand
    logprob: NDArray[np.float32]  # P x S: mean over the sample's tokens; nan where unknown
    has_code: NDArray[np.bool_]  # P x S: it wrote code to run
    boxed: NDArray[np.bool_]  # P x S: its last words hold a box
    seed: NDArray[np.int64]  # P x S
    settings: Mapping[str, Any]  # of the recording


def load_pool(path: Path) -> Pool:
    """The pool of a folder of journals, of one journal, a .parquet export or a .csv of votes."""
    # Tables are the rare case: only they load what reads them.
    if path.suffix == ".csv":
        from aimo_submit.pool.ballots import from_votes

        return _packed(path, from_votes(path))
    if path.suffix == ".parquet":
        from aimo_submit.pool.tables import from_parquet

        return _packed(path, from_parquet(path))
    files = journals_of(path)
    if not path.is_dir():
        return _packed(path, from_journals(files))
    return _kept(path / CACHE, files, lambda: _packed(path, from_journals(files)))


def _packed(path: Path, recording: Recording) -> Pool:
    """The recording as arrays; problems without a gold answer or a sample tell nothing."""
    found = [
        each
        for each in recording.problems.values()
        if each.problem.answer is not None and any(each)
    ]
    if not found:
        raise UserError(f"{path}: no sample in it has a gold answer to compare with")
    width = max(sum(1 for _ in each) for each in found)
    depth = max(
        int(recording.settings.get("rounds", 1)),
        *(len(sample.tokens) for each in found for _, sample in each),
    )
    pool = _blank(found, (len(found), width, depth), recording.settings)
    for p, each in enumerate(found):
        codes = {value: code for code, value in enumerate(pool.values[p])}
        for s, (seed, sample) in enumerate(each):
            pool.seed[p, s] = seed
            _fill(pool, (p, s), sample, codes)
    return pool


def _blank(
    found: Sequence[ProblemSamples], shape: tuple[int, int, int], settings: Mapping[str, Any]
) -> Pool:
    flat = shape[:2]
    return Pool(
        problems=tuple(each.problem.id for each in found),
        golds=tuple(each.problem.answer or 0 for each in found),
        values=tuple(_values(each) for each in found),
        answer=np.full(flat, -1, np.int32),
        answered=np.full(flat, -1, np.int8),
        present=np.zeros(flat, np.bool_),
        tokens=np.zeros(shape, np.int32),
        engine_s=np.zeros(shape, np.float32),
        code_s=np.zeros(shape, np.float32),
        prompt_tokens=_prompt_tokens(settings, [each.problem.text for each in found]),
        logprob=np.full(flat, np.nan, np.float32),
        has_code=np.zeros(flat, np.bool_),
        boxed=np.zeros(flat, np.bool_),
        seed=np.zeros(flat, np.int64),
        settings=settings,
    )


def _values(found: ProblemSamples) -> tuple[int, ...]:
    given = (sample.answer for _, sample in found if sample.answer is not None)
    return tuple(dict.fromkeys((found.problem.answer or 0, *given)))


def _fill(pool: Pool, at: tuple[int, int], sample: Sample, codes: Mapping[int, int]) -> None:
    rounds = len(sample.tokens)
    pool.present[at] = True
    if sample.answer is not None:
        pool.answer[at] = codes[sample.answer]
        pool.answered[at] = max(0, rounds - 1)  # an answer ends its sample
    pool.tokens[at][:rounds] = sample.tokens
    pool.engine_s[at][:rounds] = sample.engine_s
    pool.code_s[at][:rounds] = sample.code_s
    pool.logprob[at] = sample.logprob
    pool.has_code[at], pool.boxed[at] = sample.has_code, sample.boxed


def _prompt_tokens(settings: Mapping[str, Any], texts: Sequence[str]) -> NDArray[np.int32]:
    try:
        card = load_card(str(settings.get("model")))
        tokenizers = need("tokenizers", "hf")
    except UserError:  # recorded elsewhere
        return np.zeros(len(texts), np.int32)
    tokenizer = tokenizers.Tokenizer.from_file(str(card.path / "tokenizer.json"))
    whole = (text.encode(errors="replace").decode() for text in texts)  # no half surrogates
    prompts = [card.format.prompt(text) for text in whole]
    return np.array([len(found.ids) for found in tokenizer.encode_batch(prompts)], np.int32)


def _kept(file: Path, journals: Sequence[Path], make: Callable[[], Pool]) -> Pool:
    """The pool as it was kept in the file, or a new one where a journal has changed since."""
    stats = [(j.name, j.stat().st_size, j.stat().st_mtime_ns) for j in journals]
    key = json.dumps([[f.name for f in dataclasses.fields(Pool)], stats])
    try:
        with np.load(file) as kept:
            if str(kept["key"]) == key:
                return _thawed(kept)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # none there, or torn by a kill
        pass
    pool = make()
    try:
        np.savez(file, **_frozen(pool, key))
    except OSError:  # a folder that is only read works too, a little slower
        pass
    return pool


def _frozen(pool: Pool, key: str) -> dict[str, Any]:
    fields = {f.name: getattr(pool, f.name) for f in dataclasses.fields(pool)}
    plain = {k: v for k, v in fields.items() if not isinstance(v, np.ndarray)}
    arrays = {k: v for k, v in fields.items() if isinstance(v, np.ndarray)}
    return {**arrays, "plain": np.array(json.dumps(plain)), "key": np.array(key)}


def _thawed(kept: Mapping[str, NDArray[Any]]) -> Pool:
    plain = json.loads(str(kept["plain"]))
    return Pool(
        problems=tuple(plain["problems"]),
        golds=tuple(plain["golds"]),
        values=tuple(map(tuple, plain["values"])),
        settings=plain["settings"],
        **{name: kept[name] for name in kept if name not in ("plain", "key")},
    )


def majority_accuracy(pool: Pool) -> float:
    """The share of problems that all samples together vote right; ties are split evenly."""
    return float(np.mean([_first(codes[codes >= 0]) for codes in pool.answer]))


def _first(codes: NDArray[np.int32]) -> float:
    """The chance that code 0 wins the vote."""
    votes = np.bincount(codes, minlength=1)
    return float(votes[0] == votes.max() > 0) / int((votes == votes.max()).sum())
