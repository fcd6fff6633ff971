"""The integer answer that a model's text states.

Policy: the last closed box in the prose decides, and an empty or wordy box is passed over. Only a
"final answer is N" after that box outranks it. Without a box an explicit marker decides ("the
answer is N", "Answer: N", "#### N"); a text that is nothing but one expression states itself. Never
simply the last number. A box that the token limit left open is none: its number may be cut too.

Every regular expression here is bounded or possessive, so the time is linear in the text.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from aimo_submit.arithmetic import MAX_CHARACTERS, NotANumber, evaluate

_MAX_SCAN = 100_000  # characters read in all, from the last box backwards

# Six backticks are the end of one block and the start of the next, four or five are one mark.
_FENCE = re.compile(
    r"```(?:`{1,2}(?!`))?[ \t]{0,9}(python\w{0,9}|py\b|output|)|<(/?)llm-code(?:-output)?>",
    re.IGNORECASE,
)

_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BOX_OPEN = re.compile(r"\s{0,9}\{")
_BOX_BARE = re.compile(r"\s{0,9}([-+]?\d[\d,.]*+)(?![\^!*/+({_]|\\[a-z])")

_MARKER = re.compile(
    r"(?:(?:[Aa]nswer|ANSWER)[*_\s]{0,9}(?:is\b|:|=)"
    r"|A(?:nswer|NSWER)[*_\s]{0,9}(?=\$|\\[(\[]))[\s*_:\"'`]*+"
    r"|(?<!#)####[ \t]*+(?=[-+$]{0,2}\d[\d,]*+[ \t$]*+(?:\n|$))"
)
_SENTENCE = re.compile(r"[^\n.:]{0,200}?\bis\b[\s*_:]{0,9}")  # "Final Answer: the area is 120."
_MATH = re.compile(
    r"(?:\$\$?([^$]{1,5000})\$|\\\((.{1,5000}?)\\\)|\\\[(.{1,5000}?)\\\])[*_$]{0,4}"
    r"(,?\s{0,9}(?:or|and|to)?\s{0,9}[-$\\(]{0,4}\d|\?)?",
    re.DOTALL,
)
_PLAIN = re.compile(  # a number, and whatever after it would change its meaning
    r"[-+−(]{0,2}[ $\\]{0,3}\d\S{0,9999}(?:(?<![.!?;:]),?[ \t]{1,9}"
    r"(?:(?:or|and|to|[-+*/=^<>])[ \t]{1,9}(?=[-$\\(]{0,3}\d)"
    r"|(?:hundred|thousand|million|billion|trillion|dozen)\b"
    r"|(?:[-+*/=^<>$\\(]{0,3}\d|\\[a-z])\S{0,99})){0,20}"
)
_TAG = re.compile(r"<[|/a-z].*", re.DOTALL)
_LAST_NUMBER = re.compile(r"(?:^|[\s=:$(])(-?\d+)(?:\.0*)?[\s.$)]*\Z")
_MAX_LINE = 1000  # characters read of a last line


def extract(text: str, admit: Callable[[int], int | None] = lambda value: value) -> int | None:
    """Returns the answer that the text states, as `admit` takes it, or None. Never raises."""
    try:
        value = evaluate(next(_claims(text), ""))
    except NotANumber:
        return None
    return admit(value.numerator) if value.denominator == 1 else None


def printed(output: str, admit: Callable[[int], int | None]) -> int | None:
    """Returns the answer that ends a program's output, as `admit` takes it, or None."""
    last = output.strip().rpartition("\n")[2][-_MAX_LINE:]
    number = _LAST_NUMBER.search(last)
    return admit(int(number[1])) if number else extract(last, admit)


def prose(text: str) -> str:
    """Returns the text without blocks of code and output; an unclosed one runs to the end."""
    kept, start, hidden = [], 0, False
    for mark in _FENCE.finditer(text):
        if not hidden:
            kept.append(text[start : mark.start()])
        hidden = mark[2] == "" or (mark[2] is None and mark[1] != "")
        start = mark.end()
    return "\n".join(kept if hidden else [*kept, text[start:]])


def _claims(text: str) -> Iterator[str]:
    """Yields the candidates for the answer, the most trusted first; each holds a digit."""
    visible = prose(text).replace("\\fbox{", "\\boxed{")
    last_box = visible.rfind("boxed")
    final = _marked(visible, last_box, final=True) if last_box >= 0 else iter(())
    for claim in chain(final, _boxes(visible), _marked(visible)):
        if any(character.isdigit() for character in claim):
            yield claim
    # Words would make it a sentence that happens to begin with a number.
    if len(text) < 200 and not re.search(r"(?<![\\A-Za-z])[A-Za-z]{2}", text):
        yield text


def _boxes(text: str) -> Iterator[str]:
    """Yields the contents of the closed boxes, the last first."""
    at, budget = text.rfind("boxed"), _MAX_SCAN
    while at >= 0 and budget > 0:
        content = _content(text, at + len("boxed"), bare=text[at - 1 : at] == "\\")
        budget -= 50 + (min(len(text) - at, MAX_CHARACTERS) if content is None else len(content))
        if content is not None:
            yield content
        at = text.rfind("boxed", 0, at)


def _content(text: str, at: int, *, bare: bool) -> str | None:
    """Returns the content of the box at this place; None if it does not close within the limit."""
    opening = _BOX_OPEN.match(text, at)
    if opening is None:
        number = _BOX_BARE.match(text, at) if bare else None
        return number[1].rstrip(".,") if number else None
    depth = 1
    for brace in _BRACE.finditer(text, opening.end(), opening.end() + MAX_CHARACTERS):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[opening.end() : brace.start()]
    return None


def _marked(text: str, start: int = 0, *, final: bool = False) -> Iterator[str]:
    """Yields the text after explicit markers, or only those of a final answer, the last first."""
    for marker in reversed(deque(_MARKER.finditer(text, start), maxlen=100)):
        if final and text[max(0, marker.start() - 6) : marker.start()].lower() != "final ":
            continue
        claim = _stated(text, marker.end())
        if claim is None and ":" in marker[0]:
            sentence = _SENTENCE.match(text, marker.end())
            claim = _stated(text, sentence.end()) if sentence else None
        if claim is not None and "?" not in claim:
            yield claim


def _stated(text: str, at: int) -> str | None:
    """Returns the formula or number here, with what would make it a list or a range."""
    if formula := _MATH.match(text, at):
        return (formula[1] or formula[2] or formula[3]) + (formula[4] or "")
    if number := _PLAIN.match(text, at):
        claim = _TAG.sub("", number[0]).rstrip("*_.,;:!\"'`")
        return claim if "(" in claim else claim.rstrip(").")  # the bracket of the sentence
    return None
