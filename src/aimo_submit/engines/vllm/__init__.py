"""vLLM: the engine for Kaggle's T4s and any NVIDIA GPU; its CPU build serves development.

Written for 0.19.1 (the last for CUDA 12) to 0.32: only what both have is used. `mean_logprob` is
that of every token drawn, an EOS included, after temperature and top_p.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import itertools
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aimo_submit.engines import Engine, InFlight, Sampling, Starter, room
from aimo_submit.engines.tokenizer import Tokens
from aimo_submit.engines.vllm.settings import Settings, devices, ladder, seeing
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.machines.detect import detect
from aimo_submit.records import Completion

# vLLM is told these by the environment only, some of them when it is imported.
_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",  # a Kaggle kernel has no internet
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; on a CPU its own default is half of the memory
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a fork of a process with threads can hang
}
_DEFAULTS: Mapping[str, Any] = {
    "enable_prefix_caching": True,
    "disable_log_stats": True,
    "logprobs_mode": "processed_logprobs",
}


log = logging.getLogger(__name__)
PROMPT = "Question: What is 12 + 30?\nAnswer: 12 + 30 ="
_GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=16, stop=(), seed=0)
# Speculation has its own sampler: that of vLLM's CPU build gives NaN where greedy is right.
_SAMPLED = tuple(Sampling(1.0, 1.0, 32, (), seed) for seed in range(4))
_RANDOM = -5.0  # nats: the likeliest token of a working model is far likelier than 1 in 150


def starters(path: Path, options: Mapping[str, Any]) -> list[Starter]:
    """Returns as many starters as `replicas` says, each for GPUs of its own.

    The other options are vLLM's engine arguments; `tensor_parallel_size` spreads each replica.
    """
    machine, options = detect(), dict(options)
    replicas, each = options.pop("replicas", 1), options.get("tensor_parallel_size", 1)
    if not isinstance(replicas, int) or replicas < 1:
        raise UserError(f"replicas = {replicas!r}: must be a whole number from 1")
    ways = deque(ladder(machine))
    seen = [devices(replica, replicas, each, machine) for replica in range(replicas)]
    return [partial(start_tested, partial(_start, path, options, gpus), ways) for gpus in seen]


async def _start(
    path: Path, options: Mapping[str, Any], gpus: str | None, way: Settings
) -> VllmEngine:
    for name, value in way.variables.items():
        os.environ.setdefault(name, value)
    suited, given = way.arguments, options
    return await VllmEngine.start(
        path, gpus, **({**given, **suited} if way.fallback else {**suited, **given})
    )


class VllmEngine:
    """Completes prompts with vLLM, whose core runs in a process of its own."""

    def __init__(self, engine: Any, tokens: Tokens) -> None:
        self._engine, self._tokens = engine, tokens
        self._context = int(engine.vllm_config.model_config.max_model_len)
        self._cache_config = engine.vllm_config.cache_config
        self._ids, self._drawn, self._in_flight = itertools.count(), 0, InFlight()
        self._closed = False

    @classmethod
    async def start(cls, path: Path, gpus: str | None = None, **options: Any) -> VllmEngine:
        """Loads the model of that folder; options are vLLM's engine arguments."""

        def loaded() -> VllmEngine:
            tokens = Tokens(path)  # first: it is quick, and says what is wrong with a folder
            with seeing(gpus):
                return cls(_load(path, options), tokens)

        return await asyncio.to_thread(loaded)

    @property
    def context(self) -> int:
        return self._context

    @property
    def running(self) -> int:
        if self._closed or self._engine.errored:  # dead, it keeps its count
            return 0
        return int(self._engine.output_processor.get_num_unfinished_requests())

    @property
    def kv_tokens(self) -> int:
        """Tokens that its KV cache holds, as it says after profiling the device."""
        cache = self._cache_config  # also when closed
        told = getattr(cache, "kv_cache_size_tokens", None)  # not yet in 0.19
        return int(told or (cache.num_gpu_blocks or 0) * cache.block_size)

    @property
    def drawn(self) -> int:
        if self._closed:
            return self._drawn
        running = tuple(self._engine.output_processor.request_states.values())
        return self._drawn + sum(int(each.detokenizer.num_output_tokens()) for each in running)

    def encode(self, text: str, *, prompt: bool = False) -> list[int]:
        return self._tokens.encode(text, prompt=prompt)

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """Completes the prompt; without tokens where the model ends its turn at once."""
        limit = room(prompt, sampling, self.context)
        return await self._in_flight.run(self._generate(prompt, sampling, limit))

    async def aclose(self) -> None:
        """Ends the core's process; what is in flight fails."""
        if not await self._in_flight.close():
            return
        self._closed = True
        if handler := self._engine.output_handler:
            handler.cancel()  # it would log the end of the core as an error
        await asyncio.to_thread(self._engine.shutdown)
        del self._engine
        gc.collect()  # it lies in a cycle, and complains where the interpreter's end finds it

    async def _generate(self, prompt: Sequence[int], sampling: Sampling, limit: int) -> Completion:
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        outputs = self._engine.generate(
            {"prompt_token_ids": list(prompt)}, _params(sampling, limit), str(next(self._ids))
        )
        try:
            # One output, the last; cancelled in here, vLLM aborts the request.
            last = [output async for output in outputs][-1].outputs[0]
        except (EngineDeadError, EngineGenerateError) as error:
            raise EngineDied(f"vLLM: {error}") from error
        drawn = list(last.token_ids)
        self._drawn += len(drawn)
        mean = last.cumulative_logprob / len(drawn)
        by_text = isinstance(last.stop_reason, str)
        return self._tokens.completion(drawn, last.finish_reason, by_text, sampling.stop, mean)


