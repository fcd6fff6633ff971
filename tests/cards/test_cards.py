"""Every card that ships can be read without its weights; a wrong one is refused with a remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aimo_submit.cards import Card, all_cards, config_for, engine_settings, load_card, read_card
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.formats.families import FORMATS
from aimo_submit.machines import HARDWARE
from tests import ROOT

CARDS = list(all_cards())
PROMISED = """numina-7b-tir numina-7b-tir-gptq numina-7b-cot deepseek-math-7b-rl tora-7b tiny-tir
    qwen25-math-7b-instruct openmath-nemotron-7b openmath-nemotron-14b-kaggle gpt-oss-20b
    deepseek-r1-distill-qwen-7b deepseek-r1-distill-qwen-14b gpt-oss-120b""".split()
LEAST = 'name = "mine"\nsource = "weights"\nformat = "numina_tir"\ncontext = 4096\n'


def named(card: Card) -> str:
    return card.name


def written(folder: Path, text: str = LEAST) -> Path:
    """A card of one's own."""
    file = folder / "mine.toml"
    file.write_text(text)
    return file


def test_the_promised_models_have_cards_named_as_their_files() -> None:
    assert {card.name for card in CARDS} >= set(PROMISED)
    assert all(card.licence and card.size for card in CARDS)
    for card in CARDS:
        assert read_card(ROOT / "models" / f"{card.name}.toml") == card


@pytest.mark.parametrize("card", CARDS, ids=named)
def test_a_cards_size_adds_up_to_its_parameters(card: Card) -> None:
    """One wrong digit of a config.json and the planner is off for good."""
    size = card.size
    assert size is not None
    queries = 64 * 64 if size.experts > 1 else size.hidden  # gpt-oss has 64 heads of 64
    attention = 2 * size.hidden * (queries + size.kv_heads * size.head_dim)
    layer = attention + size.experts * 3 * size.hidden * size.intermediate
    assert size.tables + size.layers * layer == pytest.approx(size.parameters, rel=2e-3)
    if size.plain is not None:
        assert size.tables + size.layers * attention == pytest.approx(size.plain, rel=1e-2)


@pytest.mark.parametrize("machine", HARDWARE)
@pytest.mark.parametrize("card", CARDS, ids=named)
def test_a_cards_engine_settings_are_settings_and_spread_whole_heads(
    card: Card, machine: str
) -> None:
    settings = engine_settings(card, machine)
    options = Config.of({**card.defaults, **settings}).engine_options
    devices = options.get("tensor_parallel_size", 1)
    assert devices * options.get("replicas", 1) <= HARDWARE[machine].devices
    assert card.size is not None
    assert card.size.kv_heads % devices == 0


def test_the_bundled_models_size_is_that_of_its_own_config() -> None:
    card = load_card("tiny-tir")
    config = json.loads((card.path / "config.json").read_text())
    size = card.size
    assert size is not None
    assert (size.layers, size.hidden) == (config["num_hidden_layers"], config["hidden_size"])
    assert (size.kv_heads, size.head_dim) == (config["num_key_value_heads"], config["head_dim"])
    assert (size.vocab, size.tied) == (config["vocab_size"], config["tie_word_embeddings"])
    assert card.context == config["max_position_embeddings"]


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("licens = 'MIT'", "unknown key 'licens': did you mean licence?"),
        ("sample_tokens = 'many'", "needs sample_tokens, of type int"),
        ("context = true", "not valid TOML"),  # twice
        ("[sampling]\ntemprature = 1.0", r"\[sampling\]: .*did you mean temperature"),
        ("[engine.t4x3]\nname = 'vllm'", r"\[engine.t4x3\]: no such machine; known are t4x2"),
        ("[engine.t4x2]\ndtype = 'float16'", r"\[engine.t4x2\] needs name"),
        ("[engine.t4x2]\nname = 'vlm'", r"\[engine.t4x2\]: engine = 'vlm': must be one of"),
        ("[engine.t4x2]\nname = 'vllm'\nreplicas = 0", "replicas must be a whole number from 1"),
        ("[quantisation]\nmethod = 'gptq'\nbits = 8", "needs group, of type int"),
        ("[quantisation]\nmethod = 'gguf'\nbits = 8\ngroup = 1", "must be one of gptq, awq"),
        ("[quantisation]\nmethod = 'gptq'\nbits = true\ngroup = 1", "needs bits, of type int"),
        ("[size]\nparameter = 1", r"\[size\] has an unknown key 'parameter'.*parameters"),
        ("[size]\nparameters = 1.5", r"\[size\] needs parameters, of type int"),
        ("[size]\nbits = 8.0", r"bits are given in \[quantisation\]"),
        ("size = 7", r"\[size\] must be a table"),
    ],
)
def test_a_wrong_card_is_refused_with_a_remedy(tmp_path: Path, added: str, message: str) -> None:
    file = written(tmp_path, LEAST + added)
    with pytest.raises(UserError, match=message) as refused:
        read_card(file)
    assert str(file) in str(refused.value)


