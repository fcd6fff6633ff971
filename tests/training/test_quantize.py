"""Quantisation: what it calibrates on, what it refuses, and one real run on the bundled model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aimo_submit.cards import load_card
from aimo_submit.cli import main
from aimo_submit.errors import UserError
from aimo_submit.formats.families import FORMATS
from aimo_submit.journal import Journal
from aimo_submit.records import Completion, Finish, Problem, Round, Solution, Status, Trace
from aimo_submit.training.quantize import Recipe, act_order_for, quantise, texts_of

NUMINA = FORMATS["numina_tir"]


def sample(number: int, answer: int, text: str) -> Trace:
    rounds = [Round(Completion(text, (5, 6), Finish.EOS, -0.1))]
    return Trace(number, rounds, Status.ANSWERED, answer)


def pool_in(folder: Path, problems: int) -> Path:
    """A journal in which each problem has a wrong sample, then two right ones."""
    with Journal(folder / "pool.jsonl", {"model": "tiny-tir"}) as journal:
        for k in range(problems):
            traces = [sample(0, -1, "wrong"), sample(1, k, f"right {k}"), sample(2, k, "again")]
            problem = Problem(f"p{k}", f"Which number is {k}?", k)
            journal.append(Solution(problem, k, [], traces, 0, 1.0))
    return folder


def test_a_pool_gives_one_right_sample_of_each_problem(tmp_path: Path) -> None:
    texts = texts_of(str(pool_in(tmp_path, 3)), NUMINA)
    wanted = {(NUMINA.prompt(f"Which number is {k}?"), f"right {k}") for k in range(3)}
    assert {tuple(text) for text in texts} == wanted


def test_a_file_gives_its_solutions_in_the_models_own_prompt(tmp_path: Path) -> None:
    file = tmp_path / "solved.jsonl"
    file.write_text(json.dumps({"problem": "One?", "solution": "It is \\boxed{1}."}) + "\n")
    (text,) = texts_of(str(file), NUMINA)
    assert text.whole == "### Problem: One?\n### Solution: It is \\boxed{1}."


def test_a_file_without_solutions_is_named_with_its_row(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    file.write_text(json.dumps({"problem": "One?"}) + "\n")
    with pytest.raises(UserError, match="row 1 has no text in the column solution"):
        texts_of(str(file), NUMINA)


def test_act_order_is_left_out_from_the_line_on_that_refuses_it() -> None:
    assert act_order_for("0.19.1")
    assert not act_order_for("0.30")
    assert not act_order_for("1.0")
    with pytest.raises(UserError, match="version such as 0.19"):
        act_order_for("newest")


def test_a_folder_that_holds_a_model_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="holds a model already"):
        quantise(load_card("tiny-tir"), Recipe(), ["text"], tmp_path)


@pytest.mark.slow
def test_auto_gptq_is_refused_outside_its_own_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = str(pool_in(tmp_path, 6))
    command = ["quantize", "tiny-tir", "--tool", "auto-gptq", "--traces", traces]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "auto-gptq needs a CUDA machine" in said
    assert "use gptqmodel" in said


@pytest.mark.model
@pytest.mark.timeout(600)
def test_the_bundled_model_is_quantised_and_still_writes_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gptqmodel", reason="the extra quantize is not installed")
    folder = tmp_path / "tiny-tir-gptq8"
    traces = str(pool_in(tmp_path, 24))
    assert main(["quantize", "tiny-tir", "--traces", traces, "--out", str(folder)]) == 0
    card = load_card(str(tmp_path / "tiny-tir-gptq8.toml"))
    assert card.quantisation is not None
    assert (card.quantisation.bits, card.quantisation.act_order) == (8, True)
    settings = json.loads((folder / "quantize_config.json").read_text())
    assert (settings["bits"], settings["group_size"], settings["desc_act"]) == (8, 128, True)
    original = load_card("tiny-tir").path
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (folder / name).read_bytes() == (original / name).read_bytes()
    equal = float(capsys.readouterr().out.split("equal on ")[1].split("%")[0])
    assert equal >= 80  # of 16 prompts; 99% of 200 in docs/log/quantisation.md
    code = main(["solve", "Find $2+2$.", "--model", str(card.path.parent / f"{card.name}.toml"),
                 "-n", "2", "-m", "2"])  # fmt: skip
    assert code == 0
