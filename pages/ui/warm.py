"""Loading PyTorch in the background: it takes about ten seconds, and the first pages do without it."""

from __future__ import annotations

import importlib
import sys
import threading

import streamlit as st

MODULES = ("torch", "torchvision.transforms.v2")

_lock = threading.Lock()
_thread: threading.Thread | None = None


def start() -> None:
    """Begin to load, once per server; returns at once."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_load, name="warm-up", daemon=True)
            _thread.start()


def ready() -> bool:
    """Whether everything is loaded."""
    return _thread is not None and not _thread.is_alive() and all(name in sys.modules for name in MODULES)


def wait() -> None:
    """Return when PyTorch is there; until then the page says what is loading. Import errors are raised here."""
    start()
    assert _thread is not None
    if not ready():
        with st.spinner("Warming up: loading PyTorch. About ten seconds, once per start.", show_time=True):
            _thread.join()
        _load()


def _load() -> None:
    for name in MODULES:
        importlib.import_module(name)