def test_source_is_a_folder_or_a_table_of_places(tmp_path: Path) -> None:
    assert read_card(written(tmp_path)).path == tmp_path / "weights"
    table = LEAST.replace('source = "weights"\n', "") + '[source]\nhub = "a/b"\n'
    card = read_card(written(tmp_path, table))
    assert (card.source.hub, card.path) == ("a/b", Path("models/mine").resolve())
    with pytest.raises(UserError, match=r"\[source\] has an unknown key 'hubb': did you mean hub"):
        read_card(written(tmp_path, table.replace("hub", "hubb")))
    with pytest.raises(UserError, match="the card needs source, of type str"):
        read_card(written(tmp_path, 'name = "mine"'))


def test_to_run_a_model_its_weights_must_be_there_and_the_remedy_fetches_them(
    tmp_path: Path,
) -> None:
    table = LEAST.replace('source = "weights"\n', "") + '[source]\npath = "w"\nhub = "a/b"\n'
    with pytest.raises(UserError, match=f"hf download a/b --local-dir {tmp_path}/w"):
        load_card(str(written(tmp_path, table)))
    table = table.replace('hub = "a/b"', 'kaggle = "a/b/c/d/1"')
    with pytest.raises(UserError, match=r"kaggle models instances versions download a/b/c/d/1 -"):
        load_card(str(written(tmp_path, table)))
    with pytest.raises(UserError, match=r"no config\.json in .*weights; put the model there"):
        load_card(str(written(tmp_path)))


def test_weights_may_lie_elsewhere(tmp_path: Path) -> None:
    """On Kaggle they lie where the model was mounted."""
    weights = load_card("tiny-tir").path
    card = load_card("numina-7b-tir-gptq", weights)
    assert (card.name, card.path) == ("numina-7b-tir-gptq", weights)
    assert config_for({"model": "numina-7b-tir-gptq"}, weights)[1] == card
    with pytest.raises(UserError, match=rf"no config\.json in {tmp_path}; put the model there$"):
        load_card("numina-7b-tir-gptq", tmp_path)


def test_a_card_may_name_a_format_to_come_and_fails_only_where_it_is_run(tmp_path: Path) -> None:
    weights = load_card("tiny-tir").path
    text = LEAST.replace("numina_tir", "of_tomorrow").replace('"weights"', f'"{weights}"')
    file = written(tmp_path, text)
    assert read_card(file).format_name == "of_tomorrow"
    with pytest.raises(UserError, match="unknown format 'of_tomorrow': choose one of numina_tir"):
        load_card(str(file))
    assert read_card(written(tmp_path)).format is FORMATS["numina_tir"]


def test_on_a_named_machine_the_cards_engine_comes_before_the_kits() -> None:
    weights, model = load_card("tiny-tir").path, "numina-7b-tir-gptq"

    def engine(machine: str | None, **given: object) -> tuple[str, dict[str, object]]:
        config, _ = config_for({"model": model, **given}, weights, machine)
        return config.engine, config.engine_options

    both = {"tensor_parallel_size": 2, "max_model_len": 4096}
    assert engine(None) == ("transformers", {})
    assert engine("t4x2") == ("vllm", both)
    assert engine("cpu") == ("transformers", {})
    assert engine("t4x2", engine="transformers") == ("transformers", {})
    more = {"max_model_len": 2048, "seed": 1}
    assert engine("t4x2", engine_options=more) == ("vllm", {**both, **more})


def test_two_replicas_are_one_setting_apart(tmp_path: Path) -> None:
    text = LEAST + "[engine.t4x2]\nname = 'vllm'\nreplicas = 2\n"
    options = engine_settings(read_card(written(tmp_path, text)), "t4x2")["engine_options"]
    assert (options["replicas"], options["tensor_parallel_size"]) == (2, 1)
    given = {"model": "numina-7b-tir-gptq", "engine_options": {"replicas": 2}}
    config, _ = config_for(given, load_card("tiny-tir").path, "t4x2")
    assert config.engine_options["tensor_parallel_size"] == 1


def test_the_models_own_settings_come_before_the_kits_and_after_ones_own() -> None:
    card = load_card("tiny-tir")
    assert config_for({})[0].max_new_tokens == card.defaults["max_new_tokens"]
    assert config_for({"max_new_tokens": 7})[0].max_new_tokens == 7
