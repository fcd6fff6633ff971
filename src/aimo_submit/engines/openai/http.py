"""The HTTP interface of a completions server: what it lists, what it streams, how it fails.

aiohttp: a streamed event costs 55 microseconds of CPU, with httpx 120.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from aimo_submit.errors import UserError
from aimo_submit.timeout import timeout

CONNECT_S = 10.0
_LINE = 1 << 22  # bytes: vLLM's first one repeats the prompt's tokens


class Trouble(Exception):
    """The server failed this request; another try may go well."""


class Busy(Trouble):
    """The server asks to be left alone for a while."""


@dataclass(slots=True)
class Reply:
    """What a server has streamed of one completion."""

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
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            connector=aiohttp.TCPConnector(limit=0),
            read_bufsize=_LINE,
        )

    async def models(self) -> list[dict[str, Any]]:
        """The models it serves. A server that does not answer is a `UserError`."""
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
        """The events of a completion; closing the generator closes the connection."""
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
    """Returns for a success; says whose fault anything else is."""
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
