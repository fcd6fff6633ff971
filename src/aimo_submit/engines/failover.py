"""An engine made of engines: a request that loses its engine is asked again, of another.

Every engine of a run is behind this: one, several replicas, several servers. The completion that
was lost is asked for again with the same prompt and seed, so a sample goes on from its last round.
What ends the waiting is the caller's deadline, which cancels the call.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

from aimo_submit.engines import Engine, Sampling, Starter
from aimo_submit.engines.replica import Patience, Replica
from aimo_submit.errors import EngineDied
from aimo_submit.records import Completion
from aimo_submit.timeout import timeout

log = logging.getLogger(__name__)

DEATHS = 3  # engines that may die under one request: it may be what kills them
GIVE_UP_S = 600.0  # without any engine, after which requests fail at once
_HOMES = 8192  # samples whose engine is remembered


class Failover:
    """An engine that outlives the engines it is made of."""

    def __init__(self, starters: Sequence[Starter], patience: Patience) -> None:
        self._changed = asyncio.Event()
        self.replicas = [Replica(start, patience, self._note) for start in starters]
        self._homes: OrderedDict[int, Replica] = OrderedDict()
        self._down_since: float | None = None
        self._closed = False

    @classmethod
    async def start(cls, starters: Sequence[Starter], patience: Patience | None = None) -> Failover:
        """Starts all engines and waits for one; where none starts, raises the first's error."""
        failover = cls(starters, patience or Patience())
        replicas = failover.replicas
        for replica in replicas:
            replica.open()
        try:
            await failover._until(lambda: all(replica.failure for replica in replicas))
            if not failover._up:
                raise next(replica.failure for replica in replicas if replica.failure)
        except BaseException:
            await failover.aclose()
            raise
        for replica in replicas:
            if replica.failure:
                log.warning("going on without one engine: %s", replica.failure)
        return failover

    @property
    def context(self) -> int:
        return min(engine.context for engine in self._engines)

    @property
    def running(self) -> int:
        return sum(r.engine.running for r in self.replicas if r.ready and r.engine)

    @property
    def drawn(self) -> int:
        return sum(engine.drawn for engine in self._engines)

    @property
    def kv_tokens(self) -> int:
        """Tokens that the caches of all engines hold; 0 where one does not tell."""
        held = [int(getattr(engine, "kv_tokens", 0)) for engine in self._engines]
        return sum(held) if all(held) else 0

    @property
    def _engines(self) -> list[Engine]:
        return [replica.engine for replica in self.replicas if replica.engine]

    def encode(self, text: str, *, prompt: bool = False) -> list[int]:
        return self._engines[0].encode(text, prompt=prompt)

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """Completes the prompt, whatever becomes of the engine meanwhile."""
        for _ in range(DEATHS - 1):
            replica = await self._home(sampling.sample)
            try:
                return await replica.complete(prompt, sampling)
            except EngineDied:
                continue
        return await (await self._home(sampling.sample)).complete(prompt, sampling)

    async def aclose(self) -> None:
        """Ends all engines; what is in flight fails."""
        self._closed = True
        self._note()
        await asyncio.gather(*(replica.aclose() for replica in self.replicas))

    async def _home(self, sample: int) -> Replica:
        """Returns the replica of the sample's last round, else the one with the fewest requests."""
        await self._engine_up()
        home = self._homes.get(sample)
        if home is None or not home.ready:
            home = min((p for p in self.replicas if p.ready), key=lambda replica: replica.size)
        if sample:
            self._homes[sample] = home
            self._homes.move_to_end(sample)
        if len(self._homes) > _HOMES:
            self._homes.popitem(last=False)
        return home

    async def _engine_up(self) -> None:
        """Waits for an engine; raises EngineDied once there has been none for GIVE_UP_S."""
        since, now = self._down_since, asyncio.get_running_loop().time()
        try:
            async with timeout(None if since is None else since + GIVE_UP_S - now):
                await self._until(lambda: self._closed)
        except TimeoutError:
            why = next((str(p.failure) for p in self.replicas if p.failure), "none came up")
            raise EngineDied(f"and for {GIVE_UP_S:.0f} s there was no other: {why}") from None
        if self._closed:
            raise EngineDied("it was closed")

    async def _until(self, true: Callable[[], bool]) -> None:
        """Waits until an engine is up, or that is true."""
        while not (self._up or true()):
            await self._changed.wait()

    @property
    def _up(self) -> bool:
        return any(replica.ready for replica in self.replicas)

    def _note(self) -> None:
        """Wakes those who wait for a change."""
        if self._up:
            self._down_since = None
        elif self._down_since is None:
            self._down_since = asyncio.get_running_loop().time()
        self._changed.set()
        self._changed = asyncio.Event()
