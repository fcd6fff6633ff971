"""What running a block means: parse, run, show the last expression, show the error."""

from __future__ import annotations

import ast
import atexit
import builtins
import linecache
import os
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aimo_submit.sandbox.repair import repair
from aimo_submit.sandbox.tracebacks import describe, name_of

CUSTOMARY = {"math": "math", "np": "numpy", "sp": "sympy", "numpy": "numpy", "sympy": "sympy"}
BIG_SOURCE = 500_000  # characters; a tree of more takes seconds: no echo, no repair


class Interpreter:
    """One `__main__`, in which blocks run one after another."""

    def __init__(self) -> None:
        main = types.ModuleType("__main__")
        main.__dict__.update(_names(), __file__=name_of(1), __builtins__=builtins)
        sys.modules["__main__"] = main
        sys.argv = [name_of(1)]
        sys.path.insert(0, "")
        self._globals = main.__dict__
        self._blocks = 0

    def run(self, code: str) -> int:
        """The exit code of the block."""
        self._blocks += 1
        try:
            self._exec(code, name_of(self._blocks))
        except SystemExit as stop:
            return _exit_code(stop)
        except BaseException as error:  # the border of one block: what it raised is its output
            _show("".join(describe(error)))
            return 1
        return 0

    def rerun(self, code: str) -> None:
        """Runs an earlier block for what it defines; nothing of it is shown."""
        with _silence():
            self.run(code)

    def _exec(self, code: str, name: str) -> None:
        tree = _parse(code, name)
        last = tree.body[-1] if isinstance(tree, ast.Module) and tree.body else None
        if isinstance(tree, str) or not isinstance(last, ast.Expr):
            exec(compile(tree, name, "exec", dont_inherit=True), self._globals)
            return
        tree.body.pop()
        exec(compile(tree, name, "exec", dont_inherit=True), self._globals)
        expression = ast.Expression(last.value)
        value = eval(compile(expression, name, "eval", dont_inherit=True), self._globals)
        sys.displayhook(value)


def flush() -> None:
    """Writes out what the block's streams still hold, whatever it did to them."""
    for stream in (sys.stdout, sys.__stdout__):
        with suppress(Exception):  # closed, replaced by anything, or gone
            stream.flush()  # type: ignore[union-attr]


def run_exit_handlers() -> None:
    """What the interpreter does at its end: waits for threads, runs `atexit`."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def _names() -> dict[str, Any]:
    return {name: sys.modules[m] for name, m in CUSTOMARY.items() if m in sys.modules}


def _parse(code: str, name: str) -> ast.Module | str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a string is no news to a model
        try:
            return _remember(code, name)
        except (SyntaxError, ValueError) as error:
            first = error
        try:
            return _remember(repair(code), name)
        except (SyntaxError, ValueError):
            raise first from None


def _remember(source: str, name: str) -> ast.Module | str:
    tree = source if len(source) > BIG_SOURCE else ast.parse(source, name)
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return tree


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None or stop.code == 0:
        return 0
    _show(f"{stop.code}\n" if isinstance(stop.code, str) else f"SystemExit: {stop.code}\n")
    return 1


def _show(text: str) -> None:
    """Writes past `sys.stdout`, which the block may have closed or replaced."""
    flush()
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(2, data) :]


@contextmanager
def _silence() -> Iterator[None]:
    shown, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    os.close(null)
    try:
        yield
    finally:
        flush()
        for stream in (1, 2):
            os.dup2(shown, stream)
        os.close(shown)
