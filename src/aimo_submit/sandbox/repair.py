"""Source as models write it, made to compile; used only after it did not."""

from __future__ import annotations

import re
import textwrap

FENCED = re.compile(r"```[ \t]*\w*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
STRAY_FENCE = re.compile(r"^[ \t]*```.*$", re.MULTILINE)
PROMPT = re.compile(r"^[ \t]*>>> ", re.MULTILINE)
SHELL = re.compile(r"^([ \t]*)([%!]\S.*)$", re.MULTILINE)
LOOK_ALIKES = str.maketrans("−–×÷‘’“”\u00a0（），", "--*/''\"\" (),", "\ufeff\u200b")


def repair(source: str) -> str:
    """The source without fences, prompts, shell lines, outer indentation and odd characters."""
    if fenced := FENCED.search(source):
        source = fenced[1]
    source = STRAY_FENCE.sub("", source)
    if PROMPT.search(source):
        source = _typed(source)
    source = SHELL.sub(r"\1pass  # \2", source)
    return textwrap.dedent(source).translate(LOOK_ALIKES)


def _typed(session: str) -> str:
    lines = (line.lstrip() for line in session.splitlines())
    return "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))
