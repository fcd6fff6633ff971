"""A report: what it holds, that it asks nothing of the network, that hostile text stays text."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import random
import re
import shutil
import subprocess
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aimo_submit.cli import main
from aimo_submit.pool.arrays import load_pool
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
    to_json,
)
from aimo_submit.report import panels
from aimo_submit.report.page import TITLES
from aimo_submit.report.panels import Panel
from aimo_submit.report.rows import ProblemRow
from aimo_submit.tune import PlannedRun
from aimo_submit.tune.forecast import Forecaster
from aimo_submit.tune.profile import Profile
from aimo_submit.vote import majority

SETTINGS = {"model": "tiny-tir", "edition": "any", "engine": "scripted", "samples": 4, "rounds": 3}

MACHINE = Profile(
    "here", "tiny-tir", "CPU", "transformers", "2026-11-01", False,
    steps=((1, 0.01), (8, 0.02)), prefill_s=0.0, load_s=1.0, kv_tokens=10_000,
)  # fmt: skip

HOSTILE = (
    "</script><script>document.title = 'owned'</script>"
    "<img src=x onerror=\"document.title='owned'\">"
    "<!--<script> \u202eevil\u202c \x00\x1b[31m \ud800 ]]> &lt;b&gt; ${document.title='owned'}"
)

pytestmark = pytest.mark.slow


def sample(number: int, answer: int | None, text: str = "We run it.") -> Trace:
    """A sample of two rounds: a block and its output, then the answer."""
    code = "print(6 * 7)"
    asked = Completion(f"{text}\n```python\n{code}\n```\n```output\n", (1,) * 9, Finish.STOP, -0.1)
    ran = Execution(Outcome.OK, f"{answer}\n{text}", 0.01)
    told = Completion(f"So \\boxed{{{answer}}}.", (1,) * 5, Finish.EOS, -0.1)
    rounds = [
        Round(asked, code, ran, f"{answer}\n{text}\n```\n", engine_s=0.5, sandbox_s=0.02),
        Round(told, engine_s=0.25),
    ]
    status = Status.EXHAUSTED if answer is None else Status.ANSWERED
    return Trace(number, rounds, status, answer)


def solution(
    name: str, answers: list[int | None], gold: int | None = 42, seed: int = 0, text: str = "We."
) -> Solution:
    """A problem on which the samples gave these answers."""
    traces = [sample(i, answer, text) for i, answer in enumerate(answers)]
    votes = majority(traces)
    asked = text.replace("\ud800", "")  # which only a model writes; no file of problems holds one
    problem = Problem(name, f"What is {name}? {asked}", gold)
    return Solution(problem, votes[0].answer if votes else 0, votes, traces, seed, 1.5, "vote")


def journal(path: Path, *solutions: Solution) -> Path:
    """A journal with these solutions."""
    lines = [{"settings": SETTINGS}, *(to_json(s) for s in solutions)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return path


def some(seed: int = 0) -> list[Solution]:
    """Six problems, some right and some wrong."""
    given = [[42, 42, 42, 42], [42, 42, 7, 42], [7, 7, 42, 7], [None, 7, 8, 42], [1, 2, 3, None]]
    return [solution(f"p{i}", answers, seed=seed) for i, answers in enumerate([*given, given[1]])]


def report(pool: Path, *options: str) -> Path:
    """The page that the command wrote."""
    out = pool.parent / "report"
    assert main(["report", str(pool), "--out", str(out), *options]) == 0
    return out / "index.html"


def data_of(page: Path) -> Any:
    """The rows and settings in the page, as its script reads them."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found
    return json.loads(found[1])


def opened(page: Path, number: int) -> Any:
    """The samples under that number, as the page's script opens them."""
    found = re.search(rf'id="b{number}">([\w+/=]*)</script>', page.read_text())
    assert found
    return json.loads(zlib.decompress(base64.b64decode(found[1]), wbits=-15))


def test_every_sample_can_be_read_in_full(tmp_path: Path) -> None:
    page = report(journal(tmp_path / "pool.jsonl", *some()))
    row = next(r for r in data_of(page)["rows"] if r["id"] == "p2")
    assert (row["answer"], row["gold"], row["right"], row["pass"]) == ("7", "42", False, 0.25)
    assert row["votes"] == [["7", 3], ["42", 1]]
    assert row["tokens"] == 4 * 14
    found = opened(page, row["blocks"][0])["samples"][2]
    assert found["answer"] == "42"
    first = found["rounds"][0]
    assert first["code"] == "print(6 * 7)"
    assert first["output"] == "42\nWe."
    assert first["tokens"] == 9
    assert found["rounds"][1]["text"] == "So \\boxed{42}."


