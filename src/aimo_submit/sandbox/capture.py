"""The output of a block: the start and the end are kept, the middle is counted."""

from __future__ import annotations

import os

CHUNK = 65_536


class Capture:
    """Keeps half of `most` bytes from the start and half from the end."""

    def __init__(self, most: int) -> None:
        self.half = most // 2
        self.head = bytearray()
        self.tail = bytearray()
        self.total = 0

    def read(self, fd: int) -> bool:
        """Takes what the descriptor has now, once; False at its end."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return True
        self.add(data)
        return bool(data)

    def drain(self, fd: int) -> None:
        """Takes all that is left; nobody writes any more."""
        before = -1
        while before != self.total:
            before = self.total
            self.read(fd)

    def add(self, data: bytes) -> None:
        """Appends the data."""
        self.total += len(data)
        room = self.half - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        if len(self.tail) > self.half:
            del self.tail[: -self.half]

    def text(self, note: str = "") -> str:
        """What was kept, the cut marked, the note on a line of its own."""
        cut = self.total - len(self.head) - len(self.tail)
        if cut:
            parts = [_decoded(self.head), f"\n... [{cut} bytes cut] ...\n", _decoded(self.tail)]
        else:
            parts = [_decoded(self.head + self.tail)]
        text = "".join(parts)
        if not note:
            return text
        return f"{text}\n{note}\n" if text and not text.endswith("\n") else f"{text}{note}\n"


def _decoded(data: bytearray) -> str:
    return data.decode("utf-8", errors="replace")
