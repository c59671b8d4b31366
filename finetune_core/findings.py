"""Findings: what was looked at before anything runs, in words for the page and the terminal alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from finetune_core.errors import Mend, UserError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `error` is what the worker would stop with, `mend` what would settle it.

    `images` are the indices of those that it is about.
    """

    level: Literal["ok", "warn", "error"]
    title: str
    text: str = ""
    error: UserError | None = None
    mend: Mend | None = None
    images: tuple[int, ...] = ()

    @property
    def mends(self) -> tuple[Mend, ...]:
        """The clicks that would settle it."""
        return (self.mend,) if self.mend else self.error.mends if self.error else ()

    def line(self) -> str:
        """One line for a terminal."""
        return f"{self.title}: {self.text}" if self.text else self.title


def failed(title: str, error: UserError, mend: Mend | None = None) -> Finding:
    """What a run would stop with."""
    return Finding("error", title, str(error), error, mend)
