"""Findings of preflight on pages, each with the one click that settles it where there is one."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from finetune_core.runs.preflight import Finding
from pages.ui import state
from pages.ui.shell import plain

MARKS = {
    "ok": ":green[:material/check_circle:]",
    "warn": ":orange[:material/warning:]",
    "error": ":red[:material/error:]",
}


def checks(findings: Iterable[Finding]) -> None:
    """A card with a row for each finding; nothing where there is none."""
    rows = list(findings)
    if not rows:
        return
    with st.container(border=True, gap="xsmall", key="checks"):
        for number, finding in enumerate(rows):
            _row(number, finding)


def _row(number: int, finding: Finding) -> None:
    words = f"{MARKS[finding.level]} **{plain(finding.title)}**  {plain(finding.text)}"
    if finding.mend is None:
        st.markdown(words)
        return
    mend = finding.mend
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", gap="small"):
        st.markdown(words, width="stretch")
        st.button(
            mend.title,
            icon=":material/healing:",
            type="tertiary",
            key=f"mend-{number}",
            on_click=state.edit_value,
            args=(mend.path, mend.value),
        )
