"""Numbers as people type them and as Thaw writes them: one reader and one writer for fields, recipes and terminal.

A `Scale` says which numbers fit. Its `read` takes `0,003`, `1 000`, `1·10⁻³`, `20 %` or `5 epochs`, and says in words
what it does not take; nothing is guessed where a text could mean two numbers. `written` gives the shortest text that
reads as the same number again. Pure.
"""

from __future__ import annotations

import math
import re
import reprlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Real
from typing import Any, ClassVar, NoReturn, TypeGuard

from finetune_core.errors import UserError

Number = int | float

MINUS = dict.fromkeys("−–‐‑⁃﹣", "-")
MARKS = str.maketrans({**MINUS, "٫": ".", "٬": "'", "’": "'", "⁄": "/"})
RAISED = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")
TIMES_TEN = re.compile(r"(?:(?<=\d) ?[·⋅∙×x*] ?|^(?P<sign>[+-]?))10 ?(?:\^|\*\*) ?\(?(?P<power>[+-]?\d+)\)?", re.I)
NUMBER = re.compile(
    r"(?P<sign>[+-]?) ?"
    r"(?P<digits>[\d.,](?:[\d.,' ]*[\d.,])?)"
    r"(?: ?e ?(?P<power>[+-]?\d+))?"
    r" ?(?P<unit>[^\d\s.,'+/-][^\d]*)?",
    re.IGNORECASE,
)
FRACTION = re.compile(r"(?P<sign>[+-]?) ?(?P<over>\d+) ?/ ?(?P<under>\d+)")
THOUSANDS = {group: re.compile(rf"([1-9]\d{{0,2}}(?:{re.escape(group)}\d{{3}})+)(?:([.,])(\d+))?") for group in " '.,"}
PLAIN = re.compile(r"\d+[.,]?\d*|[.,]\d+")
LIST = re.compile(r"\s*;\s*|,?\s+")
ALIKE = {"pixel": "px", "degree": "°", "deg": "°"}
LONGEST = 200  # letters of a number
SHOWN = 12  # digits of a number in a field: a group's rate is a product
STOPS = 100  # about so many steps from end to end of a scale that is not logarithmic
NEAR = 1e-5  # a logarithmic scale that starts at 0 goes down to this share of its end (else of 1), then to 0


def written(number: float, digits: int | None = None) -> str:
    """A number as it is written everywhere: `0.003`, `1e-9`, `5`; of `digits` significant ones, else exact."""
    if digits is None and isinstance(number, int):
        return str(int(number))
    number = float(number if digits is None else f"{number:.{digits}g}")
    base, _, power = repr(number + 0.0).partition("e")  # + 0.0: there is one zero
    return base.removesuffix(".0") + (f"e{int(power)}" if power else "")


def listed(numbers: Iterable[float]) -> str:
    """Several numbers, as a field for them shows them."""
    return ", ".join(map(written, numbers))


