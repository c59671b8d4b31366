"""A page that is asked for comes, whatever the page before is just doing.

Streamlit keeps for the whole session which page is asked for (docs/decisions/0036-each-run-its-page.md). A link ends
the run of the page that is left and begins another, in a thread of its own; where the run that is to end has just asked
to be run again, as a piece does that is done, it writes its own page over the one that was asked for before it hears of
its end. Then both draw the page that was to be left: the link led nowhere. So what is asked for is kept for each
thread, that is for each run.
"""

from __future__ import annotations

import threading
from typing import Any

from streamlit.runtime.pages_manager import PagesManager

WHOSE = ("_intended_page_script_hash", "_intended_page_name", "_current_page_script_hash")


class Own:
    """An attribute that each thread has for itself; a helper of a run, which has none, sees what was set last."""

    def __init__(self, name: str) -> None:
        """The attribute of this name."""
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        """What was set by the thread that asks."""
        last, own = vars(owner)[self.name]
        return getattr(own, "value", last)

    def __set__(self, owner: Any, value: Any) -> None:
        """Set it for the thread that does."""
        _, own = vars(owner).get(self.name, (None, threading.local()))
        own.value = value
        vars(owner)[self.name] = (value, own)


def keep() -> None:
    """See above; once, before the first session."""
    for name in WHOSE:
        setattr(PagesManager, name, Own(name))
