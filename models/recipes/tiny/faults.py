"""Wrong first blocks: what a hurried programmer gets wrong, and what is said on repairing it."""

from __future__ import annotations

import re

from tiny.draw import Draw

BUILTINS = ("sum", "range", "pow", "len", "str", "print", "max", "abs")
REMARKS = {
    "NameError": "A name is not defined. Define or import it.",
    "ImportError": "It is in another module.",
    "IndexError": "The list is too short. Correct its length.",
    "SyntaxError": "A parenthesis is missing. Close it.",
    "UnboundLocalError": "A name is not defined. Define or import it.",
}
OTHER_REMARK = "That was wrong. Correct it."


def wrong(draw: Draw, code: str, slip: str) -> str:
    """The code with one mistake that should raise; `slip` is the family's own suggestion."""
    options = [_misspelt, _unclosed]
    if "from " in code:
        options += [_not_imported, _not_imported, _wrong_module]
    if slip and draw.chance(0.5):
        return slip
    return draw.pick(*options)(draw, code)


def remark(output: str) -> str:
    """What is said after that traceback."""
    last = output.strip().split("\n")[-1]
    return REMARKS.get(last.partition(":")[0], OTHER_REMARK)


def _imports(code: str) -> list[str]:
    return [line for line in code.split("\n") if line.startswith("from ")]


def _not_imported(draw: Draw, code: str) -> str:
    gone = draw.pick(*_imports(code))
    return "\n".join(line for line in code.split("\n") if line != gone)


def _wrong_module(draw: Draw, code: str) -> str:
    line = draw.pick(*_imports(code))
    module = line.split()[1]
    other = "itertools" if module == "math" else "math"
    return code.replace(line, line.replace(f"from {module}", f"from {other}"))


def _misspelt(draw: Draw, code: str) -> str:
    body = "\n".join(line for line in code.split("\n") if not line.startswith("from "))
    imported = [n.strip() for line in _imports(code) for n in line.split("import")[1].split(",")]
    used = [n for n in (*BUILTINS, *imported) if re.search(rf"\b{n}\(", body)]
    if not used:
        return _unclosed(draw, code)
    name = draw.pick(*used)
    typo = draw.pick(name + "s", name[:-1], name[0] + name)
    return "\n".join(
        line if line.startswith("from ") else re.sub(rf"\b{name}\(", f"{typo}(", line)
        for line in code.split("\n")
    )


def _unclosed(draw: Draw, code: str) -> str:
    del draw
    head, _, last = code.rpartition("\n")
    last = last[:-1] if last.endswith(")") else f"print({last}"
    return f"{head}\n{last}" if head else last
