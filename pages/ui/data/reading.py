"""Getting the draft's images for a page: with a progress bar the first time, and an error card where it fails."""

from __future__ import annotations

import streamlit as st

from finetune_core.data.chosen import arranged
from finetune_core.data.split import Split
from finetune_core.errors import UserError
from finetune_core.parts import Source
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Data
from finetune_core.records import Count
from pages.ui.kit import dataset, shell, state

FIRST, COLUMNS, TILE = 48, 8, 168  # pictures shown while the rest is made


def read(data: Data) -> tuple[Samples, Split] | None:
    """The images and their split; None after the page has been told what is wrong."""
    if not _agreed(data):
        return None
    try:
        return arranged(_samples(data), data)
    except UserError as error:
        state.keep(_agreement(data), False)  # a download that failed is asked for again, not tried with each click
        shell.error_card(error)
        return None


def _agreement(data: Data) -> str:
    return f"agreed:{data.source.model_dump_json()}"


def _agreed(data: Data) -> bool:
    """Whether what must be downloaded may be; asked once a session, with how much it is."""
    source = data.source
    key = _agreement(data)
    if not (coming := source.coming()) or state.value(key, False):
        return True
    card = shell.empty(source.called(), coming, icon=":material/cloud_download:")
    if shell.start(card, "Download it", icon=":material/download:", key="download-set", kind="secondary"):
        state.keep(key, True)
        st.rerun()
    return False


def _samples(data: Data) -> Samples:
    if dataset.known(data.source):
        return dataset.samples(data.source)
    place = st.empty()
    try:
        with place.container():
            return dataset.samples(data.source, _report(data.source))
    finally:
        place.empty()


def _report(source: Source) -> Count:
    """How far it is, and the first pictures as they come."""
    bar, sheet = st.empty(), st.empty()
    shown = 0

    def report(done: int, total: int) -> None:
        nonlocal shown
        if done % max(1, total // 50) == 0 or done == total:
            bar.progress(done / total, text=source.making)
            if shown < FIRST and (paths := source.so_far()[:FIRST]) and len(paths) > shown:
                shown = len(paths)
                tiles = (*paths, *[None] * (FIRST - shown))
                sheet.image(dataset.contact_sheet(tiles, COLUMNS, TILE, state.background()), width="stretch", alt="")

    return report
