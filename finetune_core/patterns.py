"""Regular expressions that people write: compiled, tried, and never for ever.

A pattern such as `(a+)+$` can take longer than the universe on thirty letters, and Python's own `re` cannot be told to
stop; the library `regex` can. Only patterns that mean the same to both are taken.
"""

from __future__ import annotations

import math
import re

import regex

from finetune_core.errors import UserError

PATIENCE = 0.25  # seconds for one text; a name takes microseconds
LONGEST = 1000  # letters
REPEATS = 10_000  # counts in braces, multiplied: the library writes out what must come so many times


class Pattern:
    """A regular expression that may be searched for in short texts."""

    def __init__(self, text: str, hint: str = "Mend it.") -> None:
        """Compile; a UserError with this hint where it is none."""
        self.text = text
        try:
            _check(text)
            self._compiled = regex.compile(text)
        except (regex.error, re.error, RecursionError, OverflowError, MemoryError) as error:
            what = f"{_short(text)} is no regular expression."
            raise UserError(what, f"{str(error).capitalize()}.", hint) from error
        self.groups: int = self._compiled.groups

    def search(self, text: str) -> regex.Match[str] | None:
        """The first place in a text that it fits; a UserError where looking takes too long."""
        try:
            return self._compiled.search(text, timeout=PATIENCE)
        except TimeoutError as error:
            raise UserError(
                f"The pattern {_short(self.text)} takes too long.",
                f"On {_short(text)} it tries more ways than can be tried: repeats stand within repeats.",
                "Write it simpler, without a + or * on a bracket that holds one.",
            ) from error


def _check(text: str) -> None:
    """Take what `re` takes, for scripts use that, and leave out what `regex` alone reads another meaning into."""
    if re.search(r"(?<!\\)\{(?!\d*,?\d*\})", text) or "[:" in text:
        raise regex.error("braces hold counts such as {2} or {1,3}, and [: begins nothing")
    re.compile(text)
    if len(text) > LONGEST:
        raise regex.error(f"it has {len(text)} letters, {LONGEST} are allowed")
    if math.prod(max(1, int(count)) for count in re.findall(r"\{\s*(\d{1,20})", text)) > REPEATS:
        raise regex.error(f"it asks for more than {REPEATS} repeats")


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
