"""What a Ray cluster has for each actor, and how it is reached."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.finding import install

LOCAL = "local"  # a cluster of this machine alone, for as long as the run takes
CALL_S = 5.0


@dataclass(frozen=True, slots=True)
class Share:
    """How many actors there are, and what each has of the cluster."""

    actors: int
    cpus: float
    gpus: int

    def of(self, config: Config) -> Config:
        """The settings for one actor: it keeps no more threads busy than it has CPUs."""
        threads, options = max(1, int(self.cpus)), config.engine_options
        if config.engine == "transformers":
            options = {"threads": threads, **options}
        is_file = config.model.endswith(".toml")
        return dataclasses.replace(
            config,
            model=str(Path(config.model).resolve()) if is_file else config.model,
            engine_options=options,
            sandbox_workers=config.sandbox_workers or threads,
        )


def share_of(resources: Mapping[str, float], config: Config, actors: int | None) -> Share:
    """The share of each actor in a cluster with those resources; `actors` None: all that fit.

    Without GPUs that is one actor a machine.
    """
    group = int(config.engine_options.get("tensor_parallel_size", 1))
    gpus = int(resources.get("GPU", 0)) if config.engine in ("transformers", "vllm") else 0
    machines = sum(name.startswith("node:") and "__" not in name for name in resources)
    most = gpus // group if gpus else max(1, machines)
    if gpus and (actors or 1) > most:
        raise UserError(
            f"the cluster has {gpus} GPU(s), at {group} an actor not enough for {actors or 1}: "
            "ask for fewer --actors, or a smaller tensor_parallel_size"
        )
    count = actors or most
    cpus = resources.get("CPU", 1.0) / count
    return Share(count, math.floor(cpus) if cpus >= 1 else cpus, group if gpus else 0)


def imported() -> Any:
    """The package, with its reports to its makers switched off."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--ray needs Ray: {install('ray')}") from error
    return ray


def connect(ray: Any, address: str) -> None:
    """Joins the cluster at that address; a `UserError` where there is none."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        _call(address)
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"no Ray cluster at {address} ({reason}); start one with `ray start --head` and give "
            "its address, or --ray alone for this machine"
        ) from error


def _call(address: str) -> None:
    """Connects and hangs up; Ray itself would try for minutes where nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), CALL_S).close()
