"""Weights read into the page cache by many threads, while the engine's packages are imported.

An engine reads its files one after the other; a network disk such as Kaggle's gives much more to
several readers at once. Files that are cached already cost the copying only.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from aimo_submit.sandbox.linux.usage import free_memory

log = logging.getLogger(__name__)

THREADS = 8
SHARE = 0.7  # of the memory available: beyond, the first pages would go before they are used
_CHUNK = 16 << 20  # bytes that one thread reads in a row
_BUFFER = 1 << 20
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt")


def preload(folder: Path) -> int:
    """Reads the folder's weights; returns the bytes read, 0 where they would not fit the memory."""
    files = sorted(file for file in folder.glob("*") if file.suffix in _WEIGHTS)
    size = sum(file.stat().st_size for file in files)
    if size > SHARE * (free_memory() or math.inf):  # inf: the kernel does not say
        log.info("%.1f GB of weights are not preloaded: they would not fit", size / 1e9)
        return 0
    starts = ((file, at) for file in files for at in range(0, file.stat().st_size, _CHUNK))
    begun, chunks, read = time.monotonic(), deque(starts), list[int]()
    # Daemons, unlike an executor's threads: a run that fails at its start ends without them.
    readers = [
        threading.Thread(target=_drain, args=(chunks, read), daemon=True) for _ in range(THREADS)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    log.info("%.2f GB of weights preloaded in %.1f s", sum(read) / 1e9, time.monotonic() - begun)
    return sum(read)


def _drain(chunks: deque[tuple[Path, int]], read: list[int]) -> None:
    with suppress(IndexError):  # none left
        while True:
            read.append(_read(*chunks.popleft()))


def _read(file: Path, offset: int) -> int:
    """Reads a chunk; a file that cannot be read is the engine's to complain about."""
    buffer, done = bytearray(_BUFFER), 0
    with suppress(OSError), file.open("rb", buffering=0) as opened:
        opened.seek(offset)
        while done < _CHUNK and (size := opened.readinto(buffer)):
            done += size
    return done
