"""Changing a run on its way: rate, epochs and thawed groups behind one button, as long as the run is active.

A click counts once. Streamlit may call back twice for one, which would halve a rate twice: so a button goes by how many
changes had been asked for when it was drawn, and does nothing once there are more.
"""

from __future__ import annotations

from functools import partial

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts.numbers import written
from finetune_core.recipe.changes import Change, Epochs, Freeze, Rate, Thaw
from finetune_core.recipe.names import thawed
from finetune_core.runs import changing
from finetune_core.runs.store import Run
from pages.ui.kit import live, shell, state

FACTORS = {0.1: "÷ 10", 0.5: "÷ 2", 2.0: "× 2", 10.0: "× 10"}
LENGTHS = (-1, 1, 2, 5)
TOLD = "thaw:change-told:"
ASKED = "Asked: "


def popover(run: Run) -> None:
    """The button, and behind it the three things that can be changed, as what was asked for will leave them."""
    history = live.told(run).history
    try:
        (now, waiting), names = changing.pending(run, history), changing.names(run, history)
    except UserError:  # the run will say so itself
        return
    index, at = changing.standing(now, history, run.status)
    phase, warm = now[index], thawed(now[index].thaw, names)
    offer = partial(_offer, run, len(run.asked_changes()))
    with st.popover(
        "Change", icon=":material/tune:", help="Takes effect before the next step, and is drawn as a mark."
    ):
        _say(state.value(TOLD + run.id), [made.text for made in waiting])
        st.markdown(f"**Rate** :gray[peak {written(phase.learning_rate, 3)}]")
        with st.container(horizontal=True, gap="xsmall"):
            for factor, words in FACTORS.items():
                offer(words, Rate(number=factor), f"change-rate-{factor}")
        done = -(-at.step // at.epoch_steps)
        st.markdown(f"**Epochs** :gray[{min(done, phase.epochs)} of {phase.epochs} begun]")
        with st.container(horizontal=True, gap="xsmall"):
            for more in LENGTHS:
                offer(f"{more:+}".replace("-", "−"), Epochs(number=more), f"change-epochs-{more}")
            offer("End after this one", Epochs(how="to", number=max(1, done)), "change-epochs-end")
        st.markdown("**Layer groups** :gray[a click thaws or freezes]")
        with st.container(horizontal=True, gap="xsmall"):
            for name in names:
                kind, icon = (
                    (Freeze, ":material/local_fire_department:") if name in warm else (Thaw, ":material/ac_unit:")
                )
                offer(shell.plain(name), kind(groups=(name,)), f"change-group-{name}", icon)


def _say(told: str | None, waiting: list[str]) -> None:
    """What still waits, as while the run is paused, and what came of the last click where that is another."""
    for text in waiting:
        st.caption(f":material/hourglass_top: Asked, before the next step: {shell.plain(text)}")
    if told and told.removeprefix(ASKED) not in waiting:
        st.caption(f":material/flag: {shell.plain(told)}")


def _offer(run: Run, turn: int, label: str, change: Change, key: str, icon: str | None = None) -> None:
    args, help = (run, change, turn), shell.plain(f"set RUN {change.asked}")
    st.button(label, icon=icon, key=f"{key}:{turn}", on_click=_ask, args=args, help=help)


def _ask(run: Run, change: Change, turn: int) -> None:
    """Ask for a change; what does not fit is said where the button is."""
    if len(run.asked_changes()) != turn:
        return
    try:
        made = changing.ask(run, change, live.told(run).history)
        state.keep(TOLD + run.id, f"{ASKED}{made.text}")
    except UserError as error:
        state.keep(TOLD + run.id, str(error))
