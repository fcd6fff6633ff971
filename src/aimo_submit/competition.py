"""Facts of each edition of the AIMO Progress Prize, written once."""

from __future__ import annotations

from dataclasses import dataclass

SUBMISSION = "submission.parquet"




@dataclass(frozen=True, slots=True)
class Edition:
    """What one edition asks: its answers, its clock, its size."""

    name: str
    highest: int | None  # answers are 0..highest; None: any integer
    modulus: int | None  # answers are asked modulo this; None: as they are
    hours: float  # limit of the whole notebook
    problems: int  # in one run
    slug: str = ""  # of the competition on Kaggle; "": there is none
    fallback: int = 0  # submitted when nothing better is known

    def admit(self, value: int) -> int | None:
        """The value as an answer of this edition, or None if it can be none."""
        if self.highest is None:
            return value
        if value < 0:
            return None
        if self.modulus is not None:
            return value % self.modulus
        return value if value <= self.highest else None

    @property
    def answers(self) -> str:
        """What counts as an answer, in words."""
        if self.highest is None:
            return "any integer"
        return f"0..{self.highest}" + (f", modulo {self.modulus}" if self.modulus else "")


EDITIONS = {
    edition.name: edition
    for edition in (
        Edition("aimo-1", 999, 1000, 9.0, 50, "ai-mathematical-olympiad-prize"),
        Edition("aimo-2", 999, None, 5.0, 50, "ai-mathematical-olympiad-progress-prize-2"),
        Edition("aimo-3", 99_999, None, 5.0, 50, "ai-mathematical-olympiad-progress-prize-3"),
        Edition("any", None, None, 9.0, 50),  # for problem sets that follow no edition's rule
    )
}
SLUGS = {edition.name: edition.slug for edition in EDITIONS.values() if edition.slug}


def edition_of(competition: str | None) -> Edition:
    """The edition whose rules the competition has; `any` for others."""
    names = {slug: name for name, slug in SLUGS.items()}
    return EDITIONS[names.get(competition or "", "any")]
