"""An exception as the model is shown it: its own frames and the error, no library's frames."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

FRAMES = 10  # shown at most, the outermost and the innermost; a recursion has a thousand
CHAIN = 3  # exceptions shown at most
MESSAGE = 4000  # characters of the error itself
CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"

BLOCK = "<block"  # how the names of all blocks begin
Summary = traceback.TracebackException


def name_of(number: int) -> str:
    """The file name that tracebacks give to the interpreter's first, second ... block."""
    return f"{BLOCK}>" if number == 1 else f"{BLOCK} {number}>"


def describe(error: BaseException) -> Iterator[str]:
    """The text of the exception and of those that led to it, in pieces."""
    return _chain(Summary.from_exception(error, compact=True), CHAIN)


def _chain(summary: Summary, left: int) -> Iterator[str]:
    earlier = _earlier(summary)
    while earlier and not _own(earlier):  # a library's affair with itself
        earlier = _earlier(earlier)
    if earlier and left > 1:
        yield from _chain(earlier, left - 1)
        yield f"\n{CAUSE if summary.__cause__ else CONTEXT}\n\n"
    yield from _frames(_own(summary))
    yield _shortened("".join(summary.format_exception_only()))


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


def _shortened(text: str) -> str:
    if len(text) <= MESSAGE:
        return text
    return f"{text[: MESSAGE // 2]} ... {text[-MESSAGE // 2 :]}"
