"""Problems from items: wrappers, distractors, follow-up questions and joins of two items."""

from __future__ import annotations

from dataclasses import dataclass

from tiny.draw import Draw, Split
from tiny.families import FAMILIES, Item
from tiny.follow import HIGHEST, Follow, about_one, about_two
from tiny.wording import QUESTION_WRAPPERS, distractor, is_question, phrasing, wrapper

# The test split is the harder one: more joins of two items, more sentences that do not matter.
JOINED = {Split.TRAIN: 0.25, Split.VALIDATION: 0.25, Split.TEST: 0.33}
DISTRACTED = {Split.TRAIN: 0.2, Split.VALIDATION: 0.2, Split.TEST: 0.6}


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A problem with its solution in parts."""

    family: str
    problem: str
    plan: str  # the reasoning before any result
    found: str  # the intermediate results in words, for solutions without code
    code: str
    answer: int
    slip: str  # a wrong version of `code` that the family itself suggests; may be empty


def puzzle(draw: Draw, family: str) -> Puzzle | None:
    """One problem of the family, or None where this draw's answer is out of range."""
    item = FAMILIES[family](draw)
    if draw.chance(JOINED[draw.split]):
        other = FAMILIES[draw.pick(*FAMILIES)](draw)
        made = _joined(draw, family, item, other)
    elif 0 <= item.value <= HIGHEST and draw.chance(0.55):
        made = _bare(draw, family, item)
    else:
        made = _followed(draw, family, item)
    return made if made and 0 <= made.answer <= HIGHEST else None


def _bare(draw: Draw, family: str, item: Item) -> Puzzle:
    setting, noun = _phrase(draw, item)
    code = _program(draw, [item.setup], item.expr)
    slip = _program(draw, [item.slip], item.expr) if item.slip else ""
    problem = _dressed(draw, setting, _asked(draw, noun))
    return Puzzle(family, problem, item.plan, "", code, item.value, slip)


def _followed(draw: Draw, family: str, item: Item) -> Puzzle | None:
    follow = about_one(draw, item.value)
    if follow is None:
        return None
    v = draw.pick("N", "M", "S")
    setting, noun = _phrase(draw, item)
    ask = _said(draw, follow)
    if is_question(noun) or draw.chance(0.7):
        problem = _dressed(draw, _let(draw, setting, noun, v), _asked(draw, ask.format(v=f"${v}$")))
    else:
        problem = _dressed(draw, setting, _asked(draw, ask.format(v=noun)))
    named = follow.says[0].format(v=v)
    plan = f"{item.plan} Call this {v}. Then take {named.replace('$', '')}."
    setups = [follow.setup, item.setup]
    tail, expr = f"{v} = {item.expr}", follow.expr.format(v=v)
    code = _program(draw, [*setups, tail], expr)
    slip = _program(draw, [follow.setup, item.slip, tail], expr) if item.slip else ""
    return Puzzle(family, problem, plan, f"{v} = {item.value}.", code, follow.value, slip)


def _joined(draw: Draw, family: str, one: Item, two: Item) -> Puzzle | None:
    follow = about_two(draw, one.value, two.value)
    if follow is None:
        return None
    v, w = draw.pick(("M", "N"), ("U", "V"), ("S", "T"))
    first, second = (_let(draw, *_phrase(draw, i), x) for i, x in ((one, v), (two, w)))
    ask = _said(draw, follow).format(v=v, w=w)
    problem = _dressed(draw, f"{first} {second}", _asked(draw, ask))
    named = follow.says[0].format(v=v, w=w).replace("$", "")
    plan = f"First {v}: {one.plan} Next {w}: {two.plan} Then take {named}."
    expr = follow.expr.format(v=v, w=w)
    rest = [f"{v} = {one.expr}", two.setup, f"{w} = {two.expr}"]
    code = _program(draw, [follow.setup, one.setup, *rest], expr)
    slip = _program(draw, [follow.setup, one.slip, *rest], expr) if one.slip else ""
    found = f"{v} = {one.value} and {w} = {two.value}."
    return Puzzle(family, problem, plan, found, code, follow.value, slip)


def _phrase(draw: Draw, item: Item) -> tuple[str, str]:
    phrase = phrasing(draw, item.says, item.unseen)
    setting, bar, noun = phrase.partition(" || ")
    return (setting, noun) if bar else ("", phrase)


def _said(draw: Draw, follow: Follow) -> str:
    return phrasing(draw, follow.says, follow.unseen)


def _let(draw: Draw, setting: str, noun: str, v: str) -> str:
    if is_question(noun):
        lead = f"Let ${v}$ be the answer to the question {noun}."
    else:
        lead = draw.pick(f"Let ${v}$ be {noun}.", f"Suppose that ${v}$ is {noun}.")
    return f"{setting} {lead}" if setting else lead


def _asked(draw: Draw, noun: str) -> str:
    if is_question(noun):
        return draw.pick(*QUESTION_WRAPPERS).format(noun)
    return wrapper(draw).format(noun)


def _dressed(draw: Draw, setting: str, question: str) -> str:
    text = f"{setting} {question}" if setting else question
    if draw.chance(DISTRACTED[draw.split]):
        text = f"{distractor(draw)} {text}"
    return text


def _program(draw: Draw, setups: list[str], expr: str) -> str:
    """The lines with all imports first, ending in one of the usual ways to show a value."""
    lines = [line for setup in setups for line in setup.split("\n") if line]
    imports = list(dict.fromkeys(line for line in lines if line.startswith("from ")))
    body = [line for line in lines if not line.startswith("from ")]
    end = draw.pick(f"print({expr})", f"print({expr})", f"answer = {expr}\nprint(answer)", expr)
    return "\n".join([*imports, *body, end])
