"""One call, `predict`, over gRPC: polars series there, a frame or an error back."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import polars as pl

METHOD = "/lookalike.Relay/predict"
GRPC_PORTS = [50051, *range(60053, 60063)]
STARTUP_LIMIT_SECONDS = 15 * 60.0  # for the server to be up
PAUSE_S = 0.1
_AGAIN = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _AGAIN}]})),
]


def pack(frame: pl.DataFrame) -> bytes:
    """The frame as bytes."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


def unpack(data: bytes) -> pl.DataFrame:
    """The frame that was packed."""
    return pl.read_ipc(io.BytesIO(data))


class Client:
    """Asks the server at an address, at the first of the ports where it is found."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ports: Sequence[int] = GRPC_PORTS
        self.endpoint_deadline_seconds = 3600.0
        self._ask: Callable[..., bytes] | None = None

    def send(self, row: pl.DataFrame) -> pl.DataFrame:
        """The server's answer to the row; the first may take any time."""
        if self._ask:
            return unpack(self._ask(pack(row), timeout=self.endpoint_deadline_seconds))
        until = time.monotonic() + STARTUP_LIMIT_SECONDS
        while time.monotonic() < until:
            for port in self.ports:
                channel = grpc.insecure_channel(f"{self.address}:{port}", options=_OPTIONS)
                ask = channel.unary_unary(METHOD)
                try:
                    answer = ask(pack(row))
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    channel.close()
                else:
                    self._ask = ask
                    return unpack(answer)
                socket.gethostbyname(self.address)  # raises where the other container is gone
                time.sleep(PAUSE_S)
        raise RuntimeError(f"Failed to connect to server after {STARTUP_LIMIT_SECONDS} seconds")


def define_server(predict: Callable[..., Any], ports: Sequence[int]) -> tuple[Any, int]:
    """A server with one worker that answers by the function, and its port."""

    def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
        return pack(predict(*unpack(data).get_columns()))  # an error fails the call

    handler = grpc.unary_unary_rpc_method_handler(answer)
    service, method = METHOD.strip("/").split("/")
    server = grpc.server(ThreadPoolExecutor(1), options=_OPTIONS)
    generic = grpc.method_handlers_generic_handler(service, {method: handler})
    server.add_generic_rpc_handlers((generic,))
    for port in ports[:-1]:
        with suppress(RuntimeError):  # it is taken
            server.add_insecure_port(f"[::]:{port}")
            return server, port
    server.add_insecure_port(f"[::]:{ports[-1]}")
    return server, ports[-1]
