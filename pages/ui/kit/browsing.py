"""Choosing a folder or a file on the machine that Thaw runs on: the field for its path, and a dialog to look for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from finetune_core import places
from finetune_core.data import browsing
from finetune_core.data.browsing import Listing
from finetune_core.errors import UserError
from finetune_core.wording import shown
from pages.ui.kit import dialogs, shell, state

ROWS = 40  # folders and files of a page
HEIGHT = 330  # px of the list
ICONS = {
    "home": ":material/home:",
    "work": ":material/work:",
    "root": ":material/dns:",
    "drive": ":material/hard_drive:",
    "last": ":material/history:",
}
_AT, _SEEN, _TURN = "browse:at", "browse:seen", "browse:turn:"
# Where the places stand above the folders, not beside them
_NARROW = """@media (max-width: 640px) {
  .st-key-spots { flex-direction: row; flex-wrap: wrap }
  .st-key-spots > div { width: auto }
}"""
Take = Callable[[str], None]


def field(
    key: str,
    label: str,
    now: str,
    take: Take,
    *,
    endings: Sequence[str] = (),
    help: str = "",
    placeholder: str = "",
) -> None:
    """The field for a path and the way to look for it: a file of these endings, without any a folder.

    For another kind of path, and whenever one was found by looking, it is another widget: every message from the
    browser says what stands in all of them, and one that is on its way would take the path back.
    """
    mine = "".join((key, *endings, ":" * state.value(_TURN + key, 0)))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        st.text_input(
            label,
            now,
            placeholder=placeholder or None,
            help=help or None,
            **state.callback(state.seed(mine, now), partial(_typed, take)),
        )
        button(key, now, take, folder=not endings, endings=endings)


def named(key: str, label: str, otherwise: str = "", **how: Any) -> str:
    """The same for a path that is no part of the draft: it is kept under the widget's key, and returned."""
    folder, endings = how.pop("folder", True), how.pop("endings", ())
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        found = places.bare(st.text_input(label, otherwise, key=key, **how))
        button(key, found, partial(state.keep, key), folder=folder, endings=endings)
    return found


def button(
    key: str,
    now: str,
    take: Take,
    *,
    folder: bool = True,
    endings: Sequence[str] = (),
    place: DeltaGenerator | None = None,
) -> None:
    """Opens the dialog for the field of this key, at the path that stands there now: for a folder, files, or both.

    `place` is for a second one, elsewhere on the page.
    """
    what = "file" if endings and not folder else "folder"
    mine, help = f"browse:{key}{':again' if place else ''}", f"Look for the {what}."
    if (place or st).button("Browse", icon=":material/folder_open:", key=mine, help=help):
        _go(browsing.beginning(now))
        dialogs.open(mine)
    if dialogs.opened(mine):
        draw = st.dialog(f"Choose a {what}", width="large", on_dismiss=dialogs.close)(_dialog)
        draw(mine, partial(_found, key, take), folder, tuple(endings))


def _found(key: str, take: Take, path: str) -> None:
    state.keep(_TURN + key, state.value(_TURN + key, 0) + 1)
    take(path)


def _typed(take: Take, path: str) -> None:
    take(places.bare(path))
    _remember(path)


def _remember(path: str) -> None:
    try:
        browsing.remember(path)
    except UserError as error:
        state.note(error)


def _go(folder: Path) -> None:
    state.keep(_AT, folder)
    state.keep(_SEEN, None)


def _take(take: Take, path: Path) -> None:
    """The field is given the path as a person would write it, so that nothing of it is taken for what was pasted."""
    try:
        text = places.pasted(str(path))
    except UserError as error:
        state.note(error)
        return
    take(text if text == str(path) else f"{path}{os.sep}")
    _remember(str(path))


def _take_here(take: Take) -> None:
    """Where one has gone by now: the click before may not have been drawn yet."""
    _take(take, state.value(_AT))