def _params(sampling: Sampling, limit: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=limit,
        stop=list(sampling.stop),
        stop_token_ids=list(sampling.stop_token_ids),
        seed=sampling.seed,
        logprobs=0,  # of the drawn token only
        include_stop_str_in_output=True,
        skip_special_tokens=False,
        spaces_between_special_tokens=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _load(path: Path, options: Mapping[str, Any]) -> Any:
    """Starts vLLM's engine and its core. It finds the loop it serves at the first request."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    known = {argument.name for argument in dataclasses.fields(AsyncEngineArgs)}
    if unknown := sorted(options.keys() - known):
        raise UserError(f"vLLM has no engine argument {', '.join(unknown)}")
    # On a CPU, a seeded request whose prompt is computed in parts kills the core of 0.32: "CPU
    # Generator does not use offset".
    parts = {"enable_chunked_prefill": False} if current_platform.is_cpu() else {}
    arguments = {"model": str(path), **_DEFAULTS, **parts, **options}
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))


async def why_broken(engine: Engine) -> str | None:
    """Completes a plain prompt; returns why the output looks broken, or None."""
    prompt = engine.encode(PROMPT, prompt=True)
    ways = (engine.complete(prompt, sampling) for sampling in (_GREEDY, *_SAMPLED))
    greedy, *sampled = await asyncio.gather(*ways)
    if not all(math.isfinite(done.mean_logprob) for done in (greedy, *sampled)):
        return "its logits are not numbers"
    if greedy.mean_logprob < _RANDOM:
        return f"its likeliest tokens have a mean log-probability of {greedy.mean_logprob:.1f}"
    return None


async def start_tested(
    start: Callable[[Settings], Coroutine[Any, Any, Engine]], ways: deque[Settings]
) -> Engine:
    """Starts an engine that passes the test, in the first way that does; drops the ways before."""
    first = ""  # what was wrong with the first way
    while True:
        way = ways[0]
        engine, wrong = await _tried(start, way)
        if engine and not wrong:
            return engine
        if engine:
            await engine.aclose()
        first = first or wrong
        if len(ways) == 1:
            raise UserError(
                f"vLLM computes this model wrongly ({first}), with safer settings, too "
                f"({wrong}); try another dtype or quantisation in engine_options"
            )
        if way is ways[0]:  # else another replica was quicker
            ways.popleft()
        log.warning("vLLM's self-test: %s; starting it with %s", wrong, ways[0].title)


async def _tried(
    start: Callable[[Settings], Coroutine[Any, Any, Engine]], way: Settings
) -> tuple[Engine | None, str]:
    """Starts the engine that way; returns it with what is wrong."""
    try:
        engine = await start(way)
    except Exception as error:  # a fallback need not suit this model
        if not way.fallback:
            raise
        return None, f"{type(error).__name__}: {error}"
    return engine, await why_broken(engine) or ""
