"""Any OpenAI-compatible completions server: `vllm serve`, SGLang, llama.cpp, a cluster.

A prompt is sent as tokens and its completion is streamed, so that closing the connection ends
the server's work. vLLM returns the tokens it drew and takes the stop strings; for a server that
returns none, the text is cut here at a stop string and only that completion is encoded anew.
`mean_logprob` is the server's: vLLM's own default leaves temperature and top_p out, which
`--logprobs-mode processed_logprobs` mends; 0 where a server gives none.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from aimo_submit.engines import InFlight, Sampling, Starter, room
from aimo_submit.engines.tokenizer import Tokens
from aimo_submit.errors import EngineDied, UserError
from aimo_submit.records import Completion, Finish
from aimo_submit.timeout import timeout
from aimo_submit.toml import checked

BASE_URL = "http://127.0.0.1:8000/v1"
PROBE_S = 120.0  # what a busy server may take for one token
TRIES = 3  # of a request that fails while its server answers
PAUSES_S = (0.5, 8.0)  # before another try: the first, and the longest


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `OpenAIEngine.start`."""

    base_url: str = BASE_URL
    model: str | None = None  # as the server calls it; None: the first it lists
    api_key_env: str | None = None  # the environment variable that holds the key
    context: int | None = None  # tokens; None: as the server says, else the model's folder


def starters(path: Path, options: Mapping[str, Any]) -> list[Starter]:
    """Returns a starter for each of the servers in `base_url`, one or a list of them."""
    urls = options.get("base_url", BASE_URL)
    one = [urls] if isinstance(urls, str) else list(urls)
    if not one:
        raise UserError(f"base_url is empty; name a server, such as {BASE_URL}")
    return [partial(OpenAIEngine.start, path, **{**options, "base_url": url}) for url in one]


class OpenAIEngine:
    """Completes prompts on one server."""

    def __init__(self, server: Server, model: str, tokens: Tokens, context: int) -> None:
        self._server, self._model, self._tokens = server, model, tokens
        self._context, self._drawn, self._in_flight = context, 0, InFlight()
        self._exact = False  # the server returns the tokens it drew

    @classmethod
    async def start(cls, path: Path, **options: Any) -> OpenAIEngine:
        """Connects to the server and has it complete a first token; the folder tokenises."""
        chosen = checked(Options, "engine_options", options)
        server = Server(chosen.base_url, _key(chosen.api_key_env))
        try:
            model = _listed(server.url, await server.models(), chosen.model)
            tokens = await asyncio.to_thread(Tokens, path)
            context = chosen.context or model.get("max_model_len") or _window(path)
            engine = cls(server, model["id"], tokens, int(context))
            await engine._probe()
        except BaseException:
            await server.aclose()
            raise
        return engine

    @property
    def context(self) -> int:
        return self._context

    @property
    def running(self) -> int:
        return len(self._in_flight)

    @property
    def drawn(self) -> int:
        return self._drawn

    def encode(self, text: str, *, prompt: bool = False) -> list[int]:
        return self._tokens.encode(text, prompt=prompt)

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """Completes the prompt; tries again where the connection is lost."""
        limit = room(prompt, sampling, self._context)
        return await self._in_flight.run(self._complete(prompt, sampling, limit))

    async def aclose(self) -> None:
        """Closes the connections; the server goes on."""
        if await self._in_flight.close():
            await self._server.aclose()

    async def _probe(self) -> None:
        """Has the server complete one token, and notes if it returns tokens; else UserError."""
        prompt = self.encode("1 + 1 =", prompt=True)
        try:
            async with timeout(PROBE_S):
                reply = await self._ask(prompt, Sampling(0.0, 1.0, 1, (), 0), 1)
        except (Trouble, TimeoutError) as error:
            url, why = self._server.url, str(error) or f"nothing in {PROBE_S:.0f} s"
            raise UserError(f"{url} completes no prompt ({why}); see that server's log") from error
        self._exact = bool(reply.tokens)

    async def _complete(self, prompt: Sequence[int], sampling: Sampling, limit: int) -> Completion:
        failures, pause = 0, PAUSES_S[0]
        while True:
            try:
                return self._completion(await self._ask(prompt, sampling, limit), sampling)
            except Trouble as error:
                trouble, failures = error, failures + (not isinstance(error, Busy))
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSES_S[1])
            try:
                await self._server.models()
            except UserError as error:
                raise EngineDied(str(error)) from trouble
            if failures >= TRIES:
                url = self._server.url
                raise UserError(f"{url} fails a request: {trouble}; see that server's log")

    async def _ask(self, prompt: Sequence[int], sampling: Sampling, limit: int) -> Reply:
        """Asks the server; ends the reply at a stop string where the server itself does not."""
        stop = () if self._exact else sampling.stop
        reply = Reply()
        async with aclosing(self._server.stream(self._body(prompt, sampling, limit))) as events:
            async for event in events:
                reply.add(event)
                self._drawn += 1
                if any(ending in reply.text for ending in stop):
                    reply.finish = "stop"
                    break  # leaving the stream closes the connection
        if not reply.finish:
            raise Trouble("the stream ended before the completion")
        return reply

    def _body(self, prompt: Sequence[int], sampling: Sampling, limit: int) -> dict[str, Any]:
        """Returns the request. Servers pass over the fields that only others know."""
        exact = {"stop": list(sampling.stop), "include_stop_str_in_output": True}
        return {
            "model": self._model,
            "prompt": list(prompt),
            "max_tokens": limit,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed & 0x7FFF_FFFF,  # llama.cpp's have 32 bits
            "stop_token_ids": list(sampling.stop_token_ids),
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "logprobs": 1,
            "return_token_ids": True,
            "stream": True,
            **(exact if self._exact else {}),
        }

    def _completion(self, reply: Reply, sampling: Sampling) -> Completion:
        mean = math.fsum(reply.logprobs) / (len(reply.logprobs) or 1)
        if self._exact:
            done = reply.finish, isinstance(reply.reason, str)
            return self._tokens.completion(reply.tokens, *done, sampling.stop, mean)
        text = self._tokens.without_eos(reply.text, sampling.stop_token_ids)
        finish = Finish(reply.finish)
        ends = [text.find(ending) + len(ending) for ending in sampling.stop if ending in text]
        if ends:
            text = text[: min(ends)]
        elif finish is Finish.STOP:
            finish = Finish.EOS
        tokens = tuple(self._tokens.encode(text))
        return Completion(self._tokens.decode(tokens), tokens, finish, mean)