def _dialog(name: str, take: Take, folder: bool, endings: tuple[str, ...]) -> None:
    dialogs.follow(name)
    at: Path = state.value(_AT)
    st.html(f"<style>{_NARROW}</style>")
    side, main = st.columns([1, 3], gap="medium")
    with side, st.container(gap="xxsmall", key="spots"):
        for spot in browsing.spots():
            _way(spot.path, spot.title, f"spot:{spot.kind}", ICONS[spot.kind])
    with main:
        try:
            listing = _look(at, endings)
        except UserError as error:
            _crumbs(at)
            shell.error_card(error)
            st.button("Try again", icon=":material/refresh:", key="browse-again", on_click=_go, args=(at,))
            return
        _crumbs(listing.folder)
        _list(listing, take)
        how = f" A click takes a file: {', '.join(endings)}." if endings else ""
        st.caption(f"Here: {listing.here.words()}.{how}")
        if folder:
            icon = ":material/check:"
            st.button(
                "Take this folder",
                icon=icon,
                type="primary",
                key="browse-take",
                on_click=dialogs.done,
                args=(_take_here, take),
            )


def _look(at: Path, endings: tuple[str, ...]) -> Listing:
    """Looked at once, until one goes elsewhere: to type into the filter asks the disk nothing."""
    seen: tuple[Path, Listing] | None = state.value(_SEEN)
    if seen is None or seen[0] != at:
        with st.spinner("Looking", show_time=True):
            seen = at, browsing.look(at, endings)
        state.keep(_SEEN, seen)
    return seen[1]


def _crumbs(at: Path) -> None:
    """The folders above, each a way back."""
    with st.container(horizontal=True, gap="xxsmall", vertical_alignment="center", key="crumbs"):
        for path in (*reversed(at.parents), at):
            icon = ":material/chevron_right:" if path.name else ICONS["root"]
            _way(path, shown(path.name or path), "crumb", icon)


def _list(listing: Listing, take: Take) -> None:
    """The folders, each with what lies in it, and the files that can be taken."""
    words = st.text_input(
        "Filter",
        key=f"browse-filter:{_hex(listing.folder)}",
        placeholder="Filter by name",
        icon=":material/search:",
        label_visibility="collapsed",
        live=True,
    )
    wanted = (words or "").strip().casefold()
    rows = [(name, True) for name in listing.folders] + [(name, False) for name in listing.files]
    rows = [row for row in rows if wanted in shown(row[0]).casefold()]
    box = st.container(height=HEIGHT, gap="xxsmall", key="browse-list")
    some = shell.paged(rows, ROWS, f"browse-page:{_hex(listing.folder)}:{wanted}")
    with box:
        if not rows:
            st.caption("Nothing of that name." if wanted else "There is no folder in here.")
        folders = [name for name, is_folder in some if is_folder]
        for name, inside in zip(folders, listing.words(folders), strict=True):
            _way(listing.folder / name, shown(name), "into", ":material/folder:", inside)
        for name in (name for name, is_folder in some if not is_folder):
            _file(listing.folder / name, take)


def _way(path: Path, title: str, key: str, icon: str, inside: str = "") -> None:
    """A button that leads into a folder; by its key no second click leads further than was meant."""
    label = f"{shell.plain(title, shell.NAME)}  :small[:gray[{inside}]]" if inside else shell.plain(title, shell.NAME)
    st.button(label, icon=icon, type="tertiary", key=f"{key}:{_hex(path)}", on_click=_go, args=(path,))


def _file(path: Path, take: Take) -> None:
    """A button that takes a file, and no other one."""
    label, key = shell.plain(shown(path.name), shell.NAME), f"take:{_hex(path)}"
    st.button(label, icon=":material/draft:", type="tertiary", key=key, on_click=dialogs.done, args=(_take, take, path))


def _hex(path: Path) -> str:
    return os.fsencode(path).hex()