@dataclass(frozen=True)
class Scale:
    """Which numbers fit: whole ones or all, from `low` to `high`; how they are stepped through, and their units."""

    low: float | None = None
    high: float | None = None
    whole: bool = False
    log: bool = False
    step: float | None = None
    units: tuple[str, ...] = ()
    steps: ClassVar[bool] = True  # whether − and + lead on

    def read(self, value: Any) -> Number:
        """The number that a text means, or that is one already; a UserError says in words why it does not fit."""
        if not isinstance(value, (str, Real)):
            _refuse(f"{_needed(self)}.")
        if isinstance(value, bool):
            _refuse(f"A {self._kind()}, not {'yes' if value else 'no'}.")
        number = _typed(value, self) if isinstance(value, str) else _real(value)
        low, high = self._ends()
        if not (low <= number <= high and math.isfinite(number)):
            _refuse(f"{self.words()}.")
        if self.whole and number % 1:
            _refuse(f"Whole numbers only: {math.floor(number)} or {math.ceil(number)}.")
        return int(number) if self.whole else number

    def times(self, factor: float) -> Scale:
        """The scale of what is `factor` times a number of this one."""
        low, high = (None if end is None else float(f"{end * factor:.{SHOWN}g}") for end in (self.low, self.high))
        return replace(self, low=low, high=high)

    def within(self, other: Scale) -> Scale:
        """The same, as far as the other scale reaches."""
        low = max(filter(_given, (self.low, other.low)), default=None)
        high = min(filter(_given, (self.high, other.high)), default=None)
        return replace(self, low=low, high=high)

    @property
    def bounded(self) -> bool:
        """Whether it has an end."""
        return self.low is not None or self.high is not None

    def words(self) -> str:
        """The numbers that fit: `1 to 1000`."""
        if not self.bounded:
            return f"A finite {self._kind()}"
        if self.high is None:
            return f"At least {written(self.low or 0.0)}"
        return f"At most {written(self.high)}" if self.low is None else f"{written(self.low)} to {written(self.high)}"

    def shown(self, kept: Number | None) -> str:
        """How a field shows what is kept."""
        return "" if kept is None else written(kept, None if self.whole else SHOWN)

    @property
    def track(self) -> tuple[float, float, float] | None:
        """From where to where, and in which steps, a slider goes; None where none is of use: it wants an even scale."""
        if self.whole or self.log or self.low is None or self.high is None:
            return None
        return float(self.low), float(self.high), self.even_step()

    def stepped(self, number: float, way: int) -> Number:
        """The next number up (`way` is 1) or down (-1): on a logarithmic scale 1, 2, 5, 10, …, else in even steps."""
        low, high = self._ends()
        beside = inside = min(max(number, low), high)
        if inside == number:
            beside = min(max(self._beside(number, way), low), high)
        return round(beside) if self.whole else beside

    def _beside(self, number: float, way: int) -> float:
        """The next number, whether it fits or not."""
        low, high = self._ends()
        if not self.log:
            return _even(number, self.even_step(), way)
        if self.whole:
            return _doubled(number, way)
        return _one_two_five(number, way, smallest=(high if high < math.inf else 1.0) * NEAR if low <= 0 else 0.0)

    def even_step(self) -> float:
        """The step of a scale that is not logarithmic: a round number, a hundredth of the way or so."""
        low, high = self._ends()
        if self.step or self.whole or not math.isfinite(high - low):
            return self.step or 1
        return 10.0 ** math.floor(math.log10((high - low) / (STOPS / 2)))

    def _ends(self) -> tuple[float, float]:
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    def _kind(self) -> str:
        return "whole number" if self.whole else "number"


@dataclass(frozen=True)
class Several:
    """Several numbers in one field, each of a scale; it answers as a `Scale` does."""

    each: Scale = Scale()
    steps: ClassVar[bool] = False
    track: ClassVar[None] = None

    def read(self, value: Any) -> tuple[Number, ...]:
        """The numbers of a text, or of a list; a UserError names the first that does not fit."""
        several = apart(value) if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        return tuple(read_for(each, each, self.each) for each in several)

    def words(self) -> str:
        """How they are told apart, and which fit."""
        bounds = f", each {self.each.words()}" if self.each.bounded else ""
        return f"Numbers, with “;” between them{bounds}"

    def shown(self, kept: tuple[Number, ...] | None) -> str:
        """How a field shows what is kept."""
        return listed(kept or ())

    def stepped(self, numbers: tuple[Number, ...], way: int) -> tuple[Number, ...]:
        """The same: none of them comes next."""
        return numbers


def read_for(name: Any, value: Any, scale: Scale) -> Number:
    """The number that stands for something, such as a layer group; a UserError says for what."""
    try:
        return scale.read(value)
    except UserError as error:
        raise UserError(f"For {reprlib.repr(name)}: {error}") from error


def apart(value: str) -> list[str]:
    """The numbers of a text that holds several, with semicolons, blanks, or commas and a blank between them.

    Commas without blanks stand between numbers too; a UserError where they could as well be one number's.
    """
    words = [word for word in LIST.split(value.strip()) if word]
    if len(words) == 1 and "," in words[0]:
        words = [word for word in words[0].split(",") if word]
        if len(words) == 2 and "." not in value:
            one, two = f"{words[0]}.{words[1]}", " and ".join(words)
            _refuse(f"{one}, or {two}? Write one of them, with “;” between numbers.")
    return words


def _given(end: float | None) -> TypeGuard[float]:
    return end is not None


# Reading


def _refuse(what: str) -> NoReturn:
    raise UserError(what)


def _real(value: Any) -> float:
    """As a float; infinite where none is so large."""
    try:
        return float(value) + 0.0  # there is one zero
    except OverflowError:
        return math.inf


