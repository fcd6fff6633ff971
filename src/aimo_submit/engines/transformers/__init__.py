"""The embedded default engine: a transformers model, batched continuously, wherever torch runs.

One thread makes all forward passes. Between two steps requests join the batch and leave it, and
equal beginnings of prompts are computed once (`kv_cache.py`). transformers' own continuous batching
has one seed for all requests and no stop strings per request, so a resumed run could not repeat
its samples. `mean_logprob` is that of every token drawn, an EOS included, after temperature and
top_p; greedy, it is the model's own.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Threads of torch that spin while they wait take the cores from the sandbox and then from each
# other: on two busy cores, steps took 15 times as long. It is read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from aimo_submit.engines import Sampling, Starter, room
from aimo_submit.engines.tokenizer import Tokens
from aimo_submit.engines.transformers.batch import Batch, Request
from aimo_submit.engines.transformers.kv_cache import ATTENTION
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.records import Completion
from aimo_submit.toml import checked


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `TransformersEngine.start`."""

    dtype: str = "float32"
    device: str | None = None  # a GPU where there is one
    max_batch: int = 64
    threads: int | None = None  # as many as there are cores


def starters(path: Path, options: Mapping[str, Any]) -> list[Starter]:
    """Returns the one starter of an engine with the model of that folder."""
    return [partial(TransformersEngine.start, path, **options)]


class TransformersEngine:
    """Completes prompts with a model that transformers can load."""

    def __init__(self, model: Any, tokens: Tokens, options: Options) -> None:
        self._batch = Batch(model, tokens, options.max_batch)
        self._tokens, self._threads = tokens, options.threads
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._requests: set[Request] = set()
        self._died, self._steps = "", 0
        self._cause: Exception | None = None
        self._thread = threading.Thread(target=self._serve, name="transformers", daemon=True)
        self._thread.start()

    @classmethod
    async def start(cls, path: Path, **options: Any) -> TransformersEngine:
        """Loads the model of that folder, without blocking the running loop."""
        chosen = checked(Options, "engine_options", options)
        tokens = await asyncio.to_thread(Tokens, path)
        return cls(await asyncio.to_thread(_load, path, chosen), tokens, chosen)

    @property
    def context(self) -> int:
        return self._batch.context

    @property
    def running(self) -> int:
        return len(self._requests)

    @property
    def drawn(self) -> int:
        return self._steps

    @property
    def kv_tokens(self) -> int:
        """Tokens that the rows of its batch hold together."""
        return self._batch.rows * self.context

    def encode(self, text: str, *, prompt: bool = False) -> list[int]:
        return self._tokens.encode(text, prompt=prompt)

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """The model's continuation of the prompt; no tokens where it ends its turn at once."""
        request = Request(prompt, sampling, room(prompt, sampling, self.context))
        self._requests.add(request)
        if self._died:  # asked only now: a thread that dies later sees the request
            self._requests.discard(request)
            raise self._death()
        self._inbox.put(request)
        try:
            return await request.future
        except asyncio.CancelledError:
            request.cancelled = True
            raise

    async def aclose(self) -> None:
        """Ends the thread after its step; what is in flight fails."""
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        torch.set_num_threads(self._threads or os.cpu_count() or 1)  # holds for this thread
        try:
            with torch.inference_mode():
                while self._admit():
                    self._step()
            self._died = "it was closed"
        except Exception as error:  # whatever it is: unless told, the callers wait for ever
            self._cause = error
            self._died = f"{type(error).__name__}: {error}"
        self._batch.free()
        for request in tuple(self._requests):
            self._requests.discard(request)
            request.resolve(self._death())

    def _step(self) -> None:
        self._steps += 1
        for request, completion in self._batch.step():
            self._requests.discard(request)
            if completion:
                request.resolve(completion)

    def _admit(self) -> bool:
        """Hands new requests to the batch, waits where nothing runs; returns False once closed."""
        while not self._inbox.empty() or not self._batch.busy:
            request = self._inbox.get()
            if request is None:
                return False
            self._batch.waiting.append(request)
        return True

    def _death(self) -> EngineDied:
        death = EngineDied(self._died)
        death.__cause__ = self._cause
        return death


def _load(path: Path, options: Options) -> Any:
    """Loads the model, on the device where it will run."""
    dtype = getattr(torch, options.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise UserError(f"no dtype {options.dtype!r}: take float32, bfloat16 or float16")
    disable_progress_bar()  # type: ignore[no-untyped-call]  # the kit shows its own
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, attn_implementation=ATTENTION, local_files_only=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path}: its model cannot be loaded: {error}") from error
    return model.to(options.device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
