"""The fork server: loads the libraries once, then forks a warden for every worker asked for.

Executed, never forked from the kit, so it inherits no secret; single-threaded, so it may fork.
The control socket carries the numbers of workers: with a descriptor, fork a warden that serves it,
in the place of an earlier one; without, end the warden.
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
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from aimo_submit.sandbox import leases, linux, protocol
from aimo_submit.sandbox.linux import landlock, layers, privileges, processes
from aimo_submit.sandbox.linux.files import remove_tree
from aimo_submit.sandbox.protocol import Limits
from aimo_submit.sandbox.server.jail import JailSpec, home_prefix
from aimo_submit.sandbox.server.warden import Warden

PRELOADED = ("math", "numpy", "sympy", "scipy.optimize", "scipy.special", "networkx")
TICK_MS = 1000  # how often it looks for wardens that died by themselves
GOODBYE_S = 3.0


def main() -> None:
    """Serves until the kit closes the control socket or ends."""
    control_fd, root, options = sys.argv[1:]
    control = socket.socket(fileno=int(control_fd))
    processes.subreaper()
    processes.step_ahead()
    preload()
    spec = jail_spec(Path(root), **json.loads(options))
    Zygote(control, spec).serve()


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
    linux.collapse_memory()


def jail_spec(
    root: Path, limits: dict[str, Any], first_uid: int | None, without: Collection[str]
) -> JailSpec:
    """Removes what earlier sandboxes left behind and finds out which layers hold here."""
    leases.collect_folders()
    if first_uid is not None:
        leases.collect_processes(first_uid)
    elif os.geteuid() == 0:  # other sandboxes have all the users there are
        without = {*without, "uid"}
    found = layers.detect(first_uid or 0, without)
    readable, listable = landlock.interpreter_paths()
    if found.namespaces:
        privileges.leave_network(user=found.user_namespace)
    return JailSpec(root, Limits(**limits), found, readable, listable)


class Zygote:
    """Keeps the wardens: forks them, reaps them, ends what a dead one left behind."""

    def __init__(self, control: socket.socket, spec: JailSpec) -> None:
        self.control, self.spec = control, spec
        self.wardens: dict[int, int] = {}  # by worker

    def serve(self) -> None:
        """Returns when the control socket is closed; nothing is left then."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        while not poll.poll(TICK_MS) or self._answer():
            self._sweep()
        self._end()

    def _answer(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.control, protocol.WORKER.size, 1)
        if not data:
            return False
        number = protocol.WORKER.unpack(data)[0]
        if number in self.wardens:
            processes.send(self.wardens.pop(number), signal.SIGKILL)
            self._sweep()  # before the worker's user runs anything new
        for home in self.spec.root.glob(home_prefix(number) + "*"):  # its warden is gone
            with suppress(OSError):
                remove_tree(home)
        for fd in fds:
            self._fork_warden(number, socket.socket(fileno=fd))
        return True

    def _sweep(self) -> None:
        gone = processes.end_descendants(spare=self.wardens.values())
        self.wardens = {worker: pid for worker, pid in self.wardens.items() if pid not in gone}

    def _fork_warden(self, number: int, kit: socket.socket) -> None:
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._be_warden(number, kit, tell)
        os.close(tell)
        kit.close()
        if self.spec.layers.namespaces:
            os.waitpid(pid, 0)
        pid = int(os.read(told, 32) or 0)
        os.close(told)
        if pid:
            self.wardens[number] = pid

    def _be_warden(self, number: int, kit: socket.socket, tell: int) -> None:
        try:
            self.control.close()
            if self.spec.layers.namespaces:
                privileges.own_processes()
                if os.fork():
                    os._exit(0)
            os.write(tell, os.readlink("/proc/self").encode())  # noqa: PTH115
            os.close(tell)
            Warden(kit, number, self.spec).serve()
        except BaseException:  # the process ends here: all that is left to do is to say why
            traceback.print_exc()
        finally:
            os._exit(0)

    def _end(self) -> None:
        until = time.monotonic() + GOODBYE_S
        while processes.reap()[1] and time.monotonic() < until:
            time.sleep(processes.PAUSE_S)  # the wardens have lost their kit: they clean up and end
        processes.end_descendants()
        with suppress(OSError):  # the kit, if it lives, is removing it as well
            remove_tree(self.spec.root)
