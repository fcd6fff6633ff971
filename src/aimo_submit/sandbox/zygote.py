"""The fork server: loads the libraries once, then forks a warden for every seat asked for.

Executed, never forked from the kit, so it inherits no secret; single-threaded, so it may fork.
The control socket carries, for each request, a process id and perhaps a descriptor: end that
warden (0: none), and fork one that serves the descriptor.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

from aimo_submit.sandbox import processes
from aimo_submit.sandbox.files import remove_tree
from aimo_submit.sandbox.limits import Limits
from aimo_submit.sandbox.warden import Warden
from aimo_submit.sandbox.wire import REQUEST

PRELOADED = ("math", "numpy", "sympy", "scipy.optimize", "scipy.special", "networkx")
TICK_MS = 1000  # how often it looks for wardens that died by themselves
GOODBYE_S = 3.0


def main() -> None:
    """Serves until the kit closes the control socket or ends."""
    control_fd, root, limits = sys.argv[1:]
    control = socket.socket(fileno=int(control_fd))
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    processes.step_ahead()
    preload()
    Zygote(control, Path(root), Limits(**json.loads(limits))).serve()


def preload() -> None:
    """Imports and warms the libraries, and freezes them so that forks share their memory."""
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:  # the block that needs it will say so
            continue
    if sympy := sys.modules.get("sympy"):
        x = sympy.Symbol("x")
        sympy.solve(x**2 - 3 * x + 2, x)
        sympy.factorint(2**31 - 2)
        sympy.simplify(sympy.sin(x) ** 2 + sympy.cos(x) ** 2)
    gc.collect()
    gc.freeze()
    gc.disable()


class Zygote:
    """Keeps the wardens: forks them, reaps them, ends what a dead one left behind."""

    def __init__(self, control: socket.socket, root: Path, limits: Limits) -> None:
        self.control, self.root, self.limits = control, root, limits
        self.wardens: set[int] = set()

    def serve(self) -> None:
        """Returns when the control socket is closed; nothing is left then."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        while not poll.poll(TICK_MS) or self._answer():
            self.wardens -= processes.end_descendants(spare=self.wardens)
        self._end()

    def _answer(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.control, REQUEST.size, 1)
        if not data:
            return False
        retired = REQUEST.unpack(data)[0]
        if retired in self.wardens:
            processes.send(retired, signal.SIGKILL)
        for fd in fds:
            self._fork_warden(socket.socket(fileno=fd))
        return True

    def _fork_warden(self, seat: socket.socket) -> None:
        pid = os.fork()
        if pid:
            self.wardens.add(pid)
            seat.close()
            return
        try:
            self.control.close()
            Warden(seat, self.root, self.limits).serve()
        except BaseException:  # the process ends here: all that is left to do is to say why
            traceback.print_exc()
        finally:
            os._exit(0)

    def _end(self) -> None:
        until = time.monotonic() + GOODBYE_S
        while processes.reap()[1] and time.monotonic() < until:
            time.sleep(processes.PAUSE_S)  # the wardens' seats are closed: they clean up and end
        processes.end_descendants()
        with suppress(OSError):  # the kit, if it lives, is removing it as well
            remove_tree(self.root)
