"""What goes wrong while a notebook runs, done to it from outside: signals, limits, a full disk.

Each runs in a thread of the stage, and begins once the first answer has been given.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from aimo_submit.sandbox.linux.processes import descendants, send

LOOK_S = 0.1
PAUSED_S = 5.0
STARVED_S = 10.0
BLOCK = bytes(2**20)
_FREE = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class Scene(Protocol):
    """A notebook that is being played."""

    working: Path
    ended: threading.Event

    @property
    def kernel(self) -> int:
        """Its process id."""
        ...

    @property
    def answered(self) -> int:
        """How many problems it has answered."""
        ...

    def injected(self, what: str) -> None:
        """Takes down what has been done to it."""
        ...


def kill_sandbox(scene: Scene) -> None:
    """Kills the fork server of the sandbox after every problem."""
    for _ in answers(scene):
        for pid in fork_servers(scene):
            send(pid, signal.SIGKILL)
            scene.injected("the sandbox's fork server was killed")


def storm(scene: Scene) -> None:
    """Kills every process below the fork server, ten times a second."""
    next(answers(scene), None)
    while not scene.ended.wait(LOOK_S):
        for pid in {p for server in fork_servers(scene) for p in descendants(server)}:
            send(pid, signal.SIGKILL)
            scene.injected("the sandbox's processes are killed all the time")


def kill_engine(scene: Scene) -> None:
    """Kills the process of an engine that has one of its own: vLLM's core."""
    next(answers(scene), None)
    for pid in below(scene, b"EngineCore"):
        send(pid, signal.SIGKILL)
        scene.injected("the engine's process was killed")


def starve(scene: Scene) -> None:
    """Gives the notebook no more memory than it has, for a while."""
    if next(answers(scene), None) is None:
        return
    size = int(Path(f"/proc/{scene.kernel}/statm").read_text().split()[0])
    most = size * resource.getpagesize()
    resource.prlimit(scene.kernel, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    scene.injected(f"no memory beyond {most >> 20} MiB")
    scene.ended.wait(STARVED_S)
    with suppress(OSError):  # it has ended
        resource.prlimit(scene.kernel, resource.RLIMIT_AS, _FREE)


def fill_disk(scene: Scene) -> None:
    """Fills the disk of the working directory, until another problem has been answered."""
    coming = answers(scene)
    if next(coming, None) is None:
        return
    filler = scene.working / "filler"
    if os.path.ismount(scene.working):
        fill(filler)
        scene.injected("the disk is full")
    else:  # not ours to mount one that is small
        resource.prlimit(scene.kernel, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        scene.injected("files cannot grow")
    next(coming, None)
    filler.unlink(missing_ok=True)
    resource.prlimit(scene.kernel, resource.RLIMIT_FSIZE, _FREE)


def fill(filler: Path) -> None:
    """Writes until nothing more goes in."""
    size = len(BLOCK)
    with filler.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(BLOCK[:size])
            except OSError:  # no space left for so much
                size //= 2


def pause(scene: Scene) -> None:
    """Stops the notebook's process for a while, as a machine does that is moved."""
    next(answers(scene), None)
    send(scene.kernel, signal.SIGSTOP)
    scene.injected(f"the notebook stood still for {PAUSED_S:g} s")
    scene.ended.wait(PAUSED_S)
    send(scene.kernel, signal.SIGCONT)


INJECTIONS: Mapping[str, Callable[[Scene], None]] = {
    "sandbox-killed": kill_sandbox,
    "sandbox-storm": storm,
    "engine-killed": kill_engine,
    "out-of-memory": starve,
    "disk-full": fill_disk,
    "paused": pause,
}


def answers(scene: Scene) -> Iterator[int]:
    """How many problems have been answered, whenever that has grown; ends with the notebook."""
    seen = 0
    while not scene.ended.wait(LOOK_S):
        if scene.answered > seen:
            seen = scene.answered
            yield seen


def fork_servers(scene: Scene) -> list[int]:
    """The fork servers of the notebook's sandbox, without the wardens that they fork."""
    found = below(scene, b"aimo_submit.sandbox")
    return [pid for pid in found if not any(pid in descendants(other) for other in found)]


def below(scene: Scene, words: bytes) -> list[int]:
    """The processes of the notebook whose command line holds the words."""
    found = []
    for pid in descendants(scene.kernel):
        with suppress(OSError):
            if words in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found
