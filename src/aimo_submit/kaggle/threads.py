"""Threads that may be left behind, and the age of this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def background(work: Callable[[], T]) -> Future[T]:
    """The result to come of work in a thread that may be left behind."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # SystemExit too: it is for the caller to see
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="gateway").start()
    return future


def process_age_s(most_s: float) -> float:
    """Seconds since this process started; 0 where that is unknown, or more than is plausible."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up_s = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    age_s = up_s - started / os.sysconf("SC_CLK_TCK")
    return age_s if 0 <= age_s <= most_s else 0.0
