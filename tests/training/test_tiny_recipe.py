"""The recipe of models/tiny-tir: families, splits, corpus and tokenizer."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

sys.path.insert(0, str(ROOT / "models" / "recipes"))

from numina.data import encode  # noqa: E402
from tiny.corpus import FORMAT, Example, bundle, puzzles, solved, without_code  # noqa: E402
from tiny.draw import Draw, Split, owner  # noqa: E402
from tiny.families import FAMILIES  # noqa: E402
from tiny.wording import reworded  # noqa: E402

from aimo_submit.competition import competition_named, names  # noqa: E402
from aimo_submit.records import Outcome  # noqa: E402
from aimo_submit.sandbox.client.fork_server import ForkServer  # noqa: E402

pytestmark = pytest.mark.slow

SEEDS = range(6)


def test_there_are_at_least_25_families() -> None:
    assert len(FAMILIES) >= 25


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("split", Split)
def test_a_family_is_determined_by_split_and_seed(family: str, split: Split) -> None:
    make = FAMILIES[family]
    assert [make(Draw(split, s)) for s in SEEDS] == [make(Draw(split, s)) for s in SEEDS]
    assert len({make(Draw(split, s)).unseen for s in range(20)}) > 2


@pytest.mark.parametrize("family", FAMILIES)
def test_no_test_phrasing_is_a_training_phrasing(family: str) -> None:
    for seed in SEEDS:
        item = FAMILIES[family](Draw(Split.TRAIN, seed))
        assert len(item.says) >= 2
        assert not {item.unseen, *map(reworded, item.says)} & set(item.says)


@pytest.mark.parametrize("family", FAMILIES)
def test_key_numbers_of_the_splits_never_meet(family: str) -> None:
    used: dict[Split, set[int]] = {}
    for split in Split:
        draws = [Draw(split, seed) for seed in range(30)]
        for draw in draws:
            FAMILIES[family](draw)
        assert all(draw.keys for draw in draws)
        used[split] = {key for draw in draws for key in draw.keys}
        assert {owner(key) for key in used[split]} == {split}
    assert not used[Split.TRAIN] & (used[Split.TEST] | used[Split.VALIDATION])
    assert not used[Split.TEST] & used[Split.VALIDATION]


def test_no_test_problem_is_a_training_problem() -> None:
    train = {item.problem for _, item in puzzles(Split.TRAIN, 2000)}
    test = {item.problem for _, item in puzzles(Split.TEST, 300)}
    assert not train & test


def test_every_familys_code_prints_the_answer_computed_by_other_means() -> None:
    items = [FAMILIES[name](Draw(split, 3)) for name in FAMILIES for split in Split]

    async def outputs() -> list[str]:
        async with ForkServer() as box:
            runs = [box.run(f"{i.setup}\nprint({i.expr})", 10.0) for i in items]
            return [run.output.strip() for run in await asyncio.gather(*runs)]

    assert asyncio.run(outputs()) == [str(item.value) for item in items]


def test_a_familys_own_slip_raises() -> None:
    slips = [
        f"{item.slip}\nprint({item.expr})"
        for make in FAMILIES.values()
        if (item := make(Draw(Split.TRAIN, 5))).slip
    ]

    async def outcomes() -> set[Outcome]:
        async with ForkServer() as box:
            return {r.outcome for r in await asyncio.gather(*(box.run(s, 10.0) for s in slips))}

    assert len(slips) >= 8
    assert asyncio.run(outcomes()) == {Outcome.ERROR}


def test_every_answer_is_valid_in_every_edition() -> None:
    answers = [item.answer for _, item in puzzles(Split.TEST, 500)]
    assert all(competition_named(name).answers.admit(a) == a for name in names() for a in answers)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    async def collect() -> list[Example]:
        return [e async for e in solved(list(puzzles(Split.TRAIN, 342)))]

    return asyncio.run(collect())


@pytest.mark.xdist_group("tiny recipe")
def test_solutions_are_kept_that_end_in_the_answer_their_code_printed(
    examples: list[Example],
) -> None:
    assert len(examples) > 300
    for example in examples:
        answer = example.puzzle.answer
        shown = [part.text for part in example.parts[1:] if not part.learnt]
        assert shown[-1] == f"{answer}\n```"
        assert example.text.endswith(f"The answer is $\\boxed{{{answer}}}$.")


@pytest.mark.xdist_group("tiny recipe")
def test_about_a_sixth_repairs_a_first_block_that_raised(examples: list[Example]) -> None:
    repaired = [e for e in examples if e.text.count("```python") == 2]
    assert 0.11 < len(repaired) / len(examples) < 0.23
    # a long traceback is cut before its last line, as the model will see it
    assert all(re.search("Traceback|Error", e.parts[2].text) for e in repaired)


def test_solutions_without_code_box_the_same_answer() -> None:
    for draw, item in puzzles(Split.TRAIN, 57):
        text = without_code(draw, item).text
        assert "```" not in text
        assert text.endswith(f"\\boxed{{{item.answer}}}$.")


def test_the_bundled_set_is_balanced_and_current(tmp_path: Path) -> None:
    bundle(tmp_path / "test.jsonl")
    text = (tmp_path / "test.jsonl").read_text(encoding="utf-8")
    shipped = ROOT / "src" / "aimo_submit" / "data" / "tiny_test.jsonl"
    assert shipped.read_text(encoding="utf-8") == text
    families = [json.loads(line)["id"].split("-", 2)[2] for line in text.splitlines()]
    assert len(families) == 120
    assert {families.count(name) for name in FAMILIES} <= {2, 3}


@pytest.fixture(scope="module")
def tokenizer(examples: list[Example]) -> Any:
    pytest.importorskip("transformers")
    from tiny.tokenizer import train_tokenizer

    return train_tokenizer([example.text for example in examples], 1024)


@pytest.mark.model
@pytest.mark.xdist_group("tiny recipe")
@pytest.mark.parametrize("text", ["naïve  日本語 🧮\n\t\x00", "x_1 \\le 12345", "", " ```output\n"])
def test_the_tokenizer_gives_any_text_back(tokenizer: Any, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text


@pytest.mark.model
@pytest.mark.xdist_group("tiny recipe")
def test_the_tokenizer_splits_digits_singly(tokenizer: Any) -> None:
    assert len(tokenizer.encode("90210", add_special_tokens=False)) == 5
    words = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    assert not [w for w in words if len(w) > 1 and any(c.isdigit() for c in w)]


@pytest.mark.model
@pytest.mark.xdist_group("tiny recipe")
def test_the_tokenizer_begins_a_prompt_with_bos(tokenizer: Any) -> None:
    ids = tokenizer.encode("### Problem: 1 + 1\n### Solution: ")
    assert ids[0] == tokenizer.bos_token_id
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "1 + 1"}]
    assert tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False) == ids


@pytest.mark.model
@pytest.mark.xdist_group("tiny recipe")
def test_the_loss_leaves_out_prompt_and_tool_output(
    tokenizer: Any, examples: list[Example]
) -> None:
    row = encode(examples[0].parts, tokenizer, FORMAT)
    pairs = zip(row["input_ids"], row["completion_mask"], strict=True)
    learnt = tokenizer.decode([i for i, m in pairs if m])
    expected = "".join(part.text for part in examples[0].parts if part.learnt)
    assert learnt == expected + tokenizer.eos_token
