"""The inference server that a notebook makes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from kaggle_evaluation.core.base_gateway import BaseGateway
from kaggle_evaluation.core.relay import GRPC_PORTS, define_server


class InferenceServer:
    """Answers a gateway by calling a function."""

    gateway: type[BaseGateway]
    ports: Sequence[int] = GRPC_PORTS
    plain_functions = True

    def __init__(self, predict: Callable[..., Any]) -> None:
        if self.plain_functions and not isinstance(predict, FunctionType):
            raise ValueError(f"Endpoint listeners must be functions, got {type(predict)}")
        self._server, self.port = define_server(predict, self.ports)

    def serve(self) -> None:
        """Serves until the process ends, if this is the competition's rerun."""
        self._server.start()
        if os.environ.get("KAGGLE_IS_COMPETITION_RERUN"):
            self._server.wait_for_termination()

    def run_local_gateway(self, data_paths: tuple[str, ...]) -> None:
        """Serves a gateway in this process."""
        self._server.start()
        try:
            self.gateway(data_paths).run()
        finally:
            self._server.stop(0)
