"""Imports that take long, each made once and by one thread.

Sessions are threads. Where two of them import pandas at the same time, plotly in a third meets it half made: so what
all pages use is imported under one lock before any page is drawn. PyTorch takes about ten seconds, and the first pages
do without it: it comes in the background, and who needs it waits.
"""

from __future__ import annotations

import importlib
import sys
import threading

import streamlit as st

LIGHT = ("numpy", "PIL.Image", "pandas", "pandas.io.formats.style", "plotly.graph_objects", "plotly.io")
HEAVY = ("torch", "torchvision.transforms.v2")

_lock = threading.Lock()
_thread: threading.Thread | None = None


def light() -> None:
    """Return when what every page uses is there; about a second, once per server."""
    with _lock:
        _load(LIGHT)


def start() -> None:
    """Begin to load PyTorch, once per server; returns at once."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_load, args=(HEAVY,), name="warm-up", daemon=True)
            _thread.start()


def ready() -> bool:
    """Whether everything is loaded."""
    return _thread is not None and not _thread.is_alive() and all(name in sys.modules for name in HEAVY)


def wait() -> None:
    """Return when PyTorch is there; until then the page says what is loading. Import errors are raised here."""
    start()
    assert _thread is not None
    if not ready():
        with st.spinner("Warming up: loading PyTorch. About ten seconds, once per start.", show_time=True):
            _thread.join()
        _load(HEAVY)


def _load(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)
