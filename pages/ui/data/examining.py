"""Looking at every image behind the page: by one thread of the server, which goes on whatever the page does.

What it reads lands in the cache that training reads from: nothing is done twice. Another choice of data ends it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import streamlit as st

from finetune_core.data import doctor
from finetune_core.data.pipeline import eval_side
from finetune_core.errors import UserError
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Data
from pages.ui.kit import dataset, shell
from pages.ui.kit.pieces import piece

SOON = 1.0  # seconds in which a small folder is looked at, so that no bar flashes by
EVERY = 0.5  # seconds between two looks at how far it is

_lock = threading.Lock()
_latest: dict[str, Examination] = {}  # one entry: the examination of the data that are chosen now


class _LeftError(Exception):
    """Other data were chosen meanwhile."""


class Examination:
    """One look at all images of a data set, in a thread of its own."""

    def __init__(self, key: str, samples: Samples, data: Data) -> None:
        """Make ready; see `start`."""
        self.key, self.done, self.total = key, 0, len(samples)
        self.new = True  # until somebody has waited for it
        self.found: doctor.Examined | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._look, args=(samples, data), name="examination", daemon=True)

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    def over(self, seconds: float = 0.0) -> bool:
        """Whether it is over, or will be within some seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> doctor.Examined:
        """What was found, once it is over; raises what ended it."""
        if self.error:
            raise self.error
        assert self.found is not None
        return self.found

    def _look(self, samples: Samples, data: Data) -> None:
        try:
            self.found = doctor.examine(samples, eval_side(data.image_size), data.channels, self._count)
        except Exception as error:  # noqa: BLE001 - raised again on the page that asks for the result
            self.error = error

    def _count(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if _latest.get(self.key) is not self:
            raise _LeftError


def begin(samples: Samples, data: Data) -> Examination:
    """The examination of these images, begun now if it was not before."""
    key = f"{dataset.key(data.source)}{data.image_size}{data.channels}"
    with _lock:
        if key not in _latest:
            _latest.clear()
            _latest[key] = Examination(key, samples, data)
            _latest[key].start()
        return _latest[key]


def watch(look: Examination, draw: Callable[[doctor.Examined], None]) -> None:
    """Draw what was found; until then how far it is. Only the page that began it waits a moment, for small folders."""
    patience, look.new = SOON if look.new else 0.0, False
    if look.over(patience):
        _draw(look, draw)
        return

    def tick() -> None:
        if look.over():
            st.rerun()
        st.progress(look.done / max(1, look.total), text=f"Looking at every image: {look.done:,} of {look.total:,}")

    piece(tick, EVERY)


def _draw(look: Examination, draw: Callable[[doctor.Examined], None]) -> None:
    if look.error:
        with _lock:  # the next look at the page tries again
            if _latest.get(look.key) is look:
                del _latest[look.key]
    try:
        draw(look.result())
    except _LeftError:
        st.rerun()
    except UserError as error:
        shell.error_card(error)
