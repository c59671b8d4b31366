"""Brings what a click has opened into sight: Streamlit leaves the window where it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from pages.ui.kit import state

_TURNS = "thaw:into-sight"


def wish() -> None:
    """Whoever has clicked wants to see what it opens."""
    state.keep(_TURNS, state.value(_TURNS, 0) + 1)


def bring(key: str) -> None:
    """Bring the container of this key into sight, once after each wish."""
    _sight()(key="sight", height=1, data={"key": key, "turn": state.value(_TURNS, 0)})


@cache
def _sight() -> Callable[..., Any]:
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    return st.components.v2.component("thaw_sight", js=script, isolate_styles=False)
