"""Thawing more after a run: the next stage beside what was trained, and one click that makes it the draft."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.recipe.diff import stages_beside
from finetune_core.recipe.thawing import next_words, thawed_more
from finetune_core.runs.store import Run
from pages.ui.kit import dialogs, outline, path, shell, starts, state

FURTHER = "thaw-more"


def button(run: Run) -> None:
    """The button, and behind it the proposal."""
    help = "Shows the next stage: more layer groups at a lower rate, from the weights of this run."
    if st.button("Thaw more", icon=":material/local_fire_department:", help=help):
        dialogs.open(FURTHER)
    if dialogs.opened(FURTHER):
        _propose(run)


@st.dialog("Thaw more", width="medium", on_dismiss=dialogs.close)
def _propose(run: Run) -> None:
    trained = run.recipe_at()
    try:
        names = outline.group_names(trained)
        further = thawed_more(trained, names)
    except UserError as error:
        shell.error_card(error)
        return
    st.markdown(shell.plain(next_words(trained, names)))
    st.table(_table(run, trained, further, names), border="horizontal")
    st.caption("It becomes your draft; nothing starts yet. The loss may bump where layers thaw, and comes down again.")
    stage = starts.with_weights_of(further, str(run.best)) if run.best.exists() else further
    icon = ":material/arrow_forward:"
    if st.button("Take the next stage", type="primary", icon=icon, on_click=state.take, args=(stage,)):
        shell.go(path.PAGES["train"])


def _table(run: Run, trained: Recipe, further: Recipe, names: tuple[str, ...]) -> pd.DataFrame:
    """What changes, from the weights to the rate of each group."""
    rows = stages_beside(trained.phases[-1], further.phases[0], names)
    if run.best.exists():
        rows = [("Weights", starts.weights_words(trained.model.backbone.weights), starts.short(str(run.best))), *rows]
    return pd.DataFrame(rows, columns=["", "This run", "Next stage"]).map(shell.plain).set_index("")
