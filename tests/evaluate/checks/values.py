"""From what a check computed to the integer that the problem asks for."""

from __future__ import annotations

from fractions import Fraction


def as_integer(value: complex | Fraction) -> int:
    """The integer that a computed value stands for; refuses one that is not close to any."""
    nearest = round(complex(value).real)
    assert abs(complex(value) - nearest) < 1e-6, value
    return nearest


def numerator_plus_denominator(value: Fraction) -> int:
    """m + n for the value m/n in lowest terms."""
    return value.numerator + value.denominator
