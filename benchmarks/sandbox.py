"""The sandbox against the usual ways to run a model's code, and against its own targets.

Five ways run the same 48 short blocks, asked for by 48 callers at once, in one process:

  fresh       a fresh `python3` a block, as many at a time as there are CPUs
  kernels     a pool of Jupyter kernels, one a CPU, numpy and sympy imported beforehand
  reused      a pool of worker processes that execute block after block in fresh namespaces
  ours        `ForkServer` with all its isolation layers
  ours, bare  `ForkServer` without them: the difference is what they cost

The ways take turns and the order changes, so that a drifting machine is fair to all; every way
goes before other sessions on the CPU as ours does by itself. Every way must print what `fresh`
prints. Times are as the callers see them, queueing included; CPU time is that of all processes of
a way but the caller's, read from the kernel in ticks of 10 ms; memory is proportional (PSS), at
rest and the most seen in a pass of its own. "After bad" counts the innocent blocks that come back
right after one block that redefined `sum` and one that ended its process: what is reused is the
quickest, and ruined from then on. (It also keeps sympy's caches from pass to pass.)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import io
import multiprocessing
import operator
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from subprocess import DEVNULL, PIPE
from typing import Any

from processes import cpu_s, pss_mb, tree
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from aimo_submit.records import Execution, Outcome, Scope
from aimo_submit.sandbox.client.fork_server import ForkServer
from aimo_submit.sandbox.linux import layers
from aimo_submit.sandbox.linux.processes import step_ahead

CPUS = len(os.sched_getaffinity(0))
PATIENCE_S = 60.0
BURST = 6
LIVE_S = 4.0  # of blocks in a live session
LIMIT_S = 0.5  # of the blocks that never end
PRELUDE = "import math\nimport numpy as np\nimport sympy as sp\n"
TEMPLATES = (  # each with some milliseconds of work; {k} is 0 to 3
    "print(sp.factorint(3**(41 + {k}) - 2 - {k}))",
    "x = sp.symbols('x')\nprint(sp.solve(x**2 - {k}*x - 2024, x))",
    "x, y = sp.symbols('x y')\nprint(sp.solve([x + y - {k} - 9, x - 2*y + 3], [x, y]))",
    "print(sum(n for n in range(1, 40_000) if n % 7 == {k} and n % 11 == 5))",
    "a = 1\nfor n in range(30_000):\n    a = (a * 3 + n + {k}) % 1_000_003\nprint(a % 1000)",
    "print(sum(1 for p in sp.primerange(2, 80_000) if p % 8 == 2*{k} + 1))",
    "print([(a, b) for a in range(1, 160) for b in range(a, 160)\n"
    "       if math.isqrt(a*a + b*b + {k})**2 == a*a + b*b + {k}][:5])",
    "n = np.arange(1, 150_000, dtype=np.int64)\nprint(int((n * (n + {k}) % 997 == 1).sum()))",
    "x = sp.symbols('x')\nprint(sp.Poly((x**2 + x + {k} + 1)**12).coeff_monomial(x**9))",
    "from functools import cache\n@cache\ndef f(n):\n"
    "    return n if n < 2 else (f(n - 1) + f(n - 2) + {k}) % 1000\n"
    "print(sum(f(n) * n for n in range(300)) % 1000, sp.totient(10**9 + {k}))",
    "from itertools import permutations\n"
    "print(sum(p[0] < p[2] > p[1] + {k} for p in permutations(range(8))))",
    "x = np.linspace(0, {k} + 1, 200_001)\nprint(round(float(np.sqrt(x).mean()), 6))",
)
BLOCKS = tuple(PRELUDE + t.replace("{k}", str(k)) for t in TEMPLATES for k in range(4))
ENDLESS = (
    "while True: pass",
    "sum(range(10**13))",  # inside C: no signal handler of Python's ever runs
    "import os\nfor _ in range(5):\n    if not os.fork(): os.setsid()\nwhile True: pass",
)
BAD = ("import builtins\nbuiltins.sum = lambda *_: 42", "import os\nos._exit(1)")

Run = Callable[[str], Awaitable[str]]
Samples = dict[str, list[float]]
console = Console()


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run code: a block in, what it printed out."""

    run: Run
    heads: Callable[[], Iterable[int]]  # its processes; all below them are its own too


@asynccontextmanager
async def fresh() -> AsyncIterator[Way]:
    """A new interpreter for each block."""
    free, running = asyncio.Semaphore(CPUS), set[int]()

    async def run(code: str) -> str:
        async with free:
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
            running.add(process.pid)
            output, _ = await process.communicate()
            running.discard(process.pid)
        return output.decode()

    yield Way(run, lambda: running)


