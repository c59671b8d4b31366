"""Drop or take pictures: files, an archive, a folder, or the camera, class by class, into a folder of one's own."""

from __future__ import annotations

import base64
import binascii
import io
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from finetune_core import places
from finetune_core.data.collecting import Brought, add, counts
from finetune_core.errors import UserError
from finetune_core.parts.sources import ARCHIVES, Folder, files
from pages.ui.kit import browsing, shell, state

WAYS = {"files": "Files", "folder": "Folder", "camera": "Camera"}
FOLDER, CLASS, WAY = "collect:folder", "collect:class", "collect:way"
SAID, TURN = "collect:said", "collect:turn"
_HTML = """
<video muted playsinline style="width: 100%; border-radius: 10px; aspect-ratio: 1; object-fit: cover;
  background: var(--st-secondary-background-color)"></video>
<button type="button" style="
  width: 100%; padding: 0.5rem; border: 0; border-radius: 10px; font: inherit; font-weight: 600; color: #fff;
  background: var(--st-primary-color); touch-action: none; cursor: pointer"></button>
<p role="status" style="min-height: 1.4em; margin: 0.2rem 0; text-align: center; color: var(--st-gray-text-color)"></p>
"""


def panel(opened: bool) -> None:
    """Closed at first, unless nothing is chosen yet."""
    icon = ":material/add_a_photo:"
    place = st.expander("Drop or take pictures", icon=icon, expanded=opened, key="collect", on_change="rerun")
    if not place.open:
        return
    with place:
        mine = str(places.pictures_dir())
        folder = browsing.named(FOLDER, "Kept in", mine, help="A folder for these pictures; it need not be there yet.")
        has = counts(folder)
        chosen = st.segmented_control("How", [*WAYS], format_func=_words, default="files", key=WAY, required=True)
        way = chosen or "files"
        label = _class(has, way)
        if way == "camera":
            _camera(label)
        else:
            _uploader(folder, label, way)
        if said := state.value(SAID):
            st.caption(f":green[:material/check:] {shell.plain(said)}")
        if has:
            st.caption(" · ".join(f"**{shell.plain(name)}** {number}" for name, number in has.items()))
        ready = len([name for name, number in has.items() if number > 1]) > 1
        here = getattr(state.draft().data.source, "path", "") == folder
        why = "" if ready else "It takes two classes with two pictures each."
        if not here or not ready:
            st.button(
                "Use these pictures",
                icon=":material/check:",
                type="primary" if ready else "secondary",
                disabled=not ready,
                help=why or None,
                key="collect-use",
                on_click=_use,
                args=(folder,),
            )


def _words(way: str) -> str:
    return WAYS[way]


def _class(has: dict[str, int], way: str) -> str:
    """The class that pictures are brought for."""
    asks = "" if way == "camera" else "Empty: the folder above each picture says its class."
    chosen = st.selectbox(
        "Class",
        [*has],
        index=None,
        key=CLASS,
        accept_new_options=True,
        placeholder="Such as mug" if way == "camera" else "As their folders say",
        help=asks or None,
    )
    return (chosen or "").strip()


def _uploader(folder: str, label: str, way: str) -> None:
    turn = state.value(TURN, 0)  # with each it is another one, without files
    key = f"collect-{way}-{turn}"
    endings = [ending[1:] for ending in files.ENDINGS] + [ending[1:] for ending in ARCHIVES if ending.count(".") == 1]
    brought = st.file_uploader(
        "A folder of pictures" if way == "folder" else "Pictures, or a .zip or .tar of them",
        type=endings,
        accept_multiple_files="directory" if way == "folder" else True,
        key=key,
    )
    if brought:
        _add(folder, label, [Brought(each.name, each) for each in brought])
        state.keep(TURN, turn + 1)
        st.rerun()


def _camera(label: str) -> None:
    words = f"Hold to take pictures of {label}" if label else "Say what it is first"
    _component()(data={"label": label, "words": words}, key="camera", on_shots_change=_shot)


def _shot() -> None:
    """Pictures have come from the camera: kept under the class that was chosen when its button was pressed."""
    shots = (state.value("camera") or {}).get("shots")
    if not shots:
        return
    moment = time.strftime("%Y%m%d-%H%M%S")
    brought = [
        Brought(f"{moment}-{number:02}.jpg", io.BytesIO(data))
        for number, data in enumerate(_decoded(shots.get("pictures") or []), start=1)
    ]
    _add(state.value(FOLDER) or str(places.pictures_dir()), str(shots.get("label") or ""), brought)


def _decoded(pictures: Sequence[Any]) -> list[bytes]:
    """What the browser sent as data addresses; what is none is passed over."""
    found = []
    for each in pictures:
        try:
            found.append(base64.b64decode(str(each).partition(",")[2], validate=True))
        except binascii.Error:
            continue
    return found


def _add(folder: str, label: str, brought: list[Brought]) -> None:
    try:
        state.keep(SAID, add(folder, label, brought).line())
    except UserError as error:
        state.keep(SAID, "")
        state.note(error)


def _use(folder: str) -> None:
    state.edit_value("data.source", Folder(path=folder).model_dump(mode="json"))


@cache
def _component() -> Callable[..., Any]:
    script = Path(__file__).with_name("camera.js").read_text(encoding="utf-8")
    return st.components.v2.component("thaw_camera", html=_HTML, js=script, isolate_styles=False)
