"""The dialog that is open, which stays so while the page behind it is drawn anew: as a run goes on or ends, say.

Streamlit closes one that a run of the page does not draw. So what was asked for is kept, and drawn with each run where
it is `opened`, until it is closed, by `on_dismiss=dialogs.close` too, or another page comes. There is one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from pages.ui.kit import state

_OPEN, _PAGE = "thaw:dialog", "thaw:dialog-page"


def open(name: str, about: Any = True) -> None:
    """Have the dialog of this name be drawn with the next run of the page."""
    state.keep(_OPEN, (name, about))


def opened(name: str) -> Any:
    """What this dialog was opened about; None where it is not open."""
    now, about = state.value(_OPEN, ("", None))
    return about if now == name else None


def close() -> None:
    """Whichever it is, it is over."""
    state.keep(_OPEN, ("", None))


def follow(name: str) -> None:
    """Called first in the dialog of this name: where a click in it has closed it, the page is drawn without it."""
    if opened(name) is None:
        st.rerun()


def done(act: Callable[..., object], *args: Any) -> None:
    """What a click in a dialog calls that ends it: close it and do this; what is noted then, the page tells."""
    close()
    act(*args)


def stay(page: str) -> None:
    """Close what was open on another page than the one that is being drawn."""
    if page != state.value(_PAGE, page):
        close()
    state.keep(_PAGE, page)
