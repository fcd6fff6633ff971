"""The exact value of the arithmetic that LaTeX or plain text writes down.

Rationals under + - * / ^ !, fractions, binomials, floors and residues, with thousands separators,
wrappers such as \\text{...}, units and, for an equation, its right side. A list, a range, a number
with a unit of scale ("5 million"), a variable, or a value too large to write down (9^{9^{9}}) has
none. Not covered: residues of towers, roots, logarithms, numbers in words.

Neither `eval` nor a float is used. Sizes are checked before computing, and every regular expression
is bounded or possessive, so hostile input costs milliseconds.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

MAX_CHARACTERS = 20_000  # of one expression: 4,000 digits and their separators
_MAX_DIGITS = 4_000  # below Python's own limit of 4,300, so that a caller can print the answer
_MAX_BITS = 13_300  # of 4,000 digits
_MAX_DEPTH = 20
_MAX_VALUES = 100  # numbers and brackets in one expression

_WRAP = (
    r"\\(?:text(?:bf|rm|it|sf|up|normal)?|math(?:rm|bf|it|sf)|[mh]box|underline|boldsymbol|bm)\s?"
)
_NOT_UNIT = (
    r"(?:or|and|to|hundred|thousand|million|billion|trillion|dozen|score|squared|cubed|factorial"
    r"|choose|mod|modulo|base|binary|hex|times|plus|minus|over|of)\b"
)
_UNIT = re.compile(
    rf"(?:{_WRAP}\{{(?!\s?[ied]\s?\}}|[^{{}}]*\b{_NOT_UNIT})[^{{}}\d]*\}}"
    rf"|(?<![\w)}}])(?!{_NOT_UNIT})[a-z]{{3,}}|(?:cm|mm|km|kg|ft|sq)\b)(?:/[a-z]+)?"
    r"(?:\^\{?[0-9]\}?|[²³])?|\\?%|\.",
    re.IGNORECASE,
)

_SPACE = re.compile(r"(?:\s|~|\\[,;:! ])*")
_NUMBER = re.compile(
    r"([1-9]\d{0,2}(,\\! ?|,|\{,\}|\{\\,\}|\\[,;:! ] ?|~| )\d{3}(?:\2\d{3})*(?!\2\d{3}|\d)|\d+)"
    r"(?:\.(\d+))?(?:[eE]([+-]?\d{1,4})(?!\d))?",
    re.ASCII,
)
_SIGN = re.compile(r"[+-]")
_TIMES = re.compile(r"\\(?:cdot|times|ast)(?![A-Za-z])|\*(?!\*)")
_OVER = re.compile(r"\\div(?![A-Za-z])|/")
_POWER = re.compile(r"\^|\*\*")
_BANG = re.compile(r"!")
_MOD = re.compile(r"\\[pb]?mod(?![A-Za-z])")
_PAIR = re.compile(r"\\[dtc]?(frac|binom)(?![A-Za-z])")
_DIGIT = re.compile(r"[0-9]")
_OPEN = re.compile(rf"\(|\{{|\\lfloor|\\lceil|{_WRAP}\{{")
_CLOSE = {"(": re.compile(r"\)"), "\\lfloor": re.compile(r"\\rfloor")}
_CLOSE |= {"{": re.compile(r"\}"), "\\lceil": re.compile(r"\\rceil")}
_JOINED = re.compile(r"\(|\\[dt]?binom")  # 2\frac{1}{2} is a mixed number and no product

_ALIKE = str.maketrans("−－×·⋅÷≈≡０１２３４５６７８９\u00a0\u2009\u202f", "--***/==0123456789   ")
_NOISE = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|[lL]arge|LARGE|[hH]uge|bf|rm|quad\s*$)(?![A-Za-z])"
    r"|\\(?:begin|end)\{[a-z]{1,20}\*?\}(?:\{[clr|]{0,9}\})?|\\(?:text)?color\{\w{1,20}\}"
    r"|\\[()\[\]]|\\?\$|\^ ?\{? ?\\circ(?![A-Za-z]) ?\}?|\\degree|[°€£]"
)
_LABEL = re.compile(  # the letter of a multiple choice, or "the answer is"
    rf" *(?:(?:{_WRAP}\{{)? ?\([A-F]\) ?\}}?|{_WRAP}\{{[^{{}}\d]{{0,60}}(?::|=|\bis) ?\}})"
)
_TUPLE = re.compile(r"(?:[(\[]|\\\{) ?\d+(?:, ?\d+)+ ?(?:[)\]]|\\\})")
_RANGE = re.compile(r"\d[\d,]* ?- ?\d[\d,]*")  # 40-50 is one when it falls below zero
_EQUALS = re.compile(r"(?<![!<>])=|\\(?:approx|equiv)(?![A-Za-z])")
_INNERMOST = re.compile(r"[({](?![^(){}]*\b(?:or|and)\b)[^(){}]*[)}]")
_SEVERAL = re.compile(r"(?<!\\),(?!\d{3})|(?<!\\);|\\q?quad|\\\\|\\lor|\\vee|\b(?:or|and)\b")


class NotANumber(Exception):
    """The expression is no rational number that can be written down."""


def evaluate(text: str) -> Fraction:
    """The value that the expression or equation states; raises NotANumber when there is none."""
    expression = _right_side(text)
    value = _Expression(expression).value()
    return _need(value, value >= 0 or not _RANGE.fullmatch(expression))


def _right_side(claim: str) -> str:
    """The claim without decoration; of an equation, what stands after the last equals sign."""
    if len(claim) > MAX_CHARACTERS:
        raise NotANumber
    # Two spaces: a single one would join the digits on its sides into one number.
    plain = _NOISE.sub("  ", " ".join(claim.translate(_ALIKE).split())).strip().rstrip(" .")
    label = _LABEL.match(plain)
    plain = plain[label.end() :] if label else plain
    *_, end = 0, *(sign.end() for sign in _EQUALS.finditer(plain))
    if _TUPLE.search(plain) or _SEVERAL.search(_INNERMOST.sub("", plain[:end])):
        raise NotANumber
    return plain[end:]


class _Expression:
    """A reader of one arithmetic expression by recursive descent."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.values = text, 0, 0, 0

    def value(self) -> Fraction:
        """The value of the whole text; raises NotANumber when it has none."""
        value = self._sum()
        if self._take(_MOD):
            modulus = self._factor()
            value = value % _need(modulus, modulus != 0)
        self._skip_units()
        return _need(value, self.at == len(self.text))

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def _sees(self, pattern: re.Pattern[str]) -> bool:
        found = self._take(pattern)
        self.at -= len(found[0]) if found else 0
        return found is not None

    def _skip_units(self) -> None:
        while self._take(_UNIT):
            pass

    def _sum(self) -> Fraction:
        sign = self._take(_SIGN)
        total = self._product() * (-1 if sign and sign[0] == "-" else 1)
        while sign := self._take(_SIGN):
            total = _bounded(total + self._product() * (-1 if sign[0] == "-" else 1))
        return total

    def _product(self) -> Fraction:
        total = self._power()
        while True:
            if self._take(_TIMES) or self._sees(_JOINED):
                total = _bounded(total * self._power())
            elif self._take(_OVER):
                divisor = self._power()
                total = _bounded(total / _need(divisor, divisor != 0))
            else:
                return total

    def _power(self) -> Fraction:
        base = self._factor()
        if self._take(_BANG):  # n!! is another function, so one is enough
            base = _factorial(base)
        if self._take(_POWER):
            base = _raised(base, self._factor())
        return _need(base, not (self._sees(_BANG) or self._sees(_POWER)))

    def _factor(self) -> Fraction:
        self.values += 1
        _need(Fraction(0), self.values <= _MAX_VALUES)
        if number := self._take(_NUMBER):
            return _number(number)
        if pair := self._take(_PAIR):
            above, below = self._argument(), self._argument()
            if pair[1] == "binom":
                return _binomial(above, below)
            return _bounded(above / _need(below, below != 0))
        return self._bracket()

    def _argument(self) -> Fraction:
        digit = self._take(_DIGIT)  # \frac84 is 8/4
        return Fraction(int(digit[0])) if digit else self._bracket()

    def _bracket(self) -> Fraction:
        opening = self._take(_OPEN)
        self.depth += 1
        if opening is None or self.depth > _MAX_DEPTH:
            raise NotANumber
        value = self._sum()
        self._skip_units()
        kind = "{" if opening[0].endswith("{") else opening[0]
        _need(value, self._take(_CLOSE[kind]) is not None)
        self.depth -= 1
        return Fraction({"\\lfloor": math.floor, "\\lceil": math.ceil}.get(kind, Fraction)(value))


