"""The processes in which model-written code runs, forked by a warden.

`run_once` is one block: its exit code says how it went (0, or another after an error), all the
rest is text on one pipe. `run_live` is an interpreter that stays: each block runs in a fork of it.
A block that comes to its end, with an error too, becomes the interpreter; one that dies leaves
the interpreter, and so all earlier state, as it was.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Sequence
from typing import NoReturn

from aimo_submit.sandbox import protocol
from aimo_submit.sandbox.block.confine import Jail, confine, die_with_parent, limit_cpu
from aimo_submit.sandbox.block.interpreter import Interpreter, flush, run_exit_handlers
from aimo_submit.sandbox.linux.libc import PR_SET_PDEATHSIG, prctl


def run_once(
    jail: Jail, output: int, code: str, earlier: Sequence[str], timeout_s: float
) -> NoReturn:
    """Runs the block after the earlier ones and ends the process."""
    status = 1
    try:
        confine(jail, output)
        limit_cpu(timeout_s)
        interpreter = Interpreter()
        for block in earlier:
            interpreter.rerun(block)
        status = interpreter.run(code)
        run_exit_handlers()
        flush()
    finally:
        os._exit(status & 255)


def run_live(jail: Jail, output: int, channel: socket.socket) -> NoReturn:
    """Runs the blocks that come down the channel, until it is closed."""
    try:
        confine(jail, output, keep=[channel.fileno()])
        interpreter = Interpreter()
        while job := protocol.receive(channel):
            channel.sendall(protocol.STATUS.pack(_advance(interpreter, **job)))
    finally:
        os._exit(1)


def _advance(interpreter: Interpreter, code: str, timeout_s: float) -> int:
    """How the block ended, said by the process that is the interpreter from now on."""
    head, numbers = os.getpid(), random.getstate()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    die_with_parent(head)  # no group of its own: a stopped one would end, orphaned by its head
    limit_cpu(timeout_s)
    random.setstate(numbers)  # which the fork has changed
    status = interpreter.run(code)
    flush()
    prctl(PR_SET_PDEATHSIG, 0)  # the head goes now, by the warden's hand
    return status & 255
