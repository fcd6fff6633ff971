"""Length-prefixed JSON between the kit and the sandbox's processes.

Nothing that a block writes is ever parsed: its output travels as one string of a message.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

from aimo_submit.errors import UserError

LENGTH = struct.Struct(">I")
WORKER = struct.Struct(">I")  # to the fork server: with a descriptor, a warden to fork; else to end
STATUS = struct.Struct(">i")  # from a live interpreter: how a block ended
CANCEL = LENGTH.pack(0)  # an empty frame


MIB = 2**20


def pack(message: dict[str, Any]) -> bytes:
    """The message as one frame."""
    body = json.dumps(message).encode()
    return LENGTH.pack(len(body)) + body


def receive(sock: socket.socket) -> dict[str, Any] | None:
    """The next message; empty for CANCEL, None where the other side has closed."""
    head = _exactly(sock, LENGTH.size)
    if head is None:
        return None
    size = LENGTH.unpack(head)[0]
    body = _exactly(sock, size) if size else b"{}"
    return None if body is None else dict(json.loads(body))


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


@dataclass(frozen=True, slots=True)
class Limits:
    """Per block; memory counts from what the preloaded libraries already take."""

    memory_bytes: int = 2048 * MIB  # address space of each process, and all of them together
    stack_bytes: int = 112 * MIB  # more would need the limit raised before exec
    output_bytes: int = 32_000  # kept: half from the start, half from the end
    flood_bytes: int = 16 * MIB  # a block that prints more than this is killed
    file_bytes: int = 64 * MIB  # each file, and all files of the block together
    open_files: int = 256
    processes: int = 64  # threads too; ending a few hundred takes a second
    queue_s: float = 60.0  # a block that waited this long for a free worker does not run

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value <= 0:
                raise UserError(f"Limits.{name} is {value}: give a positive number")
