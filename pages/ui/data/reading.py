"""Getting the draft's images for a page: with a progress bar the first time, and an error card where it fails."""

from __future__ import annotations

import streamlit as st

from finetune_core.data.split import Split, split
from finetune_core.errors import UserError
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Data
from finetune_core.records import Count
from pages.ui.kit import dataset, shell


def read(data: Data) -> tuple[Samples, Split] | None:
    """The images and their split; None after the page has been told what is wrong."""
    try:
        samples = _samples(data)
        return samples, split(samples, data.valid_share, data.split_seed)
    except UserError as error:
        shell.error_card(error)
        return None


def _samples(data: Data) -> Samples:
    if dataset.known(data.source):
        return dataset.samples(data.source)
    bar = st.empty()
    try:
        return dataset.samples(data.source, _report(bar, "Drawing the flowers. About fifteen seconds, once."))
    finally:
        bar.empty()


def _report(bar: st.delta_generator.DeltaGenerator, words: str) -> Count:
    def report(done: int, total: int) -> None:
        if done % max(1, total // 50) == 0 or done == total:
            bar.progress(done / total, text=words)

    return report
