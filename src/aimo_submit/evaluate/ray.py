"""A problem set solved by actors on a Ray cluster: one for each GPU or tensor-parallel group.

`Actors` stands where a `Solver` does. Problems are handed out one by one, to whichever actor has
room. What an actor was at when it was lost goes to the next that is free, and a new actor takes its
place. Samples depend on the problem and its seed alone, so who solves it makes no difference.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.cards import load_card
from aimo_submit.config import Config
from aimo_submit.errors import EngineDied, UserError, install
from aimo_submit.records import Problem, Solution
from aimo_submit.start import start_solver

log = logging.getLogger(__name__)

LOSSES = 3  # of actors, with the same problem or before one has started: then it is no accident
CLOSE_S = 30.0


LOCAL = "local"  # a cluster of this machine alone, for as long as the run takes
CALL_S = 5.0


class Worker:
    """What runs in an actor: a solver, whose model `start` loads."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def start(self) -> int:
        """The process in which the model is now loaded."""
        self._solver = start_solver(self._config, load_card(self._config.model)).load()
        return os.getpid()

    def solve(self, problem: Problem, seed: int) -> Solution:
        """The problem's solution."""
        return self._solver.submit(problem, seed).result()

    def close(self) -> None:
        """Ends engine and sandbox."""
        self._solver.close()


class Place:
    """An actor, and after its loss the next one; `pid` is its process."""

    def __init__(self, ray: Any, make: Callable[[], Any]) -> None:
        self._ray, self._make, self._lock = ray, make, threading.Lock()
        self._actor: Any = None
        self._closed = False
        self.pid: int | None = None

    def actor(self) -> Any:
        """The actor with its model loaded; raises what kept it from that, time and again."""
        with self._lock:
            for left in reversed(range(LOSSES)):
                if self.pid is not None or self._closed:
                    break
                try:
                    self._actor = self._make()
                    self.pid = self._ray.get(self._actor.start.remote())
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except self._ray.exceptions.RayError as error:
                    log.warning("an actor was lost while it started")
                    if not left:
                        raise EngineDied(str(error)) from error
            return self._actor

    def lost(self, actor: Any) -> None:
        """Takes note that the actor is gone."""
        with self._lock:
            if self._actor is actor:
                self.pid = None

    def close(self) -> None:
        """Ends the actor, whether it listens or not; there will be no other."""
        self._closed = True
        with suppress(Exception):  # its process may be gone
            if self.pid is not None:
                self._ray.get(self._actor.close.remote(), timeout=CLOSE_S)
        with suppress(Exception):
            self._ray.kill(self._actor)


@dataclass(slots=True)
class Task:
    """A problem that waits for an actor, or is with one."""

    problem: Problem
    seed: int
    future: Future[Solution]
    losses: int = 0


class Actors:
    """Solvers on a cluster, `at_once` problems in each; entering it waits for the first of them."""

    def __init__(
        self,
        config: Config,
        *,
        address: str = LOCAL,
        actors: int | None = None,
        at_once: int = 1,
        worker: type[Any] = Worker,
    ) -> None:
        self._ray = imported()
        self._ours = not self._ray.is_initialized()
        if self._ours:
            connect(self._ray, address)
        self.share = share_of(self._ray.cluster_resources(), config, actors)
        alone = self.share.of(config)
        remote = self._ray.remote(worker).options(
            num_cpus=self.share.cpus, num_gpus=self.share.gpus, max_concurrency=at_once + 1
        )
        self.places = [
            Place(self._ray, lambda: remote.remote(alone)) for _ in range(self.share.actors)
        ]
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._begun: Future[None] = Future()
        self._threads = [
            threading.Thread(target=self._serve, args=(place,), daemon=True)
            for place in self.places * at_once
        ]
        self._serving, self._lock = len(self._threads), threading.Lock()
        self._closing = False

    def __enter__(self) -> Actors:
        for thread in self._threads:
            thread.start()
        try:
            self._begun.result()
        except BaseException:
            self.close()
            raise
        return self

    def submit(self, problem: Problem, seed: int) -> Future[Solution]:
        """The solution to come, sampled from that seed."""
        task = Task(problem, seed, Future())
        self._tasks.put(task)
        return task.future

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the actors, and the cluster if it was made for them."""
        self._closing = True
        for _ in self._threads:
            self._tasks.put(None)
        for place in self.places:
            place.close()
        if self._ours:
            self._ray.shutdown()

    def _serve(self, place: Place) -> None:
        """Solves tasks with the actor of that place until there are no more."""
        try:
            while not self._closing:
                actor = place.actor()
                _settle(self._begun)
                task = self._tasks.get()
                if task is None:
                    return
                self._solve(place, actor, task)
        except Exception as error:  # the border of one place: the others go on without it
            self._give_up(error)

    def _solve(self, place: Place, actor: Any, task: Task) -> None:
        if not task.losses and not task.future.set_running_or_notify_cancel():
            return
        try:
            task.future.set_result(self._ray.get(actor.solve.remote(task.problem, task.seed)))
        except self._ray.exceptions.RayTaskError as error:
            task.future.set_exception(error.cause)
        except self._ray.exceptions.RayError as error:
            place.lost(actor)
            task.losses += 1
            if task.losses < LOSSES and not self._closing:
                log.warning("problem %s is redone: its actor was lost", task.problem.id)
                self._tasks.put(task)
            else:
                task.future.set_exception(EngineDied(f"problem {task.problem.id}: {error}"))

    def _give_up(self, error: Exception) -> None:
        """A place less; without any, whoever waits is told why."""
        with self._lock:
            self._serving -= 1
            if self._serving:
                log.warning("an actor is given up: %s", error)
                return
        _settle(self._begun, error)
        while (task := self._tasks.get()) is not None:
            _settle(task.future, error)


def _settle(future: Future[Any], error: Exception | None = None) -> None:
    """Ends the future, unless it has ended."""
    with suppress(InvalidStateError):
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


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
