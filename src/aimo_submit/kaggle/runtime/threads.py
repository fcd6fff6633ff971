"""Threads that may be left behind, and the age of this process."""

from __future__ import annotations

import os
import threading
from _thread import start_new_thread
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
BEGIN_S = 5.0  # without memory, a thread may end before it has begun


def background(work: Callable[[], T]) -> Future[T]:
    """The result to come of work in a thread that may be left behind; cancelled if none begins.

    `threading.Thread` waits until the thread runs: for ever, where there is no memory for that.
    """
    future: Future[T] = Future()
    began = threading.Event()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        began.set()
        try:
            future.set_result(work())
        except BaseException as error:  # SystemExit too: it is for the caller to see
            future.set_exception(error)

    start_new_thread(run, ())
    if not began.wait(BEGIN_S):
        future.cancel()
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
