"""What is written as TOML is read back the same."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aimo_submit.toml import read_toml, to_toml

# Halves of a pair are no text that TOML can hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
plain = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), texts)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, values, max_size=5))
def test_whatever_is_written_is_read_back(data: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(data)) == data


def test_a_table_follows_the_plain_values_and_arrays_of_arrays_have_a_line_each(
    tmp_path: Path,
) -> None:
    data = {"size": {"layers": 2}, "made": datetime.date(2026, 11, 1), "steps": [[1, 0.5], [2, 1]]}
    file = tmp_path / "some.toml"
    file.write_text(to_toml(data), encoding="utf-8")
    assert read_toml(file) == data
    lines = ["made = 2026-11-01", "steps = [", "    [1, 0.5],", "    [2, 1],", "]", ""]
    assert file.read_text().splitlines() == [*lines, "[size]", "layers = 2"]
