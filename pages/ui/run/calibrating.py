"""What is fitted to a run's answers and may be kept with its model: then whatever answers with it follows."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.runs.states import fitted
from finetune_core.runs.states.fitted import Fitted
from finetune_core.runs.store import Run
from finetune_core.understand.calibration import Calibration
from finetune_core.wording import count
from pages.ui.kit import shell, state

FOLLOWS = "Try an image, predict, serve and all that is taken away follow."


def temperature(run: Run, found: Calibration, images: int) -> None:
    """How far confidence is off, and the temperature that mends it, to keep."""
    st.caption(
        f"When it is sure, is it right? The mean gap (ECE) is {found.error:.1%}. Divided by a temperature of "
        f"{found.temperature:.2f}, fitted on these {count(images, 'image')}, it would be {found.error_after:.1%}. "
        "Guesses stay the same, only how sure they are changes."
    )
    label = f"Keep the temperature {found.temperature:.2f} with the model"
    keeping(run, Fitted(temperature=found.temperature), label, lambda kept: f"temperature {kept.temperature:.2f}")


def keeping(run: Run, made: Fitted, label: str, said: Callable[[Fitted], str]) -> None:
    """Keep what was made, where nothing alike is kept; and what is kept, with a way to forget it."""
    kept = held(run)
    with st.container(horizontal=True, vertical_alignment="center", key="fitted"):
        if kept is not None:
            st.markdown(f":green[:material/check_circle:] Kept with the model: {said(kept)}.", width="content")
            st.button("Forget it", key="fitted-forget", type="tertiary", on_click=_save, args=(run, None))
        if kept != made:
            icon = ":material/bookmark_add:"
            st.button(label, key="fitted-keep", icon=icon, help=FOLLOWS, on_click=_save, args=(run, made))


def held(run: Run) -> Fitted | None:
    """What is kept; what cannot be read is said, and counts as nothing."""
    try:
        return fitted.load(run)
    except UserError as error:
        shell.error_card(error)
        return None


def _save(run: Run, made: Fitted | None) -> None:
    try:
        fitted.save(run, made)
    except UserError as error:
        state.note(error)
