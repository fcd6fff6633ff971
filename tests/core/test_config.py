"""Settings are checked when they are made; what is wrong is named with its remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.toml import parse_value, read_toml


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sample": 4}, "did you mean samples"),
        ({"zzz": 4}, "known are model, edition"),
        ({"samples": 0}, "must be between 1 and"),
        ({"rounds": 0}, "must be between 1 and"),
        ({"samples": "4"}, "must be of type int"),
        ({"samples": True}, "must be of type int"),
        ({"temperature": -0.1}, "must be between 0.0 and"),
        ({"temperature": float("nan")}, "must be between"),
        ({"engine": "vlm"}, "one of transformers, vllm"),
        ({"edition": "aimo-4"}, "did you mean aimo-3"),
        ({"vote": "loudest"}, "one of majority"),
        ({"on_failure": "cry"}, "one of prune, restart"),
        ({"problem_timeout_s": 0}, "must be between 1.0"),
        ({"total_time_s": 0}, "must be between 1.0"),
        ({"problems": 0}, "must be between 1"),
        ({"early_stop": 0.6}, "must be between 0.0 and 0.5"),
    ],
)
def test_wrong_settings_are_refused_with_a_remedy(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Config.of(given)


def test_toml_gives_the_same_settings_back() -> None:
    config = Config(samples=16, problem_timeout_s=2.5, model='a "b"\\c', engine_options={"a": [1]})
    assert Config.of(tomllib.loads(config.to_toml())) == config
    assert Config.of(tomllib.loads(Config().to_toml())) == Config()


def test_the_defaults_are_the_winners() -> None:
    config = Config()
    assert (config.samples, config.rounds, config.temperature) == (48, 4, 0.8)
    assert (config.max_new_tokens, config.code_timeout_s) == (2048, 5.0)


def test_an_unreadable_or_malformed_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="check the path"):
        read_toml(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("samples = ")
    with pytest.raises(UserError, match="not valid TOML"):
        read_toml(bad)


def test_settings_on_the_command_line_are_read_as_toml() -> None:
    assert parse_value("temperature=0.6") == ("temperature", 0.6)
    assert parse_value("engine=vllm") == ("engine", "vllm")
    assert parse_value("engine_options={dtype='float32'}")[1] == {"dtype": "float32"}
    with pytest.raises(UserError, match="NAME=VALUE"):
        parse_value("temperature")
