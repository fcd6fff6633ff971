"""The gateway: asks for each row of test.csv, and leaves the submission and, in a rerun, a result.

`IS_RERUN` is read when this is imported: by then the gateway's container has its variables.
"""

from __future__ import annotations

import enum
import json
import os
from pathlib import Path

import grpc
import polars as pl

from kaggle_evaluation.core.relay import Client

IS_RERUN = os.getenv("KAGGLE_IS_COMPETITION_RERUN") is not None


class GatewayRuntimeErrorType(enum.Enum):
    """Kinds of errors that a gateway reports."""

    UNSPECIFIED = 0
    SERVER_NEVER_STARTED = 1
    SERVER_CONNECTION_FAILED = 2
    SERVER_RAISED_EXCEPTION = 3
    SERVER_MISSING_ENDPOINT = 4
    GATEWAY_RAISED_EXCEPTION = 5
    INVALID_SUBMISSION = 6
    GRPC_DEADLINE_EXCEEDED = 7


class GatewayRuntimeError(Exception):
    """The run ends without a submission."""

    def __init__(self, kind: str, details: str) -> None:
        super().__init__(f"{kind}: {details}")
        self.type, self.details = GatewayRuntimeErrorType[kind], details


class BaseGateway:
    """Writes into the working directory."""

    answer_s = 9 * 3600.0
    late = "GRPC_DEADLINE_EXCEEDED"
    refuses_wrong_ids = False

    def __init__(self, data_paths: tuple[str, ...]) -> None:
        self._path = data_paths[0]
        self.client = Client("inference_server" if IS_RERUN else "localhost")
        self.client.endpoint_deadline_seconds = self.answer_s

    def run(self) -> None:
        """Asks for every problem, in a new order each time."""
        error = None
        try:
            rows = pl.read_csv(self._path).sample(fraction=1.0, shuffle=True)
            answers = [self._ask(row) for row in rows.iter_slices(1)]
            pl.concat(answers).write_parquet("submission.parquet")
        except GatewayRuntimeError as refused:
            error = refused
        except Exception as other:
            error = GatewayRuntimeError("GATEWAY_RAISED_EXCEPTION", repr(other))
        if IS_RERUN:
            self._write_result(error)
        elif error:
            raise error

    def _write_result(self, error: GatewayRuntimeError | None) -> None:
        result: dict[str, object] = {"Succeeded": error is None}
        if error:
            kind = {"ErrorType": error.type.value, "ErrorName": error.type.name}
            result |= kind | {"ErrorDetails": error.details[:8000]}
        Path("result.json").write_text(json.dumps(result))

    def _ask(self, row: pl.DataFrame) -> pl.DataFrame:
        try:
            given = self.client.send(row)
        except (RuntimeError, OSError) as error:  # gaierror: no such host
            raise GatewayRuntimeError("SERVER_NEVER_STARTED", str(error)) from None
        except grpc.RpcError as error:
            raise GatewayRuntimeError(self._kind(error), str(error.details())) from None
        if given.shape != (1, 2) or given.columns != ["id", "answer"]:
            raise GatewayRuntimeError("INVALID_SUBMISSION", f"invalid answer: {given}")
        if self.refuses_wrong_ids and not given["id"].equals(row["id"]):
            raise GatewayRuntimeError("INVALID_SUBMISSION", "invalid values for id")
        return given.with_columns(row["id"])

    def _kind(self, error: grpc.RpcError) -> str:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return self.late
        called = "Exception calling application" in str(error.details())
        return "SERVER_RAISED_EXCEPTION" if called else "SERVER_CONNECTION_FAILED"
