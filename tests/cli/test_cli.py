"""The command line: bad input ends in one line that names the remedy, before a model is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from aimo_submit.cli import COMMANDS, main
from aimo_submit.cli.options import say

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
        (["solve", "x?", "-n", "5", "--samples", "0"], "samples = 0"),  # the last one counts
        (["solve", HUGE], "shorten the problem"),
        (["solve", f"-3 + {HUGE}"], "shorten the problem"),  # no option, for all its minus
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a command: aimo-submit --help lists them"),
        (["pool"], "name a command: aimo-submit pool --help lists them"),
        (["evl", "tiny"], "no command 'evl': did you mean eval?"),
        (["pool", "shw"], "no command 'shw': did you mean show?"),
        (["solve"], "PROBLEM requires an argument. See aimo-submit solve --help"),
        (["solve", "x?", "--sampels", "3"], "Unknown option: --sampels. Did you mean --samples?"),
        (["solve", "x?", "--no-show"], "Unknown option: --no-show."),
        (["solve", "x?", "-n", "few"], 'for -n: unable to convert "few" into int.'),
        (["eval", "tiny", "original"], "Unused Tokens: ['original']."),
        (["eval", "tiny", "--actors", "2"], "give --ray too"),
        (["rehearse", "--run", "once"], 'Choose from: "both", "interactive", "rerun".'),
        (["distil", "tiny", "--repeats", "-1"], "for --repeats. It must be at least 0."),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("aimo-submit: ")
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_a_problem_is_read_from_stdin() -> None:
    command = [sys.executable, "-m", "aimo_submit", "solve", "-"]
    done = subprocess.run(command, input=" ", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("aimo-submit: the problem is empty")


def test_bad_input_is_refused_before_torch_is_even_imported() -> None:
    """And `solve` has loaded then what it needs of the kit, its engine excepted."""
    code = (
        "import sys; from aimo_submit.cli import main; status = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; "
        "print(sum(name.split('.')[0] == 'aimo_submit' for name in sys.modules)); "
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "solve", HUGE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert int(done.stdout) <= 46  # an engine has four


def test_the_list_of_commands_loads_none_of_them() -> None:
    code = (
        "import sys; from aimo_submit.cli import main; status = main(['--help']); "
        "print(*[name for name in sys.modules if name.startswith('aimo_submit')]); "
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, loaded = done.stdout.splitlines()
    assert all(any(f" {name.split()[0]} " in line for line in shown) for name in COMMANDS)
    assert set(loaded.split()) == {
        f"aimo_submit{name}" for name in ("", ".cli", ".errors", ".toml")
    }


def test_ctrl_c_while_the_command_line_is_loaded_ends_in_a_line_and_exit_code_130() -> None:
    code = """
import sys
class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == "cyclopts":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Impatient())
from aimo_submit.cli import main
sys.exit(main(["doctor"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "aimo-submit: stopped; run again, eval and distil go on\n"


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


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_for_each_option_and_an_example(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"example: aimo-submit {command}" in shown
    rows = [line.strip("│ *").split("  ", 1) for line in shown.splitlines() if line[0:1] == "│"]
    assert all(len(row) == 2 and row[1].strip() for row in rows), rows


@pytest.mark.slow
def test_doctor_says_what_holds_around_a_block(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor"])
    shown = capsys.readouterr().out
    assert "no process outlives its block" in shown
    assert (code == 0) == ("does NOT hold" not in shown)


def test_markup_in_a_table_is_rendered_and_that_in_a_line_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table("accuracy")
    table.add_row("[bold]58.3%[/]")
    say(table)
    say("a file called [bold]")
    shown = capsys.readouterr().out
    assert "58.3%" in shown
    assert "[bold]58.3%" not in shown
    assert "a file called [bold]" in shown
