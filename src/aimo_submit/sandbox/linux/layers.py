"""Finds out which of the kernel's layers of isolation hold here: each is tried by its effect.

The uid keeps workers apart from the kit and from each other, the namespaces close the network and
end every process with its warden, Landlock bounds the files, seccomp the system calls. Any of them
may be missing; the others then carry its load as far as they can.
"""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from aimo_submit.errors import UserError
from aimo_submit.sandbox.linux import landlock, privileges, seccomp
from aimo_submit.sandbox.linux.seccomp import Program

NAMES = ("uid", "namespaces", "landlock", "seccomp")
OLDER = "landlock>"  # "landlock>3": as if the kernel's ABI were 3
LEFT_OUT = "left out on request"
NO_LANDLOCK = "this kernel has none, or it is not enabled"
CLOSED = "the interpreter lies in a folder closed to others; install Python and the kit elsewhere"


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers that are on. Worker k runs as uid `first_uid + k`; as the kit's own if None."""

    first_uid: int | None
    reads_all: bool  # the workers' users need CAP_DAC_READ_SEARCH to read the interpreter
    namespaces: bool
    user_namespace: bool
    landlock: int  # ABI; 0: off
    seccomp: bool
    reasons: dict[str, str]  # why a layer is off

    def filter(self) -> Program | None:
        """Builds the filter of system calls; it guards what no other layer does."""
        if not self.seccomp:
            return None
        alone = self.first_uid is None
        scoped = self.namespaces or self.landlock >= landlock.SCOPE_ABI
        return seccomp.program(guard_signals=alone and not scoped, guard_attributes=alone)


def detect(first_uid: int, without: Collection[str] = ()) -> Layers:
    """Tries each layer here; `without` names some to leave out, for tests and benchmarks."""
    newest = _newest(without)
    reasons = dict.fromkeys(set(NAMES).intersection(without), LEFT_OUT)
    abi = min(landlock.version(), newest)
    if "landlock" not in reasons:
        reason = _tried(lambda: _confine_files(abi)) if abi else NO_LANDLOCK
        reasons |= {"landlock": reason} if reason else {}
    abi = 0 if "landlock" in reasons else abi
    reads_all = False
    if "uid" not in reasons:
        reads_all = _uid_works(first_uid, abi, reasons)
    own_user = "uid" not in reasons
    in_user_namespace = False
    if "namespaces" not in reasons:
        in_user_namespace = _namespaces_work(own_user, reasons)
    if "seccomp" not in reasons:
        reason = _tried(_filter_sockets) if seccomp.available() else seccomp.ONLY
        reasons |= {"seccomp": reason} if reason else {}
    return Layers(
        first_uid=first_uid if own_user else None,
        reads_all=reads_all,
        namespaces="namespaces" not in reasons,
        user_namespace=in_user_namespace,
        landlock=abi,
        seccomp="seccomp" not in reasons,
        reasons=reasons,
    )


def rows(layers: Layers) -> list[tuple[str, str, str]]:
    """Returns for each layer its name, "on" or "off", and what it does or why it is off."""
    details = {
        "uid": f"every worker is a user of its own, from {layers.first_uid}"
        + (", that may read closed folders as far as Landlock lets it" * layers.reads_all),
        "namespaces": "no network, a worker sees its own processes only, its files are in memory"
        + (" (in a user namespace)" * layers.user_namespace),
        "landlock": f"ABI {layers.landlock}: no file but the libraries and the worker's own"
        + (", no TCP" * (layers.landlock >= landlock.TCP_ABI))
        + (", no signal to others" * (layers.landlock >= landlock.SCOPE_ABI)),
        "seccomp": "no sockets, no ptrace, mount, namespaces, io_uring",
    }
    off = layers.reasons
    return [(n, "off" if n in off else "on", off.get(n, details[n])) for n in NAMES]


def _newest(without: Collection[str]) -> int:
    newest = 1000
    for name in without:
        abi = name.removeprefix(OLDER)
        if name.startswith(OLDER) and abi.isdecimal():
            newest = min(newest, int(abi))
        elif name not in NAMES:
            known = ", ".join((*NAMES, f"{OLDER}3"))
            raise UserError(f'no layer "{name}" of the sandbox to leave out; there are {known}')
    return newest


def _uid_works(uid: int, abi: int, reasons: dict[str, str]) -> bool:
    """True if it takes the right to read everything; notes the reason where it does not work."""
    if os.geteuid():
        reasons["uid"] = "only root can be another user"
        return False
    if not (reason := _tried(lambda: _be_another(uid, reads_all=False))):
        return False
    if reason == CLOSED and abi and not _tried(lambda: _be_another(uid, reads_all=True)):
        return True
    reasons["uid"] = reason
    return False


def _namespaces_work(own_user: bool, reasons: dict[str, str]) -> bool:
    """True if it takes a user namespace; notes the reason where it does not work."""
    if not (reason := _tried(lambda: _live_apart(user=False))):
        return False
    # In a user namespace there is one user: an own uid for every worker is worth more.
    if not own_user and not (reason := _tried(lambda: _live_apart(user=True))):
        return True
    reasons["namespaces"] = reason
    return False


def _tried(effect: Callable[[], None]) -> str:
    """Tries the effect in a child; returns why it could not be had, or ""."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        message = "the trial failed"
        try:
            effect()
            message = ""
        except OSError as error:
            message = str(error).removeprefix(f"[Errno {error.errno}] ")
        finally:
            os.write(tell, message.encode())
            os._exit(0)
    os.close(tell)
    with open(told, "rb") as reason:  # noqa: PTH123
        text = reason.read().decode()
    died = os.waitpid(child, 0)[1] != 0
    return text or ("the kernel ended the trial" if died else "")


def _confine_files(abi: int) -> None:
    privileges.no_new_privileges()
    landlock.restrict(landlock.ruleset([], [], [], abi))
    _refused("a file outside could be opened", lambda: os.open(os.__file__, os.O_RDONLY))
    if abi >= landlock.SCOPE_ABI:
        _refused("a process outside could be signalled", lambda: os.kill(os.getppid(), 0))


def _be_another(uid: int, *, reads_all: bool) -> None:
    folders = [path for path in landlock.library_folders() if path.is_dir()]
    privileges.become(uid, reads_all=reads_all)
    try:
        for folder in folders:
            os.scandir(folder).close()
    except PermissionError:
        raise OSError(CLOSED) from None
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    _refused("the number of its processes is not limited", _fork)


def _live_apart(*, user: bool) -> None:
    privileges.leave_network(user=user)
    if any(name != "lo" for _, name in socket.if_nameindex()):
        raise OSError("the network is still there")
    privileges.own_processes()
    if reason := _tried(_be_alone):
        raise OSError(reason)


def _be_alone() -> None:
    privileges.own_mounts(Path(tempfile.gettempdir()), None, 2**20)
    if [name for name in os.listdir("/proc") if name.isdecimal()] != ["1"]:  # noqa: PTH208
        raise OSError("processes of others can be seen")


def _filter_sockets() -> None:
    privileges.no_new_privileges()
    seccomp.install(seccomp.program(guard_signals=False, guard_attributes=False))
    _refused("a socket of the internet could be made", lambda: socket.socket().close())


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _refused(otherwise: str, action: Callable[[], object]) -> None:
    try:
        action()
    except (PermissionError, BlockingIOError):
        return
    raise OSError(otherwise)
