"""A competition is a TOML file: its answers, clock, size, scoring, and its package on Kaggle.

Those of the AIMO Progress Prizes lie in `data/competitions/`. A setting, a flag or a notebook that
takes a competition's name takes the path of such a file as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from aimo_submit.errors import UserError
from aimo_submit.toml import checked, meant, read_toml

HOME = Path(__file__).parent / "data" / "competitions"
SUBMISSION = "submission.parquet"
INTERFACES = ("server", "environment")


@dataclass(frozen=True, slots=True)
class Answers:
    """Which integers are answers; without bounds, all."""

    lowest: int | None = None
    highest: int | None = None
    modulus: int | None = None  # the solution is asked modulo this
    fallback: int = 0  # submitted when nothing better is known

    def admit(self, value: int) -> int | None:
        """Returns the value as an answer, reduced by the modulus; None if it can be none.

        A value below the lowest answer is never reduced: there the model has erred.
        """
        if self.lowest is not None and value < self.lowest:
            return None
        if self.modulus is not None:
            value %= self.modulus
        return None if self.highest is not None and value > self.highest else value

    def __str__(self) -> str:
        if self.lowest is None and self.highest is None:
            return "any integer"
        low, high = ("" if each is None else str(each) for each in (self.lowest, self.highest))
        return f"{low}..{high}" + (f", modulo {self.modulus}" if self.modulus else "")


@dataclass(frozen=True, slots=True)
class Private:
    """The scoring of the hidden problems."""

    runs: int = 1
    in_order: bool = False  # the problems come as the file has them, in every run
    points: list[float] = field(default_factory=lambda: [0.0, 1.0])  # by the number of right runs


@dataclass(frozen=True, slots=True)
class Package:
    """The competition's Python package: how a notebook is asked, and what it leaves."""

    module: str  # with what the notebook calls
    name: str  # the server's class, or the function that makes the environment
    interface: str = "server"  # it calls `predict`; "environment": the notebook iterates over it
    gateway: str = ""  # the module with what asks a server
    gateway_name: str = ""  # its class
    submission: str = SUBMISSION  # or .csv: written into the working directory
    startup_s: float = 900.0  # within which a server has to be up
    answer_s: float | None = None  # limit of one answer, the first excepted; None: the run's
    shuffled: bool = False  # the problems come in random order
    refuses_wrong_ids: bool = False  # rather than write its own over them
    plain_functions: bool = False  # refuses bound methods and callable objects
    row_ids: bool = False  # its csv files number their rows, in a column row_id

    @property
    def folder(self) -> str:
        """The name of the package's folder."""
        return self.module.partition(".")[0]

    @property
    def file(self) -> str:
        """The file in that folder by which the package is known."""
        return f"{self.module.partition('.')[2] or '__init__'}.py"


@dataclass(frozen=True, slots=True)
class Competition:
    """One competition: its answers, its clock, its size, its package."""

    name: str
    hours: float  # limit of the whole notebook
    problems: int  # in one run
    answers: Answers = Answers()
    slug: str = ""  # on Kaggle; "": it is not there
    submissions_a_day: int | None = None  # None: unknown
    machine_shape: str = ""  # of the submission's notebook
    private: Private = Private()
    package: Package | None = None

    @property
    def submission(self) -> str:
        """The name of the file that is submitted."""
        return self.package.submission if self.package else SUBMISSION


def competition_named(name: str) -> Competition:
    """Returns the competition of that name or path; raises UserError where there is none.

    A path that does not exist is looked up by its stem: in a notebook the file came with the kit.
    """
    if name.endswith(".toml") and (path := Path(name)).is_file():
        return read_competition(path)
    stem = Path(name).stem if name.endswith(".toml") else name
    if stem not in names():
        raise UserError(
            f"no competition {name!r}: {meant(name, names())}; or give the path of its TOML file"
        )
    return read_competition(HOME / f"{stem}.toml")


@cache
def names() -> tuple[str, ...]:
    """Returns the names of the competitions that come with the kit."""
    return tuple(sorted(path.stem for path in HOME.glob("*.toml")))


@cache
def read_competition(path: Path) -> Competition:
    """Reads and checks a competition's file; raises UserError with the place of a mistake."""
    table = {"name": path.stem, **read_toml(path)}
    competition = checked(Competition, f"{path}: the competition", table)
    for mistake in _mistakes(competition):
        raise UserError(f"{path}: {mistake}")
    return competition


def _mistakes(competition: Competition) -> list[str]:
    """Returns in words which values cannot go together."""
    answers, private, package = competition.answers, competition.private, competition.package
    found = {
        "hours must be more than 0": competition.hours <= 0,
        "problems must be at least 1": competition.problems < 1,
        "[answers] modulus must be at least 1": (answers.modulus or 1) < 1,
        "[answers] fallback must be an answer": answers.admit(answers.fallback) is None,
        "[private] points must have a number for each of 0 to `runs` right runs": (
            private.runs < 1 or len(private.points) != private.runs + 1
        ),
        f"[package] interface must be one of {', '.join(INTERFACES)}": (
            package is not None and package.interface not in INTERFACES
        ),
    }
    return [words for words, wrong in found.items() if wrong]


def competition_of(slug: str | None) -> Competition:
    """Returns the kit's competition with that slug on Kaggle; `any` for others."""
    known = map(competition_named, names())
    found = (each for each in known if slug and each.slug == slug)
    return next(found, competition_named("any"))