def test_a_report_asks_nothing_of_the_network(tmp_path: Path) -> None:
    text = report(journal(tmp_path / "pool.jsonl", *some())).read_text()
    assert "default-src 'none'" in text
    links = re.findall(r"""(?:src|href|url|@import)\s*[=(]\s*["']?\s*([^"')\s>]+)""", text)
    assert all(link.startswith(("#", "data:")) for link in links)


def test_the_policy_allows_the_pages_own_script_and_no_other(tmp_path: Path) -> None:
    text = report(journal(tmp_path / "pool.jsonl", *some())).read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert re.findall(r"script-src ([^;]*)", text) == [f"'sha256-{digest}'"]


def test_hostile_text_never_becomes_markup(tmp_path: Path) -> None:
    name = 'x"><img src=x onerror="document.title=1"></title>'
    page = report(journal(tmp_path / "pool.jsonl", solution(name, [7, 42], text=HOSTILE), *some()))
    text = page.read_text()
    assert text.count("<img") == 0
    assert "owned" not in text.replace("\\u003c", "<").split('id="data">')[0]
    scripts = re.findall(r"<script[^>]*>", text)
    assert len(scripts) == 2 + 7  # data, the page's own, and one for each problem
    assert data_of(page)["rows"][0]["id"] == name