@asynccontextmanager
async def kernels() -> AsyncIterator[Way]:
    """Jupyter kernels that take the blocks in turn. Raises ImportError without Jupyter."""
    import ipykernel  # noqa: F401
    from jupyter_client.manager import start_new_async_kernel

    started: list[Any] = [await start_new_async_kernel(stderr=DEVNULL) for _ in range(CPUS)]
    free: asyncio.Queue[Any] = asyncio.Queue()
    for _, client in started:
        free.put_nowait(client)

    async def run(code: str) -> str:
        messages: list[dict[str, Any]] = []
        client = await free.get()
        try:
            await client.execute_interactive(code, output_hook=messages.append, timeout=PATIENCE_S)
        finally:
            free.put_nowait(client)
        return "".join(message["content"].get("text", "") for message in messages)

    ahead = "from aimo_submit.sandbox.linux.processes import step_ahead\nstep_ahead()\n"
    await asyncio.gather(*(run(ahead + PRELUDE) for _ in started))
    try:
        yield Way(run, lambda: [manager.provisioner.pid for manager, _ in started])
    finally:
        for manager, client in started:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)


@asynccontextmanager
async def reused() -> AsyncIterator[Way]:
    """Worker processes that live on from block to block."""
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(CPUS, spawn, initializer=exec, initargs=(PRELUDE, {}))

    async def run(code: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(pool, execute, code)

    try:
        yield Way(run, lambda: [child.pid or 0 for child in multiprocessing.active_children()])
    finally:
        pool.shutdown(cancel_futures=True)


def execute(code: str) -> str:
    """What the code prints, run in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {"__name__": "__main__"})
    return printed.getvalue()


@asynccontextmanager
async def ours(without: tuple[str, ...] = ()) -> AsyncIterator[Way]:
    """The fork server."""
    async with ForkServer(without=without) as server:

        async def run(code: str) -> str:
            return output_of(await server.run(code, PATIENCE_S))

        yield Way(run, lambda: [server.pid])


def output_of(execution: Execution) -> str:
    """What a block printed that must have ended well."""
    assert execution.outcome == Outcome.OK, execution
    return execution.output


WAYS: dict[str, Callable[[], AbstractAsyncContextManager[Way]]] = {
    "fresh": fresh,
    "kernels": kernels,
    "reused": reused,
    "ours": ours,
    "ours, bare": functools.partial(ours, layers.NAMES),
}


async def measure(repeat: int) -> tuple[dict[str, Samples], Samples]:
    """The figures of every way that runs here, and those of ours that need it to be alone."""
    async with AsyncExitStack() as stack:
        ways = {}
        for name, begin in WAYS.items():
            with suppress(ImportError):  # not installed: the table says so
                ways[name] = await stack.enter_async_context(begin())
        samples = await passes(ways, repeat)
        for name, idle_ms in (await idle(ways, 2 * repeat)).items():
            samples[name] |= {"idle_ms": idle_ms, **await memory(ways[name])}
        for name, way in ways.items():
            samples[name]["right"] = [await right_after_bad(way)]
    return samples, {"live_ms": await live_ms(), "late_s": await late_s(repeat)}


async def passes(ways: dict[str, Way], repeat: int) -> dict[str, Samples]:
    """All passes' figures; the first pass of each way warms up and is not counted."""
    samples: dict[str, Samples] = {name: {} for name in ways}
    expected = (await one_pass(ways["fresh"]))[1]
    for k in track(range(repeat + 1), "passes", console=console, transient=True):
        for name in turns(ways, k):
            figures, outputs = await one_pass(ways[name])
            if outputs != expected:
                raise SystemExit(f"{name} printed something else: no comparison")
            for figure, values in figures.items() if k else ():
                samples[name].setdefault(figure, []).extend(values)
    return samples


def turns(names: Iterable[str], k: int) -> list[str]:
    """The names in the order of round k: rotated, and every second time backwards."""
    order = list(names)
    shift = k % len(order)
    return (order[shift:] + order[:shift])[:: -1 if k % 2 else 1]


async def one_pass(way: Way) -> tuple[Samples, list[str]]:
    """All blocks at once: seconds in all, of each block, CPU time a block; the outputs."""
    before, start = cpu_s(way.heads()), time.perf_counter()
    done = await asyncio.gather(*(timed(way.run, code) for code in BLOCKS))
    wall_s = time.perf_counter() - start
    cpu_ms = 1000 * (cpu_s(way.heads()) - before) / len(BLOCKS)
    figures = {"wall_s": [wall_s], "latency_s": [s for s, _ in done], "cpu_ms": [cpu_ms]}
    return figures, [output for _, output in done]


async def timed(run: Run, code: str) -> tuple[float, str]:
    """Seconds until the caller had the output, and the output."""
    start = time.perf_counter()
    output = await run(code)
    return time.perf_counter() - start, output


async def idle(ways: dict[str, Way], rounds: int) -> Samples:
    """Milliseconds of `print(1)` with nothing else going on."""
    taken_ms: Samples = {name: [] for name in ways}
    for k in range(rounds):
        for name in turns(ways, k):
            burst = [await timed(ways[name].run, PRELUDE + "print(1)") for _ in range(BURST)]
            # the first finds the caches full of another way's data
            taken_ms[name] += [1000 * seconds for seconds, _ in burst[1:]]
    return taken_ms


async def memory(way: Way) -> Samples:
    """Memory at rest, and the most during a pass that nobody times."""
    rest = most = pss_mb(tree(way.heads()))
    blocks = asyncio.ensure_future(one_pass(way))
    while not blocks.done():
        most = max(most, pss_mb(tree(way.heads())))
        await asyncio.wait([blocks], timeout=0.02)
    return {"rest_mb": [rest], "most_mb": [most]}


async def right_after_bad(way: Way) -> float:
    """The share of innocent blocks that come back right after two bad ones."""

    async def printed(code: str) -> str:
        with suppress(Exception):  # a ruined pool has many ways to say so
            return await asyncio.wait_for(way.run(code), 5)
        return ""

    for code in BAD:
        await printed(code)
    outputs = await asyncio.gather(*(printed("print(sum([1, 2]))") for _ in range(4 * CPUS)))
    return outputs.count("3\n") / len(outputs)


async def live_ms() -> list[float]:
    """Milliseconds of a block in a live session with nothing else going on."""
    taken_ms: list[float] = []
    async with ForkServer(workers=1) as server:
        session = server.session(Scope.LIVE)

        async def run(code: str) -> str:
            return output_of(await session.run(code, PATIENCE_S))

        await run("x = 0")
        until = time.perf_counter() + LIVE_S
        while time.perf_counter() < until:
            seconds, output = await timed(run, "x += 1\nprint(x)")
            taken_ms.append(1000 * seconds)
            assert output == f"{len(taken_ms)}\n", output
    return taken_ms


async def late_s(rounds: int) -> list[float]:
    """Seconds past the deadline until the caller knew, one block a CPU at a time."""
    async with ForkServer() as server:

        async def late(code: str) -> float:
            start = time.perf_counter()
            execution = await server.run(code, LIMIT_S)
            assert execution.outcome == Outcome.TIMEOUT, execution
            return time.perf_counter() - start - LIMIT_S

        await asyncio.gather(*(server.run("1", PATIENCE_S) for _ in range(CPUS)))
        seconds = []
        for code in ENDLESS * rounds:
            seconds += await asyncio.gather(*(late(code) for _ in range(CPUS)))
    return seconds


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return quantiles(values, n=100, method="inclusive")[98]


COLUMNS: tuple[tuple[str, str, Callable[[list[float]], float], str], ...] = (
    ("wall s", "wall_s", median, ".2f"),
    ("p50 s", "latency_s", median, ".2f"),
    ("p99 s", "latency_s", p99, ".2f"),
    ("CPU ms", "cpu_ms", median, ".1f"),
    ("idle ms", "idle_ms", median, ".1f"),
    ("MB", "rest_mb", max, ".0f"),
    ("most MB", "most_mb", max, ".0f"),
    ("after bad", "right", min, ".0%"),
)


def table_of_ways(ways: dict[str, Samples]) -> Table:
    """Every way's figures."""
    title = f"{len(BLOCKS)} blocks at once, {CPUS} CPUs, {len(ways['ours']['wall_s'])} runs"
    table = Table(Column("way", no_wrap=True), title=title)
    for column, *_ in COLUMNS:
        table.add_column(column, justify="right")
    for name, samples in ways.items():
        table.add_row(name, *(format(f(samples[key]), spec) for _, key, f, spec in COLUMNS))
    if "kernels" not in ways:
        table.caption = "kernels: not installed: pip install jupyter_client ipykernel"
    return table


def table_of_targets(ways: dict[str, Samples], alone: Samples) -> Table:
    """Ours against its targets; the deadline is judged by the worst block, the rest by medians."""
    fresh, full, bare = (ways[name] for name in ("fresh", "ours", "ours, bare"))
    added = {key: list(map(operator.sub, full[key], bare[key])) for key in ("idle_ms", "cpu_ms")}
    times = list(map(operator.truediv, fresh["wall_s"], full["wall_s"]))
    table = Table("figure", "median", "least", "most", "target", "", title="ours")
    for label, values, sign, bound, judge in (
        ("idle print(1), ms", full["idle_ms"], "<=", 12, median),
        ("block of a live session, ms", alone["live_ms"], "<=", 8, median),
        ("layers, idle, ms", added["idle_ms"], "<=", 5, median),
        ("layers, CPU, ms a block", added["cpu_ms"], "<=", 5, median),
        ("past the deadline, s", alone["late_s"], "<=", 0.3, max),
        ("fresh / ours, wall", times, ">=", 16, median),
    ):
        met = {"<=": operator.le, ">=": operator.ge}[sign](judge(values), bound)
        spread = (f"{f(values):.2f}" for f in (median, min, max))
        table.add_row(label, *spread, f"{sign} {bound}", "met" if met else "missed")
    return table


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, metavar="K", help="timed passes (5)")
    repeat = parser.parse_args().repeat
    if repeat < 1:
        parser.error("--repeat must be at least 1")
    step_ahead()
    try:
        ways, alone = asyncio.run(measure(repeat))
    finally:
        with suppress(OSError):  # not root, or a kernel without groups of sessions
            Path("/proc/self/autogroup").write_text("0")
    console.print(table_of_ways(ways), table_of_targets(ways, alone))


if __name__ == "__main__":
    main()
