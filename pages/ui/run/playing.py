"""Play: the page that can be taken away or served, at work on a run's own page."""

from __future__ import annotations

import streamlit as st

from finetune_core.runs.store import Run
from pages.ui.kit import path, warm

HEIGHT = 600  # px, enough for five answers below a picture where both do not fit side by side


def playing(run: Run) -> None:
    """A picture is dropped or the camera runs, and the best epoch so far answers, live."""
    warm.start()
    st.caption("Drop a picture, paste one, or hold something up to the camera. The best epoch so far answers.")
    st.iframe(path.play(run.id), height=HEIGHT, alt="Play live")
