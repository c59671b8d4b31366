"""Findings on pages, preflight's and the doctor's alike: what was seen, on which images, the one click that mends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import streamlit as st

from finetune_core.errors import Mend
from finetune_core.findings import Finding
from pages.ui.kit import refused, shell, state
from pages.ui.kit.shell import plain

MARKS = {
    "ok": ":green[:material/check_circle:]",
    "warn": ":orange[:material/warning:]",
    "next": ":blue[:material/arrow_circle_right:]",
    "ask": ":red[:material/report:]",
    "error": ":red[:material/error:]",
}
Show = Callable[[tuple[int, ...]], None]
"""Shows the images of these indices."""


def checks(findings: Iterable[Finding], show: Show | None = None, key: str = "checks") -> None:
    """A card with a row for each finding; nothing where there is none. `show` shows the images it is about."""
    rows = list(findings)
    if not rows:
        return
    with st.container(border=True, gap="xsmall", key=key):
        for number, finding in enumerate(rows):
            words = f"{MARKS[finding.level]} **{plain(finding.title)}**  {plain(finding.text)}"
            pictured = bool(finding.images and show)
            with st.container(
                horizontal=not pictured, vertical_alignment="center", horizontal_alignment="distribute", gap="small"
            ):
                st.markdown(words, width="stretch")
                if finding.images and show:
                    show(finding.images)
                with st.container(horizontal=True, width="stretch" if pictured else "content"):
                    shell.mends(finding.mends, f"{key}-mend-{number}")


def unkept() -> list[Finding]:
    """What stands in fields of the draft and cannot be kept, each as an error; a click keeps what was there before."""
    return [
        Finding("error", entry.label, f"“{entry.text}” cannot be kept. {entry.why}.", mend=_given_up(entry))
        for entry in refused.of_draft()
    ]


def _given_up(entry: refused.Refused) -> Mend | None:
    return Mend(f"Keep {entry.kept}", entry.path, state.value_at(entry.path)) if entry.path else None
