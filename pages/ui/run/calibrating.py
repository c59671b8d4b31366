"""What is fitted to a run's answers and may be kept with its model: then what answers with it follows."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.places import stamp
from finetune_core.runs.states import fitted
from finetune_core.runs.states.fitted import Fitted
from finetune_core.runs.store import Run
from finetune_core.understand import fitting
from finetune_core.understand.calibration import Calibration
from finetune_core.understand.outcomes import Outcomes
from finetune_core.wording import count
from pages.ui.kit import shell, state


def temperature(run: Run, outcomes: Outcomes, found: Calibration) -> None:
    """How far confidence is off, and the temperature that mends it, to keep."""
    said = f"When it is sure, is it right? The mean gap (ECE) is {found.error:.1%}."
    try:
        made = fitting.temperature(outcomes).fitted
    except UserError as error:
        st.caption(f"{said} {shell.plain(str(error))}")
        keeping(run, None, "", _warm)
        return
    images = count(len(outcomes.images), "image")
    st.caption(
        f"{said} Divided by a temperature of {made.temperature:.2f}, fitted on these {images}, it would be "
        f"{found.error_after:.1%}. Guesses stay the same, only how sure they are changes."
    )
    keeping(run, made, f"Keep the temperature {made.temperature:.2f} with the model", _warm)


def keeping(run: Run, made: Fitted | None, label: str, said: Callable[[Fitted], str], help: str = "") -> None:
    """Keep what was made, where nothing alike is kept; and what is kept, with a way to forget it."""
    kept = held(run)
    with st.container(horizontal=True, vertical_alignment="center", key="fitted"):
        if kept is not None:
            st.markdown(f":green[:material/check_circle:] Kept with the model: {said(kept)}.", width="content")
        if run.fitted_file.exists():  # also one that is damaged, or of weights that are no longer the best
            st.button("Forget it", key="fitted-forget", type="tertiary", on_click=_save, args=(run, None, None))
        if made is not None and kept != made:
            icon, when = ":material/bookmark_add:", stamp(run.predictions_file)
            follows = help or "Try an image, predict, serve and all that is taken away follow."
            st.button(label, key="fitted-keep", icon=icon, help=follows, on_click=_save, args=(run, made, when))


def held(run: Run) -> Fitted | None:
    """What is kept; what cannot be read is said, and counts as nothing."""
    try:
        return fitted.load(run)
    except UserError as error:
        shell.error_card(error)
        return None


def _warm(kept: Fitted) -> str:
    return f"temperature {kept.temperature:.2f}"


def _save(run: Run, made: Fitted | None, when: object) -> None:
    """Unless the answers that it was fitted to are no longer those of the best epoch."""
    try:
        if made is not None and stamp(run.predictions_file) != when:
            raise UserError("It was not kept.", "The run has a better epoch by now.", "Look again, and keep that.")
        fitted.save(run, made)
    except UserError as error:
        state.note(error)
