"""One call, `predict`, over gRPC: polars series there, a frame or an error back."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import polars as pl

ADDRESS = "127.0.0.1:50051"
METHOD = "/lookalike.Relay/predict"
START_S = 15 * 60.0  # for the server to be up


def pack(frame: pl.DataFrame) -> bytes:
    """The frame as bytes."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


def unpack(data: bytes) -> pl.DataFrame:
    """The frame that was packed."""
    return pl.read_ipc(io.BytesIO(data))


class InferenceServer:
    """Answers a gateway by calling a function."""

    gateway: Callable[[tuple[str, ...]], Any]

    def __init__(self, predict: Callable[..., Any]) -> None:
        def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
            return pack(predict(*unpack(data).get_columns()))  # an error fails the call

        handler = grpc.unary_unary_rpc_method_handler(answer)
        service, method = METHOD.strip("/").split("/")
        self._server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )

    def serve(self) -> None:
        """Serves until the process ends, if this is the competition's rerun."""
        assert self._server.add_insecure_port(ADDRESS)
        self._server.start()
        if os.environ.get("KAGGLE_IS_COMPETITION_RERUN"):
            self._server.wait_for_termination()

    def run_local_gateway(self, data_paths: tuple[str, ...]) -> None:
        """Serves a gateway in this process."""
        self.serve()
        type(self).gateway(data_paths).run()
        self._server.stop(0)


class Gateway:
    """Asks for each row of test.csv, and writes submission.parquet into the working directory."""

    answer_s: float | None = None
    shuffle = False

    def __init__(self, data_paths: tuple[str, ...]) -> None:
        self._path = data_paths[0]

    def run(self) -> None:
        """Asks for every problem."""
        rows = pl.read_csv(self._path)
        if self.shuffle:
            rows = rows.sample(fraction=1.0, shuffle=True)
        with grpc.insecure_channel(ADDRESS) as channel:
            grpc.channel_ready_future(channel).result(START_S)
            ask = channel.unary_unary(METHOD)
            slices = enumerate(rows.iter_slices(1))
            answers = [self._ask(ask, row, first=k == 0) for k, row in slices]
        pl.concat(answers).write_parquet("submission.parquet")

    def _ask(self, ask: Callable[..., bytes], row: pl.DataFrame, *, first: bool) -> pl.DataFrame:
        given = unpack(ask(pack(row), timeout=None if first else self.answer_s))
        if given.shape != (1, 2) or given.columns != ["id", "answer"]:
            raise ValueError(f"invalid answer: {given}")
        return given.with_columns(row["id"])
