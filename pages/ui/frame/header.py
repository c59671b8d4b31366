"""Streamlit's own header, without what people take for ours: while a script runs it has a Stop of its own."""

from __future__ import annotations

import streamlit as st

# While the server is not reached it says so in the same place, and may.
_QUIET = '[data-test-connection-state="CONNECTED"] [data-testid="stStatusWidget"] { display: none }'


def quiet() -> None:
    """Hide the running man and the Stop beside him; a style alone takes no room on the page."""
    st.html(f"<style>{_QUIET}</style>")