def test_the_same_problem_under_two_seeds_is_one_row_and_counts_once(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    journal(pool / "a.jsonl", *some(seed=0))
    journal(pool / "b.jsonl", *some(seed=1), solution("p2", [7, 7, 42, 7]))
    rows = data_of(report(pool))["rows"]
    assert len(rows) == 6
    assert all(row["samples"] == 8 and len(row["blocks"]) == 2 for row in rows)


def test_large_answers_are_not_rounded(tmp_path: Path) -> None:
    big = 2**60 + 1
    page = report(journal(tmp_path / "pool.jsonl", solution("p", [big], gold=big), *some()))
    assert data_of(page)["rows"][0]["answer"] == str(big)


def test_without_a_profile_the_places_of_its_plots_say_what_they_need(tmp_path: Path) -> None:
    page = report(journal(tmp_path / "pool.jsonl", *some()))
    made = {file.stem for file in page.parent.glob("*.png")}
    assert made == {"accuracy", "votes", "margin", "spread"}
    assert page.read_text().count("give --profile") == 4


def test_with_a_profile_all_eight_plots_and_a_recommendation_are_there(tmp_path: Path) -> None:
    (tmp_path / "here.toml").write_text(MACHINE.to_toml())
    pool = journal(tmp_path / "pool.jsonl", *some())
    asked = ("--profile", str(tmp_path / "here.toml"), "--limit", "10m", "--problems", "5")
    page = report(pool, *asked)
    assert {file.stem for file in page.parent.glob("*.png")} == set(TITLES)
    text = page.read_text()
    assert text.count("<svg") == 8
    assert text.count('class="absent"') == 0
    assert "Recommended: N=" in text
    assert "samples = " in text  # the settings


def test_a_limit_too_short_for_anything_is_said_and_the_report_still_written(
    tmp_path: Path,
) -> None:
    slow = dataclasses.replace(MACHINE, load_s=60.0)
    (tmp_path / "slow.toml").write_text(slow.to_toml())
    pool = journal(tmp_path / "pool.jsonl", *some())
    asked = ("--profile", str(tmp_path / "slow.toml"), "--limit", "10s", "--problems", "5")
    assert "Nothing is recommended" in report(pool, *asked).read_text()


def test_without_gold_answers_the_samples_can_still_be_read(tmp_path: Path) -> None:
    page = report(journal(tmp_path / "pool.jsonl", solution("p", [7, 8, 7], gold=None)))
    assert data_of(page)["rows"][0]["right"] is None
    assert not list(page.parent.glob("*.png"))
    assert "gold" in page.read_text().split('id="data">')[0]


def test_a_table_of_votes_gives_plots_and_a_table(tmp_path: Path) -> None:
    table = tmp_path / "votes.csv"
    lines = [f"{p},42,{a}" for p in "abc" for a in (42, 42, 7)]
    table.write_text("\n".join(["problem_id,answer,logged_answer", *lines]))
    page = report(table)
    assert [row["samples"] for row in data_of(page)["rows"]] == [3, 3, 3]
    assert (page.parent / "votes.png").is_file()


def test_an_empty_journal_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = journal(tmp_path / "pool.jsonl")
    assert main(["report", str(pool), "--out", str(tmp_path)]) == 2
    assert "no problem has been solved yet" in capsys.readouterr().err


def test_a_solution_without_its_samples_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = journal(tmp_path / "pool.jsonl", *some())
    with pool.open("a") as file:
        file.write('{"problem":{"id":"x","text":"x","answer":1},"seed":0}\n')
    assert main(["report", str(pool), "--out", str(tmp_path)]) == 2
    assert "is not a journal of this kit" in capsys.readouterr().err


def drawn(panel: Panel) -> Any:
    """What a plot is given."""
    assert isinstance(panel.draw, partial)
    return panel.draw.args


def test_the_accuracy_of_all_samples_is_that_of_their_vote_and_a_tie_counts_in_part(
    tmp_path: Path,
) -> None:
    pool = load_pool(journal(tmp_path / "pool.jsonl", *some()))
    curves, best = drawn(panels.of_accuracy(pool))
    assert [curve.y[-1] for curve in curves] == pytest.approx([0, *[(3 + 1 / 3) / 6] * 2])
    assert best == pytest.approx(max(curve.y.max() for curve in curves))
    assert curves[1].low.max() <= best <= curves[1].high.max() + 1e-12


def test_the_vote_map_shows_shares_also_where_problems_have_fewer_samples(tmp_path: Path) -> None:
    pool = load_pool(journal(tmp_path / "pool.jsonl", solution("few", [42, 7]), *some()))
    shares, kinds = drawn(panels.of_votes(pool))
    assert shares.tolist() == sorted(shares.tolist(), reverse=True)
    assert (kinds == 0).mean(axis=0) == pytest.approx(shares)


def test_problems_that_are_always_right_or_always_wrong_spread_over_sets_only(
    tmp_path: Path,
) -> None:
    sure = [solution(f"s{i}", [42 if i % 2 else 7] * 4) for i in range(10)]
    pool = load_pool(journal(tmp_path / "pool.jsonl", *sure))
    parts, problems = drawn(panels.of_spread(pool, 50, 4, 3, None))
    assert problems == 50
    assert parts["which problems"] == pytest.approx((50 * 0.25 * 10 / 9) ** 0.5)
    assert parts["which samples (seed)"] == 0
    assert parts["their order"] is None


def test_a_stop_that_takes_no_chance_changes_no_answer(tmp_path: Path) -> None:
    rng = random.Random(0)
    mixed = [
        solution(f"r{i}", [rng.choice([42, 42, 7, 8, None]) for _ in range(12)]) for i in range(20)
    ]
    pool = load_pool(journal(tmp_path / "pool.jsonl", *mixed))
    names, lost, won, _ = drawn(
        panels.of_flips(Forecaster(pool, MACHINE, PlannedRun(600.0, 5)), 10, 3)
    )
    assert (names[0], lost[0], won[0]) == ("none", 0, 0)
    assert lost[-1] + won[-1] > 0


def test_the_margin_of_a_row_is_its_lead_over_all_votes() -> None:
    row = ProblemRow("p", "", 42, votes=Counter({42: 5, 7: 2, 8: 1}), samples=10, answers=[42])
    assert (row.margin, row.pass_1, row.right) == (3 / 8, 0.5, True)
    assert ProblemRow("p", "", None, answers=[0]).margin == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[str]:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium, and the page is tried out in it")
    return found


def dom(browser: str, address: str, profile: Path) -> str:
    """The page as the browser has it once its scripts have run."""
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(f"--user-data-dir={profile}", "--virtual-time-budget=8000", "--dump-dom", address),
    ]
    done = subprocess.run(command, capture_output=True, timeout=600, check=True)
    return done.stdout.decode()


def test_a_browser_shows_the_table_and_opens_hostile_samples_as_text(
    browser: str, tmp_path: Path
) -> None:
    evil = solution("evil", [7, 42], text=HOSTILE)
    page = report(journal(tmp_path / "pool.jsonl", evil, *some()))
    shown = dom(browser, f"{page.as_uri()}#problem=evil", tmp_path / "profile")
    assert shown.count("<tr") == 1 + 7
    assert "<title>pool.jsonl" in shown  # and nobody has set another
    assert "&lt;/script&gt;&lt;script&gt;document.title" in shown
    assert "<img" not in shown
    assert "\u202e" not in shown
    assert "U+202E" in shown
    assert "print(6 * 7)" in shown  # the first wrong sample is open
