"""The sandbox, and requests in flight, on the Pythons that Kaggle's images may have."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import aimo_submit

pytestmark = pytest.mark.slow

# Without the kit's own `__init__`: nothing that has to be installed.
SCRIPT = f"""
import asyncio, sys, types
kit = sys.modules["aimo_submit"] = types.ModuleType("aimo_submit")
kit.__path__ = [{str(Path(aimo_submit.__file__).parent)!r}]
from aimo_submit.engines import InFlight, Sampling
from aimo_submit.engines.failover import Failover
from aimo_submit.engines.scripted import ScriptedEngine, StepTime
from aimo_submit.errors import EngineDied
from aimo_submit.records import Scope
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.sandbox.protocol import Limits

async def blocks():
    async with ForkServer(1, limits=Limits(queue_s=0.3)) as server:
        print((await server.run("1 + 1", 60)).output, end="")
        print((await server.run("while True: pass", 0.3)).outcome)
        sleep = server.run("import time\\ntime.sleep(60)", 60)
        waiting = asyncio.gather(sleep, server.run("1", 60))
        try:
            await asyncio.wait_for(asyncio.shield(waiting), 1)
        except asyncio.TimeoutError:
            waiting.cancel()
        session = server.session(Scope.LIVE)
        await session.run("x = 3", 60)
        print((await session.run("x", 60)).output, end="")
        print((await server.run("import aimo_submit.competition", 60)).outcome)

async def requests():
    async def start():
        return ScriptedEngine(lambda prompt, sampling: "abc", StepTime(0.01))
    engine = await Failover.start([start, start])
    print((await engine.complete([65], Sampling(0.0, 1.0, 9, (), 0))).text)
    await engine.aclose()
    for end in ("close", "cancel"):
        flight = InFlight()
        request = asyncio.ensure_future(flight.run(asyncio.sleep(60)))
        await asyncio.sleep(0.1)
        await flight.close() if end == "close" else request.cancel()
        try:
            await request
        except (EngineDied, asyncio.CancelledError) as error:
            print(type(error).__name__, len(flight))

asyncio.run(blocks())
asyncio.run(requests())
"""


def interpreter(version: str) -> str:
    """The first Python of that version that starts."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for command in (shutil.which(f"python{version}"), *map(str, pyenv)):
        if command and subprocess.run([command, "-V"], capture_output=True).returncode == 0:
            return command
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13"])
def test_blocks_and_requests_run_and_end(version: str) -> None:
    command = [interpreter(version), "-W", "error", "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    expected = ["2", "timeout", "3", "error", "abc", "EngineDied 0", "CancelledError 0"]
    assert done.stdout.split("\n")[:-1] == expected, done.stderr
