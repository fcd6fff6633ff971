"""The self-test's promises: kept by the sandbox here, and seen to be broken where it is open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection

import pytest

from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.sandbox.linux.layers import NAMES
from aimo_submit.sandbox.selftest import promises

# Those that any user's block breaks where no layer is on.
BREAKABLE = {
    "no network",
    "no file of this user can be read",
    "no file of this user can be changed",
    "the kit's answers cannot be imported",
    "the kit's files cannot be read",
    "no other process can be signalled",
}
if os.geteuid():  # root's capabilities close its own to a root that has given them up
    BREAKABLE.add("the kit's environment cannot be read")
else:
    BREAKABLE.add("the libraries cannot be changed")


def broken(without: Collection[str] = ()) -> set[str]:
    """The promises that do not hold; they are named alike whatever holds."""

    async def tried() -> set[str]:
        async with ForkServer(workers=1, without=without) as server:
            found = await promises(server)
        assert BREAKABLE < {promise.text for promise in found}
        return {promise.text for promise in found if not promise.holds}

    return asyncio.run(tried())


@pytest.mark.slow
def test_every_promise_holds_with_all_layers() -> None:
    if os.geteuid():
        pytest.skip("not every kernel gives an ordinary user all layers")
    assert broken() == set()


def test_promises_are_seen_to_be_broken_without_layers() -> None:
    """One whose attempt fails for another reason, such as a wrong name, would seem to hold."""
    assert broken(NAMES) >= BREAKABLE
