"""The sandbox over thousands of mixed blocks, hostile ones among them; fails if anything grew.

`python benchmarks/soak.py [N]` runs N blocks: most do mathematics, the others fail, never end, die,
flood, fill the memory, leave daemons and files, or are cancelled. What the kit and the sandbox hold
is counted after a warm-up and at the end. Exits with 1 on a leak, or where a block ended wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from processes import descriptors, pss_mb, tree, zombies
from rich.progress import track
from rich.table import Table
from sandbox import BLOCKS, CPUS, ENDLESS, PATIENCE_S, console, output_of

from aimo_submit.records import Outcome, Scope
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.sandbox.protocol import MIB, Limits

ALLOWED_MB = 10
SHORT_S = 0.2
PLACES = 4 * CPUS  # more than the callers can ever need
MARK = f"aimo-soak-{os.getpid()}-"  # of what is left where every process may write
OPEN_TO_ALL = ("/tmp", "/var/tmp", "/dev/shm")
LITTER = f"""
import contextlib, os, pathlib
for folder in (".", *{OPEN_TO_ALL}):
    with contextlib.suppress(OSError):
        deep = pathlib.Path(folder, "{MARK}" + os.urandom(8).hex(), "a", "b")
        deep.mkdir(parents=True)
        (deep / "file").write_bytes(bytes(4096))
"""
DAEMON = """
import os, time
if not os.fork():
    os.setsid()
    if not os.fork():
        time.sleep(3600)
    os._exit(0)
os.wait()
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """Blocks of one kind, how often they come, and how they must end."""

    share: int
    ends: tuple[Outcome, ...]
    codes: tuple[str, ...]
    timeout_s: float = PATIENCE_S


KINDS = {
    "ok": Kind(80, (Outcome.OK,), BLOCKS),
    "error": Kind(4, (Outcome.ERROR,), ("1 / 0", "for", "sp.Matrix([[0]]).inv()")),
    "time-out": Kind(3, (Outcome.TIMEOUT,), ENDLESS, SHORT_S),
    "signal": Kind(3, (Outcome.KILLED,), ("import os\nos.abort()", "import os\nos.kill(0, 9)")),
    "flood": Kind(1, (Outcome.KILLED,), ("while True: print('x' * 4000)",)),
    "memory": Kind(2, (Outcome.ERROR, Outcome.KILLED), ("a = [bytes(10**8) for _ in range(99)]",)),
    "daemon": Kind(2, (Outcome.OK,), (DAEMON,)),
    "litter": Kind(2, (Outcome.OK,), (LITTER,)),
    "cancelled": Kind(2, (), ("while True: pass", DAEMON + "time.sleep(60)", BLOCKS[0])),
    "live": Kind(1, (), ()),
}


async def soak(blocks: int) -> tuple[dict[str, tuple[float, float]], Counter[str]]:
    """What was in use before and after the blocks; and what did not end as it must."""
    surprises: Counter[str] = Counter()
    async with ForkServer(limits=Limits(memory_bytes=512 * MIB)) as server:
        first = server.pid
        await mixed(server, range(max(100, blocks // 20)), surprises)
        before = await in_use(server)
        await mixed(server, track(range(blocks), "soak", console=console), surprises)
        after = await in_use(server)
        surprises["the fork server died"] += server.pid != first
    return {name: (before[name], after[name]) for name in before}, +surprises


async def mixed(server: ForkServer, numbers: Iterable[int], surprises: Counter[str]) -> None:
    """Runs a block for each number, more at a time than there are workers."""
    queue = iter(numbers)

    async def caller() -> None:
        for number in queue:
            dice = random.Random(number)
            name = dice.choices(list(KINDS), [kind.share for kind in KINDS.values()])[0]
            if trouble := await one_block(server, name, dice):
                surprises[f"{name}: {trouble}"] += 1

    await asyncio.gather(*(caller() for _ in range(2 * CPUS)))


async def one_block(server: ForkServer, name: str, dice: random.Random) -> str:
    """Runs a block of the kind; what it did that it must not, if anything."""
    if name == "live":
        return await live_block(server)
    kind = KINDS[name]
    run = server.run(dice.choice(kind.codes), kind.timeout_s)
    if name == "cancelled":
        with suppress(TimeoutError):
            await asyncio.wait_for(run, dice.uniform(0, SHORT_S))
        return ""
    done = await run
    return "" if done.outcome in kind.ends else repr(done)[:300]


async def live_block(server: ForkServer) -> str:
    """Runs a session that times out midway and must still know its state."""
    session = server.session(Scope.LIVE)
    await session.run("x = 20", PATIENCE_S)
    stuck = await session.run("x = 0\nwhile True: pass", SHORT_S)
    done = await session.run("x += 1\nprint(x)", PATIENCE_S)
    await session.aclose()
    right = stuck.outcome == Outcome.TIMEOUT and done.output == "21\n"
    return "" if right else f"{stuck}, then {done}"[:300]


async def in_use(server: ForkServer) -> dict[str, float]:
    """What the kit and the sandbox's processes hold when no block runs."""
    root = await every_place(server)
    gc.collect()
    kit, boxes = {os.getpid()}, tree([server.pid])
    everyone = tree(kit)
    views = [Path("/proc", str(pid), f"root{root}") for pid in boxes]
    return {
        "kit, MB": pss_mb(kit),
        "sandbox, MB": pss_mb(boxes),
        "kit, descriptors": descriptors(kit),
        "sandbox, descriptors": descriptors(boxes),
        "processes": len(everyone),
        "zombies": zombies(everyone),
        "entries in its folder": sum(len(list(view.rglob("*"))) for view in views),
        "files left outside": sum(len(litter(pid)) for pid in everyone),
    }


async def every_place(server: ForkServer) -> Path:
    """The sandbox's folder, once all places were taken and given back, for an equal count."""
    sessions = [server.session(Scope.LIVE) for _ in range(PLACES)]  # each holds a place
    code = "import os\nprint(os.getcwd())"
    homes = await asyncio.gather(*(session.run(code, PATIENCE_S) for session in sessions))
    await asyncio.gather(*(session.aclose() for session in sessions))
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
    return Path(output_of(homes[0]).strip()).parent


def litter(pid: int) -> list[Path]:
    """What blocks left where every process may write, as the process sees it."""
    folders = (Path("/proc", str(pid), f"root{folder}") for folder in OPEN_TO_ALL)
    return [path for folder in folders for path in folder.glob(f"{MARK}*")]


def main() -> int:
    """1 where something leaked or ended wrongly, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("blocks", type=int, nargs="?", default=10_000, metavar="N", help="(10000)")
    blocks = parser.parse_args().blocks
    if blocks < 1:
        parser.error("N must be at least 1")
    uses, surprises = asyncio.run(soak(blocks))
    for folder in litter(os.getpid()):
        shutil.rmtree(folder)
    table = Table("", "before", "after", "grew", title=f"{blocks:,} mixed blocks, {CPUS} workers")
    leaks = 0
    for name, (before, after) in uses.items():
        leaked = after - before > (ALLOWED_MB if "MB" in name else 0)
        table.add_row(name, f"{before:.0f}", f"{after:.0f}", "LEAKED" if leaked else "no")
        leaks += leaked
    console.print(table)
    for surprise, times in surprises.most_common(10):
        console.print(f"{times} x {surprise}", markup=False)
    return 1 if leaks or surprises else 0


if __name__ == "__main__":
    sys.exit(main())
