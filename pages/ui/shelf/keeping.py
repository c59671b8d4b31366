"""What can be done with runs as a whole: note, take away, throw away, bring back, bring in; and the space they take."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import streamlit as st

from finetune_core.data import cache, rows
from finetune_core.errors import UserError
from finetune_core.runs import launch, store
from finetune_core.runs.shelf import exchange, trash
from finetune_core.runs.shelf.apart import told_apart
from finetune_core.runs.shelf.summaries import Summary, summaries
from finetune_core.runs.store import Run
from finetune_core.wording import count, few, megabytes
from pages.ui.kit import naming, path, shell, state

LARGEST = 2_000_000_000  # bytes of a run that a browser is given; beyond them there is the command line
_UPLOADED, _BROUGHT, _TURN = "runs-uploaded", "runs-brought", "runs-turn"


def one(run: Summary, name: str) -> None:
    """A single ticked run: open it, rename it, use its recipe, note something, take it away, throw it away."""
    if not run.readable:
        shell.error_card(UserError.said(run.status.error or {"what": run.status.message}))
        _throw_away([run])
        return
    files = store.open_run(run.id)
    with st.container(border=True, key="one-run"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"**{shell.plain(name)}**", width="content")
            naming.pencil(run.id)
            st.markdown(f":gray[{megabytes(run.size)}]", width="content")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if st.button("Open", icon=":material/open_in_full:"):
                shell.go(path.RUN, run=run.id)
            if st.button("Use this recipe", icon=":material/edit:", help="Makes it your draft and opens Train."):
                state.take(files.recipe)
                shell.go(path.PAGES["train"])
            if not run.status.active:
                _take_away(run, files)
                _slim(run, files)
                _throw_away([run])
        _notes(run)


def several(runs: Sequence[Summary]) -> None:
    """Some ticked runs: throw them away, or give all of them a tag."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="several-runs"):
        with st.popover(f"Tag these {len(runs)} runs", icon=":material/sell:"):
            tag = st.text_input("Tag", key="runs-tag-all", max_chars=40)
            if st.button("Add the tag", key="runs-tag-add") and tag:
                for run in runs:
                    naming.change(run.id, lambda had: replace(had, tags=(*had.tags, tag)))
                st.rerun()
        _throw_away(runs)


def shelf(runs: Sequence[Summary]) -> None:
    """Below all: the space that runs take, the trash, and a way in for runs from elsewhere."""
    gone = trash.thrown_away()
    with st.container(horizontal=True, vertical_alignment="center", key="shelf"):
        if runs:
            total = megabytes(sum(run.size for run in runs))
            st.caption(f"{count(len(runs), 'run')}, {total} on disk.", width="content")
        _bring_in()
        _brought()
        if gone:
            _trash(gone)
        _made_again("Kept features", ":material/bolt:", "features", FEATURES, rows)
        _made_again("Decoded images", ":material/photo_library:", "images", IMAGES, cache)


def _notes(run: Summary) -> None:
    known = sorted({tag for other in summaries() for tag in other.notes.tags})
    left, right = st.columns([2, 3], gap="medium")
    tags = [*run.notes.tags]
    left.multiselect("Tags", known, tags, accept_new_options=True, placeholder="Add a tag", **_field(run, "tags", tags))
    text = run.notes.text
    right.text_area("Note", text, height=90, placeholder="What to remember of it", **_field(run, "text", text))


def _field(run: Summary, field: str, now: Any) -> dict[str, Any]:
    """What makes a widget show one of the notes and change it alone: another tab may have changed the others."""
    return state.callback(state.seed(f"{field}:{run.id}", now), _note, run.id, field)


def _note(run: str, field: str, said: Any) -> None:
    edited: dict[str, Any] = {field: tuple(said) if field == "tags" else said}
    naming.change(run, lambda had: replace(had, **edited))


def _take_away(run: Summary, files: Run) -> None:
    help = "The whole run as one zip file: to keep, to send, to bring in elsewhere."
    if run.size > LARGEST:
        command = launch.command("export-run", run.id, "run.zip")
        st.button(
            "Zip", icon=":material/folder_zip:", disabled=True, help=f"Too large for a browser: {shell.plain(command)}"
        )
        return
    st.download_button(
        "Zip", partial(_zipped, files), f"{run.id}.zip", icon=":material/folder_zip:", on_click="ignore", help=help
    )


