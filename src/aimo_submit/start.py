"""Where a run is put together: the one place that knows which engine and sandbox there are."""

from __future__ import annotations

from collections.abc import Callable

from aimo_submit.cards import Card
from aimo_submit.config import Config
from aimo_submit.engines import Engine
from aimo_submit.records import Problem, Trace
from aimo_submit.sandbox import Sandbox
from aimo_submit.sandbox.server import ForkServer
from aimo_submit.solver import Solver


async def start_engine(config: Config, card: Card) -> Engine:
    """The configured engine with the card's model loaded. A missing package is a `UserError`."""
    # Heavy packages are imported only once an engine is wanted.
    if config.engine == "vllm":
        from aimo_submit.engines.vllm import VllmEngine

        return await VllmEngine.start(card.path, **config.engine_options)
    from aimo_submit.engines.transformers import TransformersEngine

    return await TransformersEngine.start(card.path, **config.engine_options)


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
        return await ForkServer(workers=config.sandbox_workers).__aenter__()

    return Solver(config, card.format, engine, sandbox, watch=watch)
