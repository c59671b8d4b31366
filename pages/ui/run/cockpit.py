"""What a run says of itself beside its charts: the alarms that stand, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from finetune_core.errors import Mend
from finetune_core.recipe import Recipe
from finetune_core.runs.alarms import standing
from pages.ui.kit import shell, state
from pages.ui.kit.shell import plain

MARKS = {
    "ok": ":blue[:material/info:]",
    "warn": ":orange[:material/warning:]",
    "error": ":red[:material/error:]",
}


def alarms(recipe: Recipe, events: Sequence[Mapping[str, Any]]) -> None:
    """The alarms among a run's events, newest first, in a place of their own, so that nothing below moves."""
    with st.container(key="alarms", gap="small"):
        for number, row in enumerate(standing(events)):
            _alarm(recipe, row, f"alarm-{number}")


def _alarm(recipe: Recipe, row: Mapping[str, Any], key: str) -> None:
    seen = row["text"].removeprefix(f"{row['title']}. ")
    with st.container(border=True, gap="xsmall", key=key):
        mark = MARKS.get(row["level"], MARKS["warn"])
        st.markdown(f"{mark} **{plain(row['title'])}** :gray[Step {row['step']:,}]")
        st.markdown(f"{plain(seen)} {plain(str(row.get('act', '')))}")
        if (mend := _mend(row)) and state.draft() == recipe:  # else the change would be one of another experiment
            shell.mends([replace(mend, title=f"{mend.title} in the draft")], key)


def _mend(row: Mapping[str, Any]) -> Mend | None:
    """The change that may help; None without one, or where it is damaged."""
    try:
        return Mend(**row["mend"])
    except (KeyError, TypeError):
        return None
