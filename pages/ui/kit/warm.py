"""Imports that take long, each made once and by one thread.

Sessions are threads. Where two of them import a package at the same time, a third can meet it half made: pandas in
plotly, or one of our own rooms. So what pages use is imported under one lock before any page is drawn. PyTorch takes
about ten seconds, and the first pages do without it: it comes in the background, while people read Home, and who needs
it waits.
"""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from functools import cache

import streamlit as st

from finetune_core.places import ROOT

LIGHT = (
    "numpy",
    "PIL.Image",
    "pandas",
    "pandas.io.formats.style",
    "plotly.graph_objects",
    "plotly.io",
    "huggingface_hub.file_download",
)
HEAVY = (
    "torch",
    "torchvision.transforms.v2",
    "torchvision.models",
    "timm",
    "finetune_core.parts.modules",
    "finetune_core.understand.predict",
    "finetune_core.export.serving",
)
# What of our own needs PyTorch, or no page.
LATER = (
    "cli",
    "parts.measures",
    "network.tapped",
    "training",
    "finder.range_test",
    "finder.race",
    "finder.halfway",
    "finder.scout",
    "finder.lab",
    "finder.embed",
    "finder.trials",
    "runs.work.worker",
    "runs.states.checkpoint",
    "runs.states.verify",
    "understand.embedding",
    "understand.evaluate",
    "understand.explain",
    "understand.many",
    "export.deployed",
    "export.looking",
    "export.play",
    "export.taking",
    "export.web",
)

_lock = threading.Lock()
_thread: threading.Thread | None = None
_wanted = threading.Event()  # at once, whatever was said before


def light() -> None:
    """Return when what every page uses is there; about two seconds, once per server."""
    with _lock:
        _load(LIGHT)
        _load(_ours())


def start(after: float = 0.0) -> None:
    """Begin to load PyTorch after so many seconds, sooner if it is wanted sooner, once per server; returns at once."""
    global _thread
    if not after:
        _wanted.set()
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_warm, args=(after,), name="warm-up", daemon=True)
            _thread.start()


def ready() -> bool:
    """Whether everything is loaded."""
    return _thread is not None and not _thread.is_alive() and all(name in sys.modules for name in HEAVY)


def wait() -> None:
    """Return when PyTorch is there; until then the page says what is loading. Import errors are raised here."""
    told = "Warming up: loading PyTorch. About ten seconds, once per start."
    with nullcontext() if ready() else st.spinner(told, show_time=True):
        join()


def join() -> None:
    """The same, where there is no page that could say so."""
    start()
    assert _thread is not None
    _thread.join()
    _load(HEAVY)


def _warm(after: float) -> None:
    _wanted.wait(after)
    _load(HEAVY)


@cache
def _ours() -> tuple[str, ...]:
    """The core's modules that need no PyTorch, found without importing any."""
    later = {*(f"finetune_core.{name}" for name in LATER), *HEAVY}
    steps = (path.relative_to(ROOT).with_suffix("").parts for path in sorted((ROOT / "finetune_core").rglob("*.py")))
    names = (".".join(each[:-1] if each[-1] == "__init__" else each) for each in steps)
    return tuple(name for name in names if not later.intersection(_rooms(name)) and not name.endswith("__main__"))


def _rooms(name: str) -> list[str]:
    """A module and the packages around it."""
    steps = name.split(".")
    return [".".join(steps[:depth]) for depth in range(1, len(steps) + 1)]


def _load(names: Iterable[str]) -> None:
    """Import what is missing, and have it left out of what Streamlit collects as garbage after each script run.

    It goes through all objects there are, of which the packages have most: a seventh of a second where PyTorch is.
    """
    missing = [name for name in names if name not in sys.modules]
    for name in missing:
        importlib.import_module(name)
    if missing:
        gc.collect()
        gc.freeze()