def _listed(url: str, models: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    """Returns the entry of that model, or the first."""
    for model in models:
        if name in (None, model["id"]):
            return model
    served = ", ".join(str(model["id"]) for model in models) or "nothing"
    raise UserError(f"{url} serves {served}, not {name}; mend model in engine_options")


def _key(variable: str | None) -> str | None:
    if variable and not os.environ.get(variable):
        raise UserError(f"the environment has no {variable}; set it, or mend api_key_env")
    return os.environ[variable] if variable else None


def _window(path: Path) -> int:
    """Returns the tokens that the model of a folder was made for."""
    config = json.loads((path / "config.json").read_text())
    window = config.get("text_config", config).get("max_position_embeddings")
    if not window:
        raise UserError(f"{path}/config.json names no length; give context in engine_options")
    return int(window)


CONNECT_S = 10.0
_LINE = 1 << 22  # bytes: vLLM's first one repeats the prompt's tokens


class Trouble(Exception):
    """The server failed this request; another try may go well."""


class Busy(Trouble):
    """The server asks to be left alone for a while."""


@dataclass(slots=True)
class Reply:
    """A completion, as far as a server has streamed it."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: str = ""
    reason: str | int | None = None

    def add(self, event: Mapping[str, Any]) -> None:
        """Takes one event of the stream."""
        if "error" in event:
            raise Trouble(str(event["error"]))
        for choice in event.get("choices") or ():
            self.text += choice.get("text") or ""
            self.tokens += choice.get("token_ids") or ()
            drawn = (choice.get("logprobs") or {}).get("token_logprobs") or ()
            self.logprobs += [logprob for logprob in drawn if logprob is not None]
            self.finish = choice.get("finish_reason") or self.finish
            self.reason = choice.get("stop_reason") or self.reason
        if self.finish not in ("", "stop", "length"):
            raise Trouble(f"the server ended the completion by {self.finish!r}")


class Server:
    """One server's HTTP interface."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        patience = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(
            headers=headers, timeout=patience, connector=connector, read_bufsize=_LINE
        )

    async def models(self) -> list[dict[str, Any]]:
        """Returns the models it serves; raises UserError if it does not answer."""
        try:
            async with timeout(CONNECT_S), self._session.get(f"{self.url}/models") as got:
                await _accept(self.url, got)
                return list((await got.json(content_type=None))["data"])
        except (aiohttp.ClientError, OSError, Trouble) as error:
            why = str(error) or type(error).__name__
        except (ValueError, KeyError, TypeError):
            why = "it lists no models"
        remedy = "start one there, or mend base_url in engine_options"
        raise UserError(f"no completions server answers at {self.url} ({why}); {remedy}")

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yields the events of a completion; closing the generator closes the connection."""
        try:
            async with self._session.post(f"{self.url}/completions", json=body) as got:
                await _accept(self.url, got)
                async for line in got.content:
                    if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
                        yield json.loads(data)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Trouble(f"{type(error).__name__}: {error}") from error

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._session.close()


async def _accept(url: str, got: aiohttp.ClientResponse) -> None:
    """Returns for a success; raises Trouble for the server's fault, UserError for the user's."""
    if got.status == 200:
        return
    told = f"HTTP {got.status}: {(await got.text())[:300].strip()}"
    if got.status in (401, 403):
        raise UserError(f"{url} wants a key ({told}); name its variable in api_key_env")
    if got.status in (429, 503):
        raise Busy(told)
    if got.status >= 500:
        raise Trouble(told)
    raise UserError(f"{url} refuses a request ({told}); mend base_url, or the settings it names")
