"""A run's name, changed wherever it stands: by one dialog, which is the same on every page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.runs import store
from finetune_core.runs.shelf import naming, notes
from finetune_core.runs.shelf.notes import LONGEST_NAME, Notes
from pages.ui.kit import dialogs, shell, state

RENAME = "rename"


def pencil(run: str, key: str = "rename") -> None:
    """The button beside a name."""
    if st.button(":material/edit:", key=key, type="tertiary", help="Rename"):
        ask(run)
        st.rerun()


def ask(run: str) -> None:
    """Open the dialog for the run of this id as soon as the whole page is drawn."""
    dialogs.open(RENAME, run)


def renaming() -> None:
    """The dialog, where somebody asked for it; on every page that has a pencil."""
    if run := dialogs.opened(RENAME):
        _dialog(run)


@st.dialog("Rename", on_dismiss=dialogs.close)
def _dialog(run: str) -> None:
    dialogs.follow(RENAME)
    try:
        files = store.open_run(run)
        made = naming.of_recipe(files.recipe)
        now = notes.read(files).name
    except UserError as error:
        shell.error_card(error)
        return
    with st.form("rename-form", border=False):
        st.text_input("Name", now, max_chars=LONGEST_NAME, placeholder=made, key=f"name:{run}")
        st.caption(f"Left empty, it is called {shell.plain(made)}.")
        st.form_submit_button("Rename", type="primary", on_click=dialogs.done, args=(_rename, run))


def _rename(run: str) -> None:
    name = state.value(f"name:{run}", "")
    change(run, lambda had: replace(had, name=name))


def change(run: str, made: Callable[[Notes], Notes]) -> None:
    """Write other notes on the run of this id; what stands against it becomes a notice."""
    try:
        files = store.open_run(run)
        notes.write(files, made(notes.read(files)))
    except UserError as error:
        state.note(error)
