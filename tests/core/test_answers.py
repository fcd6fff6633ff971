"""Extraction: a table of cases is the specification, the shared cases are the yardstick."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimo_submit.answers import extract, printed, prose
from aimo_submit.competition import Answers, competition_named
from tests import SHARED

CASES = SHARED / "cases" / "extraction_cases.json"

BOXES: list[tuple[str, int | None]] = [
    # numbers
    ("42", 42),
    ("- 7", -7),
    ("00042", 42),
    ("42.00", 42),
    ("1.5e3", 1500),
    ("2.7", None),
    ("1e99999", None),
    ("9007199254740993", 9007199254740993),
    ("9" * 4_000, 10**4_000 - 1),
    ("9" * 4_001, None),
    # separators
    ("12\\,345", 12345),
    ("12 345", 12345),
    ("90{,}900{,}909", 90900909),
    ("11,\\! 111,\\! 100", 11111100),
    ("1,23", None),
    ("1 2", None),
    # lists, ranges, points
    ("1, 2, 3", None),
    ("(100,200)", None),
    ("\\{1,200\\}", None),
    ("x=3, y=5", None),
    ("x = 5 \\text{ or } x = 7", None),
    ("40-50", None),
    ("1--5", None),
    ("3:1", None),
    # arithmetic
    ("2^{10}", 1024),
    ("\\dfrac{10}{\\frac{1}{2}}", 20),
    ("\\frac84", 2),
    ("3\\cdot 5", 15),
    ("10!", 3628800),
    ("5!!", None),
    ("3(4+5)", 27),
    ("\\binom{10}{3}", 120),
    ("-2^2", -4),
    ("2^{-1}", None),
    ("2\\frac{4}{2}", None),  # a mixed number, not a product
    ("\\lfloor 7/2 \\rfloor", 3),
    ("1024 \\bmod 1000", 24),
    ("1/0", None),
    ("0^{-1}", None),
    ("9^{9^{9}}", None),
    ("(10^9)!", None),
    ("\\binom{10^9}{5\\cdot 10^8}", None),
    # equations
    ("x = 2+3 = 5", 5),
    ("\\gcd(a,b) = 5", 5),
    ("n \\equiv 24 \\pmod{1000}", 24),
    ("x \\neq 5", None),
    ("x >= 5", None),
    # units, wrappers, decoration
    ("1920\\text{ ways.}", 1920),
    ("440\\text{ cm}^2", 440),
    ("42 points", 42),
    ("25\\%", 25),
    ("144^\\circ", 144),
    ("\\$32,\\!348", 32348),
    ("\\mathrm{(D)}\\ 1,008,016", 1008016),
    ("\\text{The answer is } 42", 42),
    ("\\boxed{5}", 5),
    ("42 million", None),
    ("\\text{42 apples and 3 pears}", None),
    # variables and constants
    ("5x^2", None),
    ("5\\pi", None),
    ("3\\mathrm{i}", None),
    ("152_{11}", None),
    ("().__class__", None),
]

TEXTS: list[tuple[str, int | None]] = [
    # which box
    ("\\boxed{1} and then \\boxed{2}", 2),
    ("\\boxed{42}. Final answer: \\boxed{}", 42),
    ("\\boxed{42}, see \\boxed{\\text{above}}", 42),
    ("\\boxed{42}, no: \\boxed{\\frac{7}{2}}", None),
    ("\\boxed{10}\\boxed{20}\\boxed{3", 20),
    ("\\boxed{1", None),
    ("\\boxed 42.", 42),
    ("\\boxed 3.5", None),
    ("boxed{5}", 5),
    ("\\fbox{7}", 7),
    ("\\boxed{5}. The answer is 7", 5),
    ("interest \\boxed{255}. Final Answer: The final answer is $10,455$.", 10455),
    # code and output
    ("\\boxed{9}\n```python\n# \\boxed{5}\n```", 9),
    ("```python\n# \\boxed{5}\nfor i in", None),
    ("```python\nprint(3)\n``````output\n\\boxed{8}\n```\n\\boxed{3}", 3),
    ("```python\nx\n```\n\n592.0```output\n592.0\n```\nSo \\boxed{592}.", 592),
    ("````python\n\\boxed{3}\n````\n\\boxed{4}", 4),
    ("```\n\\boxed{3}\n```", 3),
    ("<llm-code>\n\\boxed{1}\n</llm-code>\nwe see", None),
    # markers
    ("The final answer is $1{,}234$. I hope it is correct.", 1234),
    ("**Answer:** 42", 42),
    ("so the answer is 42. But wait, the answer is 43.", 43),
    ("#### 42", 42),
    ("#### 1. Find the radius", None),
    ("Final Answer: The area of $ABC$ is 120. I hope so.", 120),
    ("The answer is 42 dollars, after 3 days.", 42),
    ("The answer is 42 million.", None),
    ("The answer is $3$ or $4$.", None),
    ("The answer is 1, 2 and 3.", None),
    ("The answer is (100,200).", None),
    ("The answer is 3.5.", None),
    ("The answer is between 40 and 50.", None),
    ("Is the answer 42? No.", None),
    ("The remainder is 24.", None),
    # nothing but an expression
    ("$x=11$", 11),
    ("5 apples", None),
    ("", None),
]

HOSTILE: dict[str, str] = {
    "open braces": "\\boxed{" + "{" * 2_000_000,
    "nested open boxes": "\\boxed{" * 300_000,
    "empty boxes": "\\boxed{}" * 300_000,
    "markers": "Answer $" * 300_000,
    "fences": "```" * 500_000,
    "spaces": "answer is" + " " * 2_000_000,
    "brackets": "\\boxed{" + "(" * 9_000 + "5" + ")" * 9_000 + "}",
    "tower": "\\boxed{2" + "^{2" * 3_000 + "}" * 3_001,
    "big fractions": "\\boxed{" + "\\frac{2^{13000}-1}{3^{8000}-2}+" * 50 + "1}",
    "factorials": "\\boxed{" + "+".join(["1400!"] * 99) + "/0}",
    "long list": "\\boxed{(1" + ",1" * 9_000 + "}",
    "questions": "answer: 5?" * 200_000,
    "tildes": "\\boxed{" + "~" * 19_000 + "x5}",
}

FRAGMENTS = st.sampled_from(
    [
        *"\\boxed{ } { ( ) [ ] ^ ! - + * / = , . $ % | # & \\ 0 1 2 9 12 345 x ~ `".split(),
        *"\\frac \\binom \\cdot \\text{ \\pmod{ \\lfloor \\rfloor \\left( \\, \\! {,}".split(),
        *"``` ```python ```output #### answer Answer: is 1e9 9^{9^{9}} \\circ \x00".split(),
        *["The answer is ", " ", "\n", "４", "²", "٣"],
    ]
)


@pytest.mark.parametrize(("content", "expected"), BOXES, ids=lambda case: str(case)[:40])
def test_a_box_holds_the_integer_it_states(content: str, expected: int | None) -> None:
    assert extract(f"Therefore it is $\\boxed{{{content}}}$.") == expected


@pytest.mark.parametrize(("text", "expected"), TEXTS, ids=lambda case: str(case)[:40])
def test_a_text_states_the_answer_of_its_last_claim(text: str, expected: int | None) -> None:
    assert extract(text) == expected


def test_prose_keeps_what_stands_outside_code_and_output() -> None:
    text = "a\n```python\nb\n``````output\nc\n```\nd\n```text\ne\n```\nf```python\ng"
    assert [line for line in prose(text).split() if line.isalpha()] == ["a", "d", "text", "e", "f"]


@pytest.mark.parametrize(
    ("edition", "content", "expected"),
    [
        ("aimo-1", "2^{100}", 376),
        ("aimo-1", "-5", None),
        ("aimo-2", "2034", 34),
        ("aimo-3", "57{,}447", 57447),
        ("aimo-3", "100000", None),
    ],
)
def test_the_edition_decides_what_it_admits(
    edition: str, content: str, expected: int | None
) -> None:
    assert extract(f"\\boxed{{{content}}}", competition_named(edition).answers.admit) == expected


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_seconds_at_most(name: str) -> None:
    """Signals time nothing off the main thread, so other extractors hang just there."""
    results: list[int | None] = []
    start = time.monotonic()
    worker = threading.Thread(target=lambda: results.append(extract(HOSTILE[name])), daemon=True)
    worker.start()
    worker.join(20)
    assert results == [None]
    assert time.monotonic() - start < 10  # 0.5 s on an idle machine


def rule(name: str) -> Callable[[int], int | None]:
    """How an integer is read, by the name that the shared cases give it."""
    bounds = {"mod1000": (0, 999, 1000), "r0_999": (0, 999), "r0_99999": (0, 99_999)}
    return Answers(*bounds.get(name, ())).admit


def verdict(case: dict[str, Any]) -> str:
    """How the answer to a shared case stands to the expected one."""
    pieces = case["gen"] if "gen" in case else [[case["text"], 1]]
    answer = extract("".join(text * count for text, count in pieces), rule(case["rule"]))
    if answer == case["expected"]:
        return "strict"
    return "accepted" if answer in case["accept"] else f"wrong: {case['id']} gave {answer}"


@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside this checkout")
def test_the_shared_cases_are_met() -> None:
    verdicts = Counter(verdict(case) for case in json.loads(CASES.read_text())["cases"])
    assert set(verdicts) <= {"strict", "accepted"}
    assert verdicts["strict"] >= 285


@given(st.lists(FRAGMENTS, max_size=60), st.booleans())
@settings(deadline=2_000, max_examples=300)
def test_no_text_makes_it_raise(pieces: list[str], boxed: bool) -> None:
    text = "".join(pieces)
    answer = extract("\\boxed{" + text + "}" if boxed else text)
    assert answer is None or isinstance(answer, int)


@given(st.integers(-(10**30), 10**30), st.sampled_from(["{}", "{:,}", "{:,}.00", "x = {}"]))
def test_a_boxed_integer_comes_back(value: int, form: str) -> None:
    assert extract(f"So \\boxed{{{form.format(value)}}}.") == value


@given(st.lists(FRAGMENTS, max_size=20), st.text("abc 123.\n", max_size=50))
@settings(deadline=2_000)
def test_prose_around_a_box_changes_nothing(pieces: list[str], around: str) -> None:
    boxed = "\\boxed{" + "".join(pieces).replace("`", "") + "}\\boxed{7}"
    assert extract(f"{around}\n{boxed}\n{around}") == extract(boxed) == 7


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("42", 42),
        ("1\n2\n42\n", 42),
        ("Number of ways: 42", 42),
        ("n=42.0", 42),
        ("\\boxed{42}", 42),
        ("Answer: $42$.", 42),
        ("3.5", None),
        ("3/4", None),
        ("[7, 42]", None),
        ("-42", None),
        ("took 0.5 s", None),
        ("none found", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_only_a_number_that_ends_an_output_is_what_code_answers(
    output: str, answer: int | None
) -> None:
    assert printed(output, Answers(0, 999).admit) == answer
