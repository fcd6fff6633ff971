"""Length-prefixed JSON between the kit and the sandbox's processes.

Nothing that a block writes is ever parsed: its output travels as one string of a message.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

LENGTH = struct.Struct(">I")
SEAT = struct.Struct(">I")  # to the fork server: with a descriptor, a warden to fork; else to end
STATUS = struct.Struct(">i")  # from a live interpreter: how a block ended
CANCEL = LENGTH.pack(0)  # an empty frame


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