def _zipped(run: Run) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return exchange.export_run(run, Path(folder) / "run.zip").read_bytes()


def _slim(run: Summary, files: Run) -> None:
    """Offered where it frees something."""
    if run.status.state != "finished" or not files.best.exists():
        return
    freed = run.size - files.best.stat().st_size
    with st.popover("Slim", icon=":material/compress:", help="Frees disk space."):
        st.markdown(
            f"Keep only the best weights: about {megabytes(freed)} become free. The run can still be shown, compared"
            " and asked about images; the weights of its other moments are deleted for good."
        )
        if st.button("Keep the best weights only", key="slim"):
            _do(lambda: trash.slim(files))


def _throw_away(runs: Sequence[Summary]) -> None:
    help = "They can be brought back until the trash is emptied."
    label = "To the trash" if len(runs) == 1 else f"All {len(runs)} to the trash"
    if st.button(label, icon=":material/delete:", type="tertiary", help=help, key="throw-away"):
        _do(lambda: [trash.throw_away(store.open_run(run.id)) for run in runs])


def _trash(gone: Sequence[Summary]) -> None:
    """What is in it, to bring back, or to delete for good."""
    size = megabytes(trash.in_trash())
    with st.popover(f"Trash: {count(len(gone), 'run')}, {size}", icon=":material/delete:", key="trash"):
        names = told_apart(gone)
        back = st.multiselect("Bring back", list(names), format_func=names.__getitem__, key="trash-chosen")
        if st.button("Bring back", icon=":material/undo:", key="bring-back", disabled=not back):
            _do(lambda: [trash.bring_back(name) for name in back])
        st.caption(f"Emptying deletes {shell.plain(few(names.values(), 3))} for good, and frees {size}.")
        sure = st.checkbox("I am sure", key="trash-sure")
        if st.button("Empty the trash", icon=":material/delete_forever:", key="empty-trash", disabled=not sure):
            _do(trash.empty)


FEATURES = (
    "What frozen layers gave for your images, so that no run works it out twice. The oldest give way beyond "
    f"{megabytes(rows.LIMIT)}. Without them the next run with frozen layers takes a little longer."
)
IMAGES = (
    "Your images as training reads them, so that no run decodes them twice. The oldest give way beyond "
    f"{megabytes(cache.LIMIT)}. Your files stay as they are; the next run decodes them again."
)


def _made_again(name: str, icon: str, key: str, words: str, kept: ModuleType) -> None:
    """What is kept beside the runs, for all of them, and made again when it is needed: nothing is lost with it."""
    if not (size := kept.size()):
        return
    with st.popover(f"{name}, {megabytes(size)}", icon=icon, key=key):
        st.caption(words)
        if st.button("Clear", icon=":material/delete:", key=f"clear-{key}"):
            _do(kept.clear)


def _bring_in() -> None:
    turn = state.value(_TURN, 0)  # with each it is another one: closed, and without a file
    with st.popover("Bring in a run", icon=":material/upload:", key=f"bring-in-{turn}"):
        label = "A zip file that was exported from Thaw, here or elsewhere"
        file = st.file_uploader(label, type="zip", key=f"run-zip-{turn}")
        if file is None or state.value(_UPLOADED) == file.file_id:
            return
        state.keep(_UPLOADED, file.file_id)
        try:
            run = exchange.import_run(file, name=Path(file.name).stem)
        except UserError as error:
            shell.error_card(error)
            return
        if lacking := exchange.missing(run.recipe):
            why = f"Not here: {few(lacking)}."
            state.note(UserError(f"{run.id} was brought in, but not what its recipe names.", why, exchange.WITHOUT))
        state.keep(_BROUGHT, run.id)
        state.keep(_TURN, turn + 1)
        st.rerun()


def _brought() -> None:
    """The run that came in just now, to open; told once."""
    if came := state.value(_BROUGHT):
        state.keep(_BROUGHT, None)
        st.caption(f":green[:material/check: {shell.plain(came)} came in.]", width="content")
        st.page_link(path.RUN.script, label=":small[Open it]", query_params={"run": came})


def _do(work: Callable[[], object]) -> None:
    """Do it and draw the page anew; what stands against it is told."""
    try:
        work()
    except UserError as error:
        state.note(error)
    st.rerun()
