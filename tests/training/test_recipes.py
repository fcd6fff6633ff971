"""The training recipes: data from a teacher, and the fine-tune that reads it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aimo_submit.cli import main
from aimo_submit.errors import UserError
from aimo_submit.formats import Format
from aimo_submit.formats.families import FORMATS
from aimo_submit.journal import Journal
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
)
from aimo_submit.training.distil import (
    GRAM,
    HeldOut,
    dataset_of,
    distinct,
    sample,
    select_problems,
    words_of,
    written,
)
from tests import ROOT

RECIPES = ROOT / "models" / "recipes"
sys.path.insert(0, str(RECIPES))

from numina.check import check, memory_gib  # noqa: E402
from numina.data import chat_template, encode_row, parts  # noqa: E402
from numina.stage import read_stage  # noqa: E402
from tiny.corpus import bundle  # noqa: E402
from tiny.draw import Split  # noqa: E402

NUMINA = FORMATS["numina_tir"]
STAGES = {"cot": RECIPES / "numina/stage-1-cot.toml", "tir": RECIPES / "numina/stage-2-tir.toml"}
LONG = "Ada and Ben each choose a whole number from one to nine at random. Find the odds of a tie"


def completion(text: str, finish: Finish = Finish.STOP) -> Completion:
    return Completion(text, (1, 2), finish, -0.1)


def turns(code: str, output: str, answer: int, format: Format = NUMINA) -> list[Round]:
    """A round that runs code, and one that answers."""
    asks = completion(
        f"We count.\n{format.code_begin}\n{code}\n{format.code_end}"
        + (f"\n{format.stop[0]}" if format.code_end == "```" else "")
    )
    run = Execution(Outcome.OK, output, 0.1)
    says = completion(f"\nThe answer is $\\boxed{{{answer}}}$.", Finish.EOS)
    return [Round(asks, code, run, format.show(run)), Round(says)]


def trace(number: int, answer: int, code: str = "print(6 * 7)") -> Trace:
    return Trace(number, turns(code, str(answer), answer), Status.ANSWERED, answer)


class Teacher:
    """Answers from a script: `answers[seed]`, one a sample."""

    def __init__(self, answers: dict[int, Sequence[int]]) -> None:
        self.answers, self.asked = answers, list[tuple[str, int]]()

    def submit(self, problem: Problem, seed: int) -> Future[Solution]:
        self.asked.append((problem.id, seed))
        traces = [trace(n, a, f"print({n * 'x + '}41)") for n, a in enumerate(self.answers[seed])]
        found: Future[Solution] = Future()
        found.set_result(Solution(problem, traces[0].answer or 0, [], traces, seed, 1.0))
        return found


PROBLEMS = [Problem("a", "What is 6 times 7?", 42), Problem("b", "What is 5 times 5?", 25)]


def test_a_problem_is_tried_again_until_it_is_solved(tmp_path: Path) -> None:
    teacher = Teacher({0: [42, 7], 1: [9], 2: [25], 3: [25]})
    with Journal(tmp_path / "j.jsonl", {}) as journal:
        sample(teacher, PROBLEMS, journal, range(4))
    assert teacher.asked == [("a", 0), ("b", 0), ("b", 1), ("b", 2)]


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    first, second = Teacher({0: [7]}), Teacher({0: [42], 1: [42]})
    for teacher, seeds in ((first, range(1)), (second, range(2))):
        with Journal(tmp_path / "j.jsonl", {}) as journal:
            sample(teacher, PROBLEMS[:1], journal, seeds)
    assert second.asked == [("a", 1)]


def test_wrong_answers_failed_code_and_near_duplicates_are_dropped(tmp_path: Path) -> None:
    failed = trace(3, 42, "print(40 + 2)")
    failed.rounds[0] = replace(failed.rounds[0], execution=Execution(Outcome.ERROR, "42", 0.1))
    traces = [trace(0, 42), trace(1, 41), trace(2, 42), failed, trace(4, 42, "import sympy\nx = 9")]
    with Journal(tmp_path / "j.jsonl", {}) as journal:
        journal.append(Solution(PROBLEMS[0], 42, [], traces, 0, 1.0))
    found = dataset_of(PROBLEMS, tmp_path / "j.jsonl", NUMINA, keep=4)
    assert (found.samples, found.right, found.unsound, found.alike) == (5, 4, 1, 1)
    assert [row["solution"] for row in found.rows] == [traces[0].text, traces[4].text]
    assert len(dataset_of(PROBLEMS, tmp_path / "j.jsonl", NUMINA, keep=1).rows) == 1


def test_problems_that_are_measured_on_are_left_out() -> None:
    held = HeldOut({"short": ["What is $6$ times $7$?"], "long": [LONG]})
    longer = Problem("c", f"On Monday, {LONG.lower()}, please.", 9)
    other = Problem("d", "What is $6$ times $8$?", 48)
    chosen = select_problems([PROBLEMS[0], longer, other, Problem("e", "Why?"), other], held)
    assert [p.id for p in chosen.problems] == ["d"]
    assert chosen.held_out == {"short": 1, "long": 1}
    assert (chosen.no_answer, chosen.repeated) == (1, 1)


def test_what_many_problems_say_gives_none_of_them_away() -> None:
    ending = "where m and n are relatively prime positive integers with no square factor, find it"
    sets = {"aime": [f"Let {n} be x over y {ending}" for n in range(5)]}
    assert len(words_of(ending)) > GRAM
    assert HeldOut(sets).set_of(f"A cube has a volume {ending}") is None
    assert HeldOut({"aime": sets["aime"][:1]}).set_of(f"A cube has a volume {ending}") == "aime"


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("Find $\\left(x\\right)$.", "find  $( x )$", True),
        ("$x^2+3$", "$x^2-3$", False),
        ("$\\dfrac{1}{2}$", "$\\frac12$", False),
        ("Add 1 and 2", "Add 1 and 3", False),
    ],
)
def test_problems_are_compared_as_a_reader_would(one: str, two: str, same: bool) -> None:
    assert (words_of(one) == words_of(two)) is same


def test_solutions_that_differ_in_a_word_are_alike() -> None:
    text = " ".join(f"word{n} is {n}" for n in range(30))
    assert list(distinct([text, f"{text} indeed", "something else", text])) == [0, 2]


def test_a_teacher_with_other_marks_is_written_in_fences() -> None:
    openmath = FORMATS["openmath_nemotron_tir"]
    made = Trace(0, turns("print(42)", "42", 42, openmath), Status.ANSWERED, 42)
    fenced = written(made, openmath)
    assert "tool_call" not in fenced
    assert fenced.startswith("We count.\n```python\nprint(42)\n```\n```output\n42\n```\n")
    assert fenced.endswith("The answer is $\\boxed{42}$.")
    assert written(trace(0, 42), NUMINA) == trace(0, 42).text


@pytest.mark.model
def test_distil_writes_the_columns_of_numinamath_tir(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("torch")
    problems, out = tmp_path / "train.jsonl", tmp_path / "data.parquet"
    bundle(problems, 1, Split.TRAIN, start=20_000_034)  # one that the bundled model solves
    command = ["distil", str(problems), "--out", str(out), "-n", "4"]
    assert main(command) == 0
    again = time.process_time()
    assert main(command) == 0
    assert time.process_time() - again < 5  # no model is loaded where nothing is to be done
    found = pd.read_parquet(out)
    assert len(found) > 0
    assert list(found.columns) == ["problem", "solution", "messages"]
    for row in found.to_dict("records"):
        assert [(m["role"], m["content"]) for m in row["messages"]] == [
            ("user", row["problem"]),
            ("assistant", row["solution"]),
        ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--out", "data.csv"], "name it FILE.parquet"),
        (["--keep", "0"], "must be at least 1"),
        (["-c", "total_time_s=60"], "drop total_time_s"),
        (["--against", "nosuchset"], "no problem set"),
        ([], "no problem is left that may be trained on"),
    ],
)
def test_distil_refuses_what_cannot_be_meant(
    given: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distil", "tiny", *given]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_the_winners_batch_and_memory_hold_on_eight_gpus(stage: str) -> None:
    pytest.importorskip("accelerate")
    read = read_stage(STAGES[stage], {"data": "nosuch.parquet", "base": str(ROOT)}, {})
    assert (read.batch, read.accumulation(8), read.accumulation(4)) == (32, 1, 2)
    findings = check(read, STAGES[stage].parent, _no_tokenizer)
    assert [f.ok for f in findings] == [True, True, True, True, None, None]


@pytest.mark.slow
def test_a_stage_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    one = read_stage(STAGES["cot"], {"gpus": 1, "data": "nosuch.parquet"}, {})
    assert any(f.ok is False and "memory" in f.text for f in check(one, tmp_path, _no_tokenizer))
    six = replace(one, gpus=6)
    found = check(six, STAGES["cot"].parent, _no_tokenizer)
    assert any(f.ok is False and "does not divide" in f.text for f in found)
    assert any(f.ok is False and "starts 8 processes" in f.text for f in found)


def test_sharded_states_of_a_7b_are_sixteen_bytes_a_parameter() -> None:
    stage = read_stage(STAGES["cot"], {}, {})
    size = stage.model.size
    assert size
    assert memory_gib(stage, size)["states"] == pytest.approx(16 * 6.91 / 8 / 1.0737, rel=0.01)


def _no_tokenizer(stage: object) -> Any:
    raise UserError("no tokenizer here")


def test_an_unknown_key_of_a_stage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stage.toml").write_text('base = "b"\ncard = "c"\ndata = "d"\nbatsh = 3\n')
    with pytest.raises(UserError, match="did you mean batch"):
        read_stage(tmp_path / "stage.toml", {}, {})


@pytest.mark.model
def test_a_setting_that_trl_lacks_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from numina.train import sft_config

    with pytest.raises(UserError, match="names of TRL's SFTConfig"):
        sft_config({"learning_rat": 1e-5}, tmp_path)


@pytest.mark.model
@pytest.mark.parametrize("name", ["numina_tir", "deepseekmath_rl_tool", "openmath_nemotron_tir"])
def test_the_loss_leaves_out_every_output(name: str) -> None:
    format = FORMATS[name]
    made = Trace(0, turns("print(42)", "out = 42", 42, format), Status.ANSWERED, 42)
    found = list(parts("What?", made.text, format))
    assert "".join(p.text for p in found) == format.prompt("What?") + made.text
    assert [p.text for p in found if not p.learnt] == [
        format.prompt("What?"),
        made.rounds[0].appended,
    ]


def test_the_template_prompts_as_the_format_does() -> None:
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Template(chat_template(NUMINA))
    user, said = ({"role": r, "content": c} for r, c in (("user", "1 + 1"), ("assistant", "2")))
    assert template.render(messages=[user], bos_token="<s>") == "<s>" + NUMINA.prompt("1 + 1")
    whole = template.render(messages=[user, said], bos_token="<s>", eos_token="</s>")
    assert whole == "<s>" + NUMINA.prompt("1 + 1") + "2</s>"


@pytest.mark.model
def test_a_row_is_tokenised_as_the_loop_builds_it_up() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(ROOT / "models" / "tiny-tir")
    row = {"problem": "1 + 1", "solution": trace(0, 42).text}
    made = encode_row(row, tokenizer, NUMINA)
    prompt = tokenizer.encode(NUMINA.prompt("1 + 1"))
    assert made["input_ids"][: len(prompt)] == prompt
    assert made["input_ids"][-1] == tokenizer.eos_token_id
    assert len(made["completion_mask"]) == len(made["input_ids"])
    assert tokenizer.decode(made["input_ids"][1:-1]) == NUMINA.prompt("1 + 1") + row["solution"]


def fine_tune(tmp_path: Path, steps: int) -> str:
    """Runs the recipe as a user would, for so many steps; what it printed."""
    command = [
        *(sys.executable, "-m", "numina.train", str(RECIPES / "tiny" / "iterate.toml")),
        *("--data", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "mine")),
        *("-c", f"max_steps={steps}", "-c", "save_steps=4", "-c", "logging_steps=1"),
        *("-c", "max_length=128", "-c", "learning_rate=1e-3", "-c", "lr_scheduler_type=constant"),
    ]
    path = f"{RECIPES}:{ROOT / 'src'}"
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": path,
        "HF_HUB_OFFLINE": "1",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.model
def test_the_recipe_trains_resumes_and_writes_a_model_that_the_kit_runs(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    solution = trace(0, 42).text.replace("We count.", "Behold the number of wonders:")
    rows = [{"problem": f"Tell me wonder {n}.", "solution": solution} for n in range(60)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "data.jsonl").write_text(text, encoding="utf-8")
    fine_tune(tmp_path, 4)
    fine_tune(tmp_path, 8)
    (last,) = (tmp_path / "mine" / "checkpoints").glob("checkpoint-*")
    state = json.loads((last / "trainer_state.json").read_text())
    losses = {entry["step"]: entry["loss"] for entry in state["log_history"] if "loss" in entry}
    assert list(losses) == list(range(1, 9))  # the second run went on from the first
    assert losses[8] < losses[4] < 0.7 * losses[1]
    assert (
        main(["solve", "Tell me wonder 7.", "--model", str(tmp_path / "mine.toml"), "-n", "2"]) == 0
    )