def _need(value: Fraction, holds: bool) -> Fraction:
    if not holds:
        raise NotANumber
    return value


def _bounded(value: Fraction) -> Fraction:
    bits = max(value.numerator.bit_length(), value.denominator.bit_length())
    return _need(value, bits <= _MAX_BITS)


def _number(match: re.Match[str]) -> Fraction:
    decimals = match[3] or ""
    digits = re.sub(r"[^0-9]", "", match[1]) + decimals
    exponent = int(match[4] or 0)
    _need(Fraction(0), max(len(digits), abs(exponent)) <= _MAX_DIGITS)
    value = 0
    for at in range(0, len(digits), 500):  # a process may set Python's own limit as low as 640
        piece = digits[at : at + 500]
        value = value * 10 ** len(piece) + int(piece)
    return _bounded(value * Fraction(10) ** (exponent - len(decimals)))


def _factorial(value: Fraction) -> Fraction:
    _need(value, value.denominator == 1 and 0 <= value <= 1_400)
    return _bounded(Fraction(math.factorial(value.numerator)))


def _binomial(above: Fraction, below: Fraction) -> Fraction:
    n, k = above.numerator, below.numerator
    _need(above, above.denominator == below.denominator == 1 and 0 <= k <= n)
    _need(above, n.bit_length() * min(k, n - k) <= _MAX_BITS)
    return Fraction(math.comb(n, k))


def _raised(base: Fraction, exponent: Fraction) -> Fraction:
    bits = max(abs(base.numerator).bit_length(), base.denominator.bit_length())
    _need(base, exponent.denominator == 1 and (base != 0 or exponent > 0))
    _need(base, (bits - 1) * abs(exponent) <= _MAX_BITS)
    return _bounded(base**exponent.numerator)
