"""Findings: what was looked at before anything runs, in words for the page and the terminal alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from finetune_core.errors import Mend, UnsaidError, UserError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `error` is what the worker would stop with, `mend` what would settle it.

    What comes "next" would stop it, too, but is no mistake: something has yet to be said or chosen. What is to "ask"
    about does not stop a run, but may make its result worthless. `others` would settle it, too; `images` are the
    indices of those that it is about.
    """

    level: Literal["ok", "warn", "ask", "next", "error"]
    title: str
    text: str = ""
    error: UserError | None = None
    mend: Mend | None = None
    images: tuple[int, ...] = ()
    others: tuple[Mend, ...] = ()

    @property
    def mends(self) -> tuple[Mend, ...]:
        """The clicks that would settle it."""
        first = (self.mend,) if self.mend else self.error.mends if self.error else ()
        return (*first, *self.others)

    def line(self) -> str:
        """One line for a terminal."""
        return f"{self.title}: {self.text}" if self.text else self.title


def failed(title: str, error: UserError, mend: Mend | None = None) -> Finding:
    """What a run would stop with: a mistake, unless something has just not been said yet."""
    return Finding("next" if isinstance(error, UnsaidError) else "error", title, str(error), error, mend)


def unsettled(title: str, error: UserError, mend: Mend | None = None) -> Finding:
    """What a run would stop with, but no mistake: what was chosen one after the other does not go together yet."""
    return Finding("next", title, str(error), error, mend)
