"""The command line: bad input ends in one line that names the remedy, before a model is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aimo_submit.cli import main

HUGE = "x" * 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solve", "x?", "-n", "0"], "samples = 0: must be between 1"),
        (["solve", "x?", "-m", "0"], "rounds = 0: must be between 1"),
        (["solve", "x?", "-c", "sample=3"], "did you mean samples"),
        (["solve", "x?", "-c", "temperature=hot"], "temperature = 'hot'"),
        (["solve", "x?", "--model", "huge"], "no card for model 'huge': known are deepseek-math"),
        (["solve", "x?", "--model", "none.toml"], "cannot read none.toml"),
        (["solve", "x?", "--config", "none.toml"], "cannot read none.toml"),
        (["solve", "x?", "--engine", "abacus"], "must be one of transformers, vllm"),
        (["solve", HUGE], "shorten the problem"),
        (["solve", " "], "the problem is empty"),
        (["eval", "nowhere"], "no problem set 'nowhere'"),
        (["eval", "tiny", "--seeds", "0"], "for --seeds. It must be at least 1."),
        (["eval", "tiny", "-c", "total_time_s=60"], "drop total_time_s"),
        (["eval", "tiny", "--limit", "0"], "for --limit. It must be at least 1."),
        (["eval", "empty.csv"], "cannot read empty.csv"),
        (["eval", "half.csv"], "row 1, column answer: the gold answer '1/2' is not an integer"),
        (["eval", "long.jsonl"], "problem 1: its prompt has"),
        (["eval", "tiny", "--out", "half.csv/x.jsonl"], "choose another --out"),
        (["summary", "none.jsonl"], "check the path"),
        (["votes", "half.csv"], "it needs the columns problem_id, answer, logged_answer"),
    ],
)
def test_bad_input_is_one_line_with_a_remedy_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.csv").write_text("")
    Path("half.csv").write_text("problem,answer\nx?,1/2\n")
    Path("long.jsonl").write_text(json.dumps({"problem": HUGE}) + "\n")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("aimo-submit: ")
    assert error.count("\n") == 1


def test_bad_input_is_refused_before_torch_is_even_imported() -> None:
    code = (
        "import sys; from aimo_submit.cli import main; status = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "solve", HUGE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_card_without_its_model_names_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "mine.toml"
    card.write_text('name = "mine"\nsource = "weights"\nformat = "numina_tir"\ncontext = 4096\n')
    assert main(["solve", "x?", "--model", str(card)]) == 2
    assert f"no config.json in {tmp_path / 'weights'}" in capsys.readouterr().err
    card.write_text('name = "mine"\n')
    assert main(["solve", "x?", "--model", str(card)]) == 2
    assert "the card needs source, of type str" in capsys.readouterr().err
    card.write_text('name = "mine"\nsource = "."\nformat = "numina_tir"\ncontext = "long"\n')
    assert main(["solve", "x?", "--model", str(card)]) == 2
    assert "the card needs context, of type int" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["solve", "eval", "summary"])
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    assert "example: aimo-submit" in capsys.readouterr().out


def test_doctor_says_what_holds_around_a_block(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor"])
    shown = capsys.readouterr().out
    assert "no process outlives its block" in shown
    assert (code == 0) == ("does NOT hold" not in shown)
