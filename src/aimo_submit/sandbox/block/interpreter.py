"""Runs a block of source: repairs, compiles and executes it, shows its last value or its error.

Source is repaired only if it does not compile. An error is shown with the block's own frames; those
of libraries say nothing to a model.
"""

from __future__ import annotations

import ast
import atexit
import builtins
import linecache
import os
import re
import sys
import textwrap
import threading
import traceback
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CUSTOMARY = {"math": "math", "np": "numpy", "sp": "sympy", "numpy": "numpy", "sympy": "sympy"}
BLOCK = "<block"  # how the names of all blocks begin
BIG_SOURCE = 500_000  # characters; a tree of more takes seconds: no echo, no repair

FENCED = re.compile(r"```[ \t]*\w*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
STRAY_FENCE = re.compile(r"^[ \t]*```.*$", re.MULTILINE)
PROMPT = re.compile(r"^[ \t]*>>> ", re.MULTILINE)
SHELL = re.compile(r"^([ \t]*)([%!]\S.*)$", re.MULTILINE)
LOOK_ALIKES = str.maketrans("−–×÷‘’“”\u00a0（），", "--*/''\"\" (),", "\ufeff\u200b")

FRAMES = 10  # shown at most, the outermost and the innermost; a recursion has a thousand
CHAIN = 3  # exceptions shown at most
MESSAGE = 4000  # characters of the error itself
CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"
Summary = traceback.TracebackException


class Interpreter:
    """One `__main__`, in which blocks run one after another."""

    def __init__(self) -> None:
        main = types.ModuleType("__main__")
        known = {name: sys.modules[m] for name, m in CUSTOMARY.items() if m in sys.modules}
        main.__dict__.update(known, __file__=_name_of(1), __builtins__=builtins)
        sys.modules["__main__"] = main
        sys.argv = [_name_of(1)]
        sys.path.insert(0, "")
        self._globals = main.__dict__
        self._blocks = 0

    def run(self, code: str) -> int:
        """Runs a block; returns its exit code."""
        self._blocks += 1
        try:
            self._exec(code, _name_of(self._blocks))
        except SystemExit as stop:
            if stop.code is None or stop.code == 0:
                return 0
            _show(f"{stop.code}\n" if isinstance(stop.code, str) else f"SystemExit: {stop.code}\n")
            return 1
        except BaseException as error:  # the border of one block: what it raised is its output
            _show("".join(_chain(Summary.from_exception(error, compact=True), CHAIN)))
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
    """Ends as the interpreter would: waits for threads, runs `atexit`."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def _name_of(number: int) -> str:
    """The file name that tracebacks give to the interpreter's first, second ... block."""
    return f"{BLOCK}>" if number == 1 else f"{BLOCK} {number}>"


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


def _parse(code: str, name: str) -> ast.Module | str:
    """Parses the code, repaired if need be; raises the error of the code as it was written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a string is no news to a model
        try:
            return _remember(code, name)
        except (SyntaxError, ValueError) as error:
            first = error
        try:
            return _remember(_repair(code), name)
        except (SyntaxError, ValueError):
            raise first from None


def _remember(source: str, name: str) -> ast.Module | str:
    tree = source if len(source) > BIG_SOURCE else ast.parse(source, name)
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return tree


def _repair(source: str) -> str:
    """Takes fences, prompts, shell lines, outer indentation and odd characters out."""
    if fenced := FENCED.search(source):
        source = fenced[1]
    source = STRAY_FENCE.sub("", source)
    if PROMPT.search(source):
        lines = (line.lstrip() for line in source.splitlines())
        source = "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))
    source = SHELL.sub(r"\1pass  # \2", source)
    return textwrap.dedent(source).translate(LOOK_ALIKES)


def _chain(summary: Summary, left: int) -> Iterator[str]:
    """Yields the text of the exception and of those that led to it, in pieces."""
    earlier = _earlier(summary)
    while earlier and not _own(earlier):  # a library's affair with itself
        earlier = _earlier(earlier)
    if earlier and left > 1:
        yield from _chain(earlier, left - 1)
        yield f"\n{CAUSE if summary.__cause__ else CONTEXT}\n\n"
    yield from _frames(_own(summary))
    text = "".join(summary.format_exception_only())
    short = len(text) <= MESSAGE
    yield text if short else f"{text[: MESSAGE // 2]} ... {text[-MESSAGE // 2 :]}"


def _earlier(summary: Summary) -> Summary | None:
    return summary.__cause__ or (None if summary.__suppress_context__ else summary.__context__)


def _own(summary: Summary) -> list[traceback.FrameSummary]:
    return [frame for frame in summary.stack if frame.filename.startswith(BLOCK)]


def _frames(own: list[traceback.FrameSummary]) -> Iterator[str]:
    if own:
        yield "Traceback (most recent call last):\n"
    outer = own if len(own) <= FRAMES else own[: FRAMES // 2]
    yield from map(_frame, outer)
    if outer is not own:
        yield f"  [{len(own) - FRAMES} more frames]\n"
        yield from map(_frame, own[-FRAMES // 2 :])


def _frame(frame: traceback.FrameSummary) -> str:
    where = f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n'
    return f"{where}    {frame.line}\n" if frame.line else where
