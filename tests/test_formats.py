"""The formats: prompts as their families were trained on, and code read from real output."""

from __future__ import annotations

import pytest

from aimo_submit.errors import UserError
from aimo_submit.formats import FORMATS, format_named
from aimo_submit.records import Execution, Outcome

NUMINA = FORMATS["numina_tir"]


def ok(output: str) -> Execution:
    return Execution(Outcome.OK, output, 0.1)


def test_the_numina_prompt_is_exactly_the_notebooks() -> None:
    assert NUMINA.prompt("What is {1, 2}?") == "### Problem: What is {1, 2}?\n### Solution: "


def test_the_numina_output_is_exactly_the_notebooks() -> None:
    assert NUMINA.show(ok("42\n")) == "42\n```"
    assert NUMINA.show(ok("x" * 201)) == "x" * 200 + " ... (output truncated)\n```"
    assert NUMINA.show(ok("x" * 200)) == "x" * 200 + "\n```"


def test_deepseek_keeps_both_ends_of_a_long_output() -> None:
    shown = FORMATS["deepseekmath_rl_tool"].show(ok("a" * 80 + "b" * 80))
    assert shown == "\n" + "a" * 50 + "..." + "b" * 50 + "\n```\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("So:\n```python\nx = 1\nprint(x)\n```\n```output\n", "x = 1\nprint(x)"),
        ("```python\nfirst\n```\nno,\n```python\nsecond\n```\n```output\n", "second"),
        ("```python\nprint(1)``````output\n", "print(1)"),
        ("```python\nprint(592.0)```output\n", "print(592.0)"),
        ("```python\nprint(1)\n```output\n", "print(1)"),
        ("``` python\nprint(1)\n```\n```output\n", None),
        ("```python\nprint(1)\n```\nand ```python\nprint(2", "print(1)"),
        ("```python\nprint(2", None),
        ("no code\n```output\n", None),
        ("```python\n    return 1\n```", "    return 1"),
    ],
)
def test_the_last_complete_block_is_found_in_real_output(text: str, code: str | None) -> None:
    assert NUMINA.block(text) == code


def test_only_the_output_fence_asks_for_code_to_be_run() -> None:
    assert NUMINA.asks("```python\nprint(1)\n```\n```output\n")
    assert NUMINA.asks("```python\nprint(1)``````output\n")
    assert not NUMINA.asks("```python\nprint(1)\n```\n")


def test_openmath_code_stands_between_tool_call_tags() -> None:
    openmath = FORMATS["openmath_nemotron_tir"]
    text = "Let me see.\n<tool_call>\nprint(1)\n</tool_call>"
    assert openmath.asks(text)
    assert openmath.block(text) == "print(1)"
    assert openmath.show(ok("1")) == "\n```output\n1\n```\n"


def test_a_family_without_tools_never_asks_for_code() -> None:
    assert not FORMATS["r1_distill"].asks("```python\nprint(1)\n```\n```output\n")


def test_every_template_takes_a_problem() -> None:
    for format in FORMATS.values():
        assert format.prompt("THE TEXT").count("THE TEXT") == 1


def test_an_unknown_format_names_the_known() -> None:
    with pytest.raises(UserError, match="numina_tir"):
        format_named("numina")