def _typed(text: str, scale: Scale) -> float:
    """The number of a text, infinite where no float is so large; a UserError for what is none."""
    tidy = TIMES_TEN.sub(_as_exponent, _tidied(text)) if len(text) <= LONGEST else ""
    if found := FRACTION.fullmatch(tidy):
        return _divided(found, scale)
    found = NUMBER.fullmatch(tidy)
    plain = _plain(found["digits"], scale) if found else None
    if found is None or plain is None:
        _refuse(f"{_needed(scale)}.")
    power = int(found["power"] or 0) - _hundredths(found["unit"], scale)
    number = _real(float(f"{found['sign']}{plain}e{power}"))
    if not number and plain.strip("0."):
        _refuse(f"{_needed(scale)}, less close to 0.")
    return number


def _needed(scale: Scale) -> str:
    return f"A {'whole number' if scale.whole else 'number'}{f', {scale.words()}' if scale.bounded else ''}"


def _tidied(text: str) -> str:
    """One kind of blank, minus, point and digit; what nobody sees is left out."""
    text = re.sub("[⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: "^" + found[0].translate(RAISED), text)
    return " ".join("".join(map(_simple, text)).translate(MARKS).split())


def _simple(letter: str) -> str:
    if unicodedata.category(letter) == "Cf":
        return ""
    if unicodedata.category(letter) == "Nd":
        return str(unicodedata.decimal(letter))
    same = unicodedata.normalize("NFKC", letter)
    return same if len(same) == 1 and unicodedata.category(letter) != "No" else letter  # never ½ behind a 1


def _as_exponent(found: re.Match[str]) -> str:
    start = "" if found["sign"] is None else f"{found['sign']}1"
    return f"{start}e{found['power']}"


def _divided(found: re.Match[str], scale: Scale) -> float:
    over, under = int(found["over"]), int(found["under"])
    if not under:
        _refuse(f"{_needed(scale)}.")
    return _real(Fraction(-over if found["sign"] == "-" else over, under))


def _plain(digits: str, scale: Scale) -> str | None:
    """The digits with a point or none; None where they are no number."""
    for group, pattern in THOUSANDS.items():
        if found := pattern.fullmatch(digits):
            whole, point, rest = found.groups()
            joined = whole.replace(group, "")
            if point == group:
                continue
            if point or whole.count(group) > 1 or group in " '" or (group == "," and scale.whole):
                return f"{joined}.{rest or 0}"
            if group == "," or scale.whole:
                _refuse(f"{written(float(whole.replace(group, '.')))} or {joined}? Write one of them.")
    return digits.replace(",", ".") if PLAIN.fullmatch(digits) else None


def _hundredths(unit: str | None, scale: Scale) -> int:
    """By how many powers of ten a unit makes the number smaller; a UserError for one that means nothing here."""
    if unit == "%" and not scale.whole and scale.high is not None and scale.high <= 1:
        return 2
    if unit and _singular(unit) not in map(_singular, scale.units):
        _refuse(f"{_needed(scale)}, without “{unit}”.")
    return 0


def _singular(unit: str) -> str:
    word = unit.casefold().removesuffix("s")
    return ALIKE.get(word, word)


# Steps


def _even(number: float, step: float, way: int) -> float:
    """The nearest multiple of a step that lies beyond the number."""
    places = number / step
    beyond = math.floor(places + 1 + 1e-9) if way > 0 else math.ceil(places - 1 - 1e-9)
    return float(f"{beyond * step:.12g}")


def _doubled(number: float, way: int) -> float:
    power = math.log2(max(number, 0.5))
    return 2.0 ** (math.floor(power) + 1 if way > 0 else math.ceil(power) - 1)


def _one_two_five(number: float, way: int, smallest: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten beyond the number; below the smallest lies 0, then the same."""
    if number < 0 or (number == 0 and way < 0):
        return 0.0 - _one_two_five(-number, -way, smallest)
    if number < smallest or (way < 0 and number <= smallest):
        return smallest if way > 0 else 0.0
    decade = math.floor(math.log10(number))
    series = [float(f"{digit}e{power}") for power in range(decade - 1, decade + 2) for digit in (1, 2, 5)]
    tolerance = 1 + way * 1e-9
    return next(each for each in series[::way] if (each - number * tolerance) * way > 0)
