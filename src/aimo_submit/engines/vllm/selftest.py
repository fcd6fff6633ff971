"""The self-test of an engine that has just started, and a safer start where it fails.

Kernels that overflow in float16 leave logits that are not numbers: the engine runs on and writes
the first token of the vocabulary for ever.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aimo_submit.engines import Engine, Sampling
from aimo_submit.engines.vllm.settings import Settings
from aimo_submit.errors import UserError

log = logging.getLogger(__name__)

PROMPT = "Question: What is 12 + 30?\nAnswer: 12 + 30 ="
_GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=16, stop=(), seed=0)
# Speculation has its own sampler: that of vLLM's CPU build gives NaN where greedy is right.
_SAMPLED = tuple(Sampling(1.0, 1.0, 32, (), seed) for seed in range(4))
_RANDOM = -5.0  # nats: the likeliest token of a working model is far likelier than 1 in 150


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
