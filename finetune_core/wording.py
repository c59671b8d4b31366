"""How things are named, counted and listed in sentences, on pages and in the terminal alike."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

MOST = 5  # names in a sentence
LONGEST = 400  # letters of a stranger's that are shown at a time

# What draws nothing, but turns the direction of the text beside it, ends its line or rings a bell
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def shown(name: str | Path) -> str:
    """A file name that any terminal and page can show: undecodable bytes and control characters are spelled out."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def tidy(text: str, most: int = LONGEST) -> str:
    """Text of people on one line: without what is unseen, and cut where it is longer than any name should be."""
    line = " ".join(_UNSEEN.sub("", text).split()).encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def file_name(text: str, otherwise: str = "recipe") -> str:
    """A name that every disk takes, as near as possible to what somebody has called something."""
    letters = "".join(letter if letter.isalnum() or letter in "_." else "-" for letter in tidy(text))
    return letters[:40].strip("-.") or otherwise


def count(number: int, one: str, many: str = "") -> str:
    """So many of them: `1 image`, `3 images`, `2 classes`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def megabytes(size: int) -> str:
    """Bytes as people read them: `3.1 MB`, `240 MB`, `1.2 GB`."""
    for unit, large in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= large:
            return f"{size / large:,.{1 if size < 100 * large else 0}f} {unit}"
    return f"{size / 1e6:.1f} MB"


def lasting(seconds: float) -> str:
    """A time as people say it: `0.4 s`, `12 s`, `3 min 20 s`, `1 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def roughly(seconds: float) -> str:
    """The same in passing, where seconds do not matter beside minutes: `40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def few(names: Iterable[object], most: int = MOST, between: str = ", ") -> str:
    """The first of some names, each once and safe to print, and how many more there are."""
    said = list(dict.fromkeys(shown(str(name)) for name in names))
    more = f" and {len(said) - most:,} more" if len(said) > most else ""
    return between.join(said[:most]) + more
