"""vLLM: the engine for Kaggle's T4s and any NVIDIA GPU; its CPU build serves development.

Written for 0.19.1 (the last for CUDA 12) to 0.32: only what both have is used. `mean_logprob` is
that of every token drawn, an EOS included, after temperature and top_p.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aimo_submit.engines import Sampling
from aimo_submit.engines.tokens import Tokens
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.records import Completion, Finish

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
_ABORT_S = 5.0  # what a dead core may take to abort a request


class VllmEngine:
    """Completes prompts with vLLM, whose core runs in a process of its own."""

    def __init__(self, engine: Any, tokens: Tokens) -> None:
        self._engine, self._tokens = engine, tokens
        self._context = int(engine.vllm_config.model_config.max_model_len)
        self._ids = itertools.count()
        self._work: set[asyncio.Task[Completion]] = set()
        self._closed = False

    @classmethod
    async def start(cls, path: Path, **options: Any) -> VllmEngine:
        """An engine with the model of that folder; options are vLLM's engine arguments."""
        return await asyncio.to_thread(cls._loaded, path, options)

    @classmethod
    def _loaded(cls, path: Path, options: Mapping[str, Any]) -> VllmEngine:
        tokens = Tokens(path)  # first: it is quick, and says what is wrong with a folder
        return cls(_load(path, options), tokens)

    @property
    def context(self) -> int:
        return self._context

    @property
    def running(self) -> int:
        if self._closed or self._engine.errored:  # dead, it keeps its count
            return 0
        return int(self._engine.output_processor.get_num_unfinished_requests())

    def encode(self, text: str, *, prompt: bool = False) -> list[int]:
        return self._tokens.encode(text, prompt=prompt)

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """The model's continuation of the prompt; no tokens where it ends its turn at once."""
        if self._closed:
            raise EngineDied("it was closed")
        if not 0 < len(prompt) < self.context:
            longest = self.context - 1
            raise UserError(f"a prompt of {len(prompt)} tokens: the model takes 1 to {longest}")
        work = asyncio.create_task(self._generate(prompt, sampling))
        self._work.add(work)
        work.add_done_callback(self._work.discard)
        try:
            return await work
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._closed and not (caller and caller.cancelling()):
                raise EngineDied("it was closed") from None
            raise

    async def aclose(self) -> None:
        """Ends the core's process; what is in flight fails."""
        if self._closed:
            return
        self._closed = True
        for work in self._work:
            work.cancel()
        if self._work:
            await asyncio.wait(self._work, timeout=_ABORT_S)
        await asyncio.to_thread(self._engine.shutdown)
        del self._engine
        gc.collect()  # it lies in a cycle, and complains where the interpreter's end finds it

    async def _generate(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        room = self.context - len(prompt)
        outputs = self._engine.generate(
            {"prompt_token_ids": list(prompt)}, _params(sampling, room), str(next(self._ids))
        )
        try:
            # One output, the last; cancelled in here, vLLM aborts the request.
            last = [output async for output in outputs][-1].outputs[0]
        except (EngineDeadError, EngineGenerateError) as error:
            raise EngineDied(f"vLLM: {error}") from error
        return self._completion(last, sampling)

    def _completion(self, output: Any, sampling: Sampling) -> Completion:
        """What vLLM generated, as a record."""
        drawn, by_text = list(output.token_ids), isinstance(output.stop_reason, str)
        mean = output.cumulative_logprob / len(drawn)
        match output.finish_reason:
            case "stop" if by_text:
                return Completion(*self._tokens.cut(drawn, sampling.stop), Finish.STOP, mean)
            case "stop":  # by a token, which is no part of the text
                return Completion(*self._tokens.cut(drawn[:-1], ()), Finish.EOS, mean)
            case "length":
                return Completion(*self._tokens.cut(drawn, ()), Finish.LENGTH, mean)
        raise EngineDied(f"vLLM ended a request for an unknown reason: {output.finish_reason}")


def _params(sampling: Sampling, room: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=min(sampling.max_new_tokens, room),
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
    """vLLM's engine, its core started. It finds the loop it serves at the first request."""
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
