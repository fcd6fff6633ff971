"""Wordings that only the test split has.

A test problem is worded as training never words it: by its family's held-out phrasing, or by a
training phrasing put into other words with the table below.
"""

from __future__ import annotations

from tiny.draw import Draw, Split

HELD_OUT = 0.1  # of the test phrasings; the others are reworded

WRAPPERS = ("Find {}.", "What is {}?", "Determine {}.", "Compute {}.", "Calculate {}.")
UNSEEN_WRAPPERS = ("Evaluate {}.", "Give {}.", "State {}.")
QUESTION_WRAPPERS = ("Find {}.", "Determine {}.", "Find out {}.")
DISTRACTORS = (
    "{name} found this problem on page {n} of a book.",
    "This question was solved by {n} students last year.",
    "{name} has {n} minutes for the following task.",
    "Here is problem number {n} of a contest.",
    "On day {n} of the school year, {name} asked the following.",
    "A prize of {n} dollars is offered for the answer.",
)
UNSEEN_DISTRACTORS = (
    "{name} copied exercise {n} from the blackboard.",
    "It took {name} {n} seconds to read this.",
    "Room {n} is where the class met to think about this.",
)
REWORDINGS = {
    "the number of": "the exact number of",
    "the sum of": "the full sum of",
    "the value of": "the exact value of",
    "the remainder when": "the remainder obtained when",
    "the remainder of": "the final remainder of",
    "the smallest": "the very smallest",
    "the largest": "the very largest",
    "the least": "the very least",
    "the greatest": "the very greatest",
    "positive integers": "positive whole numbers",
    "divisible by": "evenly divisible by",
    "that divide": "that evenly divide",
    "the residue": "the resulting residue",
    "twice": "exactly twice",
    "the distance": "the whole distance",
    "the length": "the exact length",
    "Let $": "Now let $",
}


def phrasing(draw: Draw, says: tuple[str, ...], unseen: str) -> str:
    """One of the phrasings, in words that the draw's split may use."""
    if draw.split is not Split.TEST:
        return draw.pick(*says)
    return unseen if draw.chance(HELD_OUT) else reworded(draw.pick(*says))


def reworded(phrase: str) -> str:
    """The phrasing in words that no training problem has."""
    other = phrase
    for words, instead in REWORDINGS.items():
        other = other.replace(words, instead)
    if other != phrase:
        return other
    setting, bar, noun = phrase.rpartition(" || ")
    other = f"{noun}, all told" if is_question(noun) else f"precisely {noun}"
    return f"Note this: {setting}{bar}{other}" if setting else other


def is_question(noun: str) -> bool:
    """Whether the phrase is an indirect question rather than a noun phrase."""
    return noun.startswith(("how ", "in how ", "through how ", "after how ", "what "))


def wrapper(draw: Draw) -> str:
    """A sentence to put a noun phrase into."""
    wrappers: tuple[str, ...] = UNSEEN_WRAPPERS if draw.split is Split.TEST else WRAPPERS
    return draw.pick(*wrappers)


def distractor(draw: Draw) -> str:
    """A sentence that has nothing to do with the problem."""
    lines: tuple[str, ...] = UNSEEN_DISTRACTORS if draw.split is Split.TEST else DISTRACTORS
    return draw.pick(*lines).format(name=draw.name(), n=draw.number(2, 300))
