"""Fetching published weights before a run needs them: by a thread of the server, whatever the page does meanwhile."""

from __future__ import annotations

import threading

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts.backbones.hub import Published
from finetune_core.records import counted
from pages.ui.kit import shell
from pages.ui.kit.pieces import piece

EVERY = 0.5  # seconds between two looks at how far it is

_lock = threading.Lock()
_known: dict[str, Download] = {}  # those under way and those that failed, by source


class Download:
    """One set of weights on its way, in a thread of its own."""

    def __init__(self, files: Published, hint: str) -> None:
        """Make ready; see `start`."""
        self.text, self.share = f"Asking for {files.name}", 0.0
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._fetch, args=(files, hint), name="download", daemon=True)

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    def over(self, seconds: float = 0.0) -> bool:
        """Whether it is over, or will be within some seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _fetch(self, files: Published, hint: str) -> None:
        try:
            files.fetched(self._report, hint)
        except Exception as error:  # noqa: BLE001 - shown, or raised again, on the page that asks
            self.error = error

    def _report(self, what: str, done: float = 0, total: float = 0, unit: str = "") -> None:
        self.text, self.share = counted(what, done, total, unit), min(1.0, done / total) if total else 0.0


def begin(files: Published, hint: str) -> None:
    """Fetch it now, unless somebody does already."""
    with _lock:
        known = _known.get(files.source)
        if known is None or known.over():
            known = _known[files.source] = Download(files, hint)
            known.start()


def panel(files: Published, hint: str) -> None:
    """The button to fetch what is not here; while it comes, how far it is; where it could not be had, why."""
    known = _known.get(files.source)
    if known is None or known.over():
        if known is not None and known.error:
            _failed(files, known.error)
        label = "Try again" if known is not None and known.error else "Download now"
        st.button(
            label,
            icon=":material/download:",
            key="download-weights",
            help="Else a run fetches it when it starts. It is kept on this machine for all runs.",
            on_click=begin,
            args=(files, hint),
        )
        return

    def tick() -> None:
        if known.over():
            st.rerun()
        st.progress(known.share, text=known.text)

    piece(tick, EVERY)


def _failed(files: Published, error: Exception) -> None:
    """Words with ways on stay until they are followed; a bug is raised once, so that it can be tried again."""
    if not isinstance(error, UserError):
        with _lock:
            _known.pop(files.source, None)
        raise error
    shell.error_card(error)
