"""What the theme in `.streamlit/config.toml` cannot say of the studio's look; the CSS gives each rule its reason."""

from __future__ import annotations

from pathlib import Path

import streamlit as st


def dress() -> None:
    """Apply the rules; a style alone takes no room on the page."""
    st.html(Path(__file__).with_suffix(".css"))
