"""One class for everything that a person can mend. Anything else is a bug and keeps its traceback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mend:
    """A change of one value of the recipe, by dotted path, that settles something."""

    title: str
    path: str
    value: Any


class UserError(Exception):
    """Something went wrong that the person at the keyboard can mend.

    Pages show it as a card, the command line as two lines and exit code 2.
    """

    def __init__(self, what: str, why: str = "", hint: str = "", mends: Sequence[Mend] = ()) -> None:
        """Say what happened, why, and what to try: one plain sentence each. Pages offer the `mends` as clicks."""
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.mends = tuple(mends)

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.hint) if part)

    @classmethod
    def said(cls, words: Mapping[str, str]) -> UserError:
        """The error of these words, read back from a file."""
        return cls(words["what"], words.get("why", ""), words.get("hint", ""))

    def words(self) -> dict[str, str]:
        """What, why and hint, for a file; `UserError.said(words)` says the same again."""
        return {"what": self.what, "why": self.why, "hint": self.hint}

    def lines(self) -> tuple[str, str]:
        """Two lines for a terminal: what and why, then what to try."""
        return " ".join(filter(None, (self.what, self.why))), self.hint or "See `python -m finetune_core --help`."


class UnsaidError(UserError):
    """Something has yet to be said: a run stops with it, but nobody has made a mistake. Pages tell the next step."""
