"""A problem set solved by actors on a Ray cluster: one for each GPU or tensor-parallel group.

Problems are handed out one by one, to whichever actor has room. A problem that an actor was at
when it was lost goes to the next that is free, and a new actor takes its place; Ray's own restarts
would bind the problem to a machine that may not come back. Samples depend on the problem and its
seed alone, so who solves it makes no difference.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimo_submit.cards import load_card
from aimo_submit.config import Config
from aimo_submit.errors import EngineDied, UserError, need
from aimo_submit.evaluate.runner import Job, Solutions
from aimo_submit.records import Problem, Solution
from aimo_submit.start import start_solver

log = logging.getLogger(__name__)

LOCAL = "local"  # a cluster of this machine alone, for as long as the run takes
LOSSES = 3  # of actors with the same problem: then it is no accident
LOOK_S = 0.5  # from one look at the actors that are loading to the next
CALL_S, CLOSE_S = 5.0, 30.0


class RemoteSolver:
    """A solver in an actor's process; `start` loads its model and returns the process's id."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def start(self) -> int:
        self._solver = start_solver(self._config, load_card(self._config.model)).load()
        return os.getpid()

    def solve(self, problem: Problem, seed: int) -> Solution:
        return self._solver.submit(problem, seed).result()

    def close(self) -> None:
        self._solver.close()


class Actors:
    """Solvers on a cluster, `at_once` problems in each; entering it waits for the first of them.

    `pids` has each actor whose model is loaded, with its process.
    """

    def __init__(
        self,
        config: Config,
        *,
        address: str = LOCAL,
        actors: int | None = None,
        at_once: int = 1,
        solver: type[Any] = RemoteSolver,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = ray = need("ray", "ray")
        self._ours = not ray.is_initialized()
        if self._ours:
            connect(ray, address)
        share = share_of(ray.cluster_resources(), config, actors)
        size = {"num_cpus": share.cpus, "num_gpus": share.gpus, "max_concurrency": at_once + 1}
        self._solver, self._config = ray.remote(solver).options(**size), share.of(config)
        self._actors, self._at_once = share.actors, at_once
        self._pool = ray.util.ActorPool([])  # of an actor and a number for each problem at once
        self._loading: dict[Any, Any] = {}  # Ray's reference to its start -> the actor
        self._busy: dict[Job, tuple[Any, Any]] = {}  # the actor, and the reference to its answer
        self.pids: dict[Any, int] = {}

    def __enter__(self) -> Actors:
        try:
            for _ in range(self._actors):
                self._hire()
            self.wait_for(1)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the actors, whether they listen or not, and the cluster if it was made for them."""
        with suppress(Exception):  # their processes may be gone
            ends = [actor.close.remote() for actor in self.pids]
            self._ray.wait(ends, num_returns=len(ends), timeout=CLOSE_S)
        for actor in (*self.pids, *self._loading.values()):
            self._ray.kill(actor)
        if self._ours:
            self._ray.shutdown()

    def wait_for(self, actors: int) -> None:
        """Waits until so many have loaded, or none is loading any more."""
        while len(self.pids) < actors and self._loading:
            self._welcome(timeout=None)

    def solve(self, jobs: deque[Job]) -> Solutions:
        """Yields solutions as they come; takes a job from the left whenever an actor has room.

        Raises what a solver raised, and EngineDied at the end if a problem ended several actors.
        """
        losses = Counter[Job]()
        while jobs or self._busy:
            self._welcome(timeout=0 if self.pids else None)
            while jobs and self._pool.has_free():
                self._pool.submit(self._begin, jobs.popleft())
            try:
                solution: Solution = self._pool.get_next_unordered(timeout=LOOK_S)
            except self._ray.exceptions.RayError:
                job = self._lost()
                losses[job] += 1
                if losses[job] < LOSSES:
                    log.warning("problem %s is redone: its actor was lost", job[0].id)
                    jobs.append(job)  # what else there is first: it may be to blame
            except TimeoutError:  # nothing yet
                pass
            else:
                del self._busy[solution.problem, solution.seed]
                yield solution
        if ruinous := [job[0].id for job, times in losses.items() if times == LOSSES]:
            raise EngineDied(f"problem {', '.join(ruinous)}: {LOSSES} actors were lost with it")

    def _begin(self, place: tuple[Any, int], job: Job) -> Any:
        answer = place[0].solve.remote(*job)
        self._busy[job] = place[0], answer
        return answer

    def _lost(self) -> Job:
        """Finds a problem whose solving has failed; raises what its solver raised itself."""
        for job, (actor, answer) in self._busy.items():
            try:
                self._ray.get(answer, timeout=0)
            except self._ray.exceptions.GetTimeoutError:  # under way
                continue
            except self._ray.exceptions.RayTaskError as error:
                del self._busy[job]
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                del self._busy[job]
                if isinstance(error, self._ray.exceptions.ActorDiedError):
                    self._replace(actor)
                return job
        raise EngineDied("an actor was lost with no problem")

    def _hire(self) -> None:
        actor = self._solver.remote(self._config)
        self._loading[actor.start.remote()] = actor

    def _replace(self, dead: Any) -> None:
        """Hires another actor for one that has died, unless that has been done."""
        if self.pids.pop(dead, None) is not None:
            for place in list(iter(self._pool.pop_idle, None)):
                if place[0] != dead:
                    self._pool.push(place)
            self._hire()

    def _welcome(self, timeout: float | None) -> None:
        """Puts an actor to work whose model is loaded; raises what kept the last one from it."""
        for start in self._ray.wait(list(self._loading), timeout=timeout)[0]:
            actor = self._loading.pop(start)
            try:
                self.pids[actor] = self._ray.get(start)
            except self._ray.exceptions.RayError as error:
                if not self.pids and not self._loading:
                    raise getattr(error, "cause", None) or EngineDied(str(error)) from error
                log.warning("an actor is given up: %s", error)
                continue
            for number in range(self._at_once):
                self._pool.push((actor, number))


@dataclass(frozen=True, slots=True)
class Share:
    """How many actors there are, and what each has of the cluster."""

    actors: int
    cpus: float
    gpus: int

    def of(self, config: Config) -> Config:
        """Returns the settings for one actor: it keeps no more threads busy than it has CPUs."""
        threads, model = max(1, int(self.cpus)), config.model
        own = {"threads": threads} if config.engine == "transformers" else {}
        return replace(
            config,
            model=str(Path(model).resolve()) if model.endswith(".toml") else model,
            engine_options={**own, **config.engine_options},
            sandbox_workers=config.sandbox_workers or threads,
        )


def share_of(resources: Mapping[str, float], config: Config, actors: int | None) -> Share:
    """Divides a cluster with those resources; `actors` None: all that fit, without GPUs one a node.

    Raises UserError where there are not GPUs enough.
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


def connect(ray: Any, address: str) -> None:
    """Joins the cluster at that address; raises UserError where there is none."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdigit():  # Ray itself would try for minutes where nobody listens
            socket.create_connection((host, int(port)), CALL_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"no Ray cluster at {address} ({reason}); start one with `ray start --head` and give "
            "its address, or --ray alone for this machine"
        ) from error
