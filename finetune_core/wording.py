"""How things are named, counted and listed in sentences, on pages and in the terminal alike."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

MOST = 5  # names in a sentence


def shown(name: str | Path) -> str:
    """A file name that any terminal and page can show: undecodable bytes and control characters are spelled out."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def count(number: int, one: str, many: str = "") -> str:
    """So many of them: `1 image`, `3 images`, `2 classes`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def few(names: Iterable[object], most: int = MOST, between: str = ", ") -> str:
    """The first of some names, each once and safe to print, and how many more there are."""
    said = list(dict.fromkeys(shown(str(name)) for name in names))
    more = f" and {len(said) - most:,} more" if len(said) > most else ""
    return between.join(said[:most]) + more
