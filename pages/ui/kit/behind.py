"""Work behind a page: by a thread of the server, which goes on whatever the page does, until other work replaces it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.records import Count
from pages.ui.kit import shell, state
from pages.ui.kit.pieces import piece

SOON = 1.0  # seconds in which small work is done, so that no bar flashes by
EVERY = 0.5  # seconds between two looks at how far it is

Found = TypeVar("Found")
_lock = threading.Lock()


class _LeftError(Exception):
    """Other work has taken its place."""


class Behind(Generic[Found]):
    """One piece of work, in a thread of its own; `place` holds what is under way of its kind, one at most."""

    def __init__(self, place: dict[str, Behind[Found]], key: str, work: Callable[[Count], Found], words: str) -> None:
        """Make ready; see `begin`."""
        self.key, self.words, self.done, self.total = key, words, 0, 1
        self.new = True  # until somebody has waited for it
        self._place = place
        self._found: list[Found] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._do, args=(work,), name=words, daemon=True)

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    def over(self, seconds: float = 0.0) -> bool:
        """Whether it is over, or will be within some seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Found:
        """What was found, once it is over; raises what ended it, and lets the next look at the page try again."""
        if self._error:
            with _lock:
                if self._place.get(self.key) is self:
                    del self._place[self.key]
            raise self._error
        return self._found[0]

    def _do(self, work: Callable[[Count], Found]) -> None:
        try:
            self._found.append(work(self._count))
        except Exception as error:  # noqa: BLE001 - raised again on the page that asks for the result
            self._error = error

    def _count(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self._place.get(self.key) is not self:
            raise _LeftError


def begin(place: dict[str, Behind[Found]], key: str, work: Callable[[Count], Found], words: str) -> Behind[Found]:
    """The work of this key, begun now if it was not before; any other in this place ends."""
    with _lock:
        if key not in place:
            place.clear()
            place[key] = Behind(place, key, work, words)
            place[key].start()
        return place[key]


def own(kind: str) -> dict[str, Behind[Any]]:
    """The session's place for work that each draw of a page asks for: tabs would replace each other's in turn."""
    if (place := state.value(f"behind:{kind}")) is None:
        state.keep(f"behind:{kind}", place := {})
    return place


def goes_on(work: Behind[Found] | None) -> bool:
    """Draw how far it is, and the whole page once it is over; says what ended it, and whether it still goes on."""
    if work is None:
        return False
    if not work.over():
        watch(work, lambda _: st.rerun())
        return True
    try:
        work.result()
    except UserError as error:
        shell.error_card(error)
    return False


def watch(work: Behind[Found], draw: Callable[[Found], None]) -> None:
    """Draw what was found; until then how far it is. Only the page that began it waits a moment, for small work."""
    patience, work.new = SOON if work.new else 0.0, False
    if work.over(patience):
        try:
            draw(work.result())
        except _LeftError:
            st.rerun()
        except UserError as error:
            shell.error_card(error)
        return

    def tick() -> None:
        if work.over():
            st.rerun()
        st.progress(work.done / max(1, work.total), text=f"{work.words}: {work.done:,} of {work.total:,}")

    piece(tick, EVERY)
