"""Data: what is in it, is it sound, how is it split."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st

from finetune_core import figures
from finetune_core.data import doctor
from finetune_core.data.overview import Overview, overview
from finetune_core.data.split import Split
from finetune_core.export import script
from finetune_core.parts import Source
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Data
from finetune_core.runs import preflight
from pages.ui.data import collecting, doubting, examining, fixing, reading, ruling, sheets
from pages.ui.kit import behind, browsing, dataset, fields, path, shell, state, warm
from pages.ui.kit.chart import chart, load
from pages.ui.kit.checks import checks
from pages.ui.kit.pieces import piece

ALL = "All images"
COLUMNS, ROWS, TILE = 8, 6, 168
CLASSES, SOME = 12, 30  # on a page when all are shown: rows of a class, pictures with words of their own


def source_panel(data: Data) -> None:
    """Where the images come from."""
    source = data.source
    fields.choice("data.source", "Where from", with_knobs=False)
    if source.own:
        fields.field("data.source.path", explain=False, placeholder=source.example)
        st.caption("Browse to it, or write its path and press Enter.")
    ruling.panel(source)
    checks(preflight.answers(state.draft()))
    collecting.panel(opened=source.own and not getattr(source, "path", ""))
    st.page_link(path.LABEL.script, label="Label pictures that have no classes yet", icon=path.LABEL.icon)


def split_panel() -> None:
    """How it is split and sized; what few need waits behind More."""
    with st.expander("More: split and image size", icon=":material/tune:"):
        for name in (
            "valid_share",
            "test_share",
            "image_size",
            "crop_share",
            "keep_side",
            "channels",
            "split_seed",
            "fold",
            "group",
            "unreadable",
        ):
            fields.field(f"data.{name}")


def counts(seen: Overview) -> None:
    """The four numbers."""
    numbers = {
        "Images": seen.images,
        seen.about.nouns.capitalize(): len(seen.names),
        "For training": seen.train,
        "For validation": seen.valid,
        **({"For a test": seen.test} if seen.test else {}),
    }
    with st.container(horizontal=True, gap="medium"):
        for label, number in numbers.items():
            st.metric(label, f"{number:,}", width="content")


def _choice(samples: Samples) -> str:
    """The class or tag that is leafed through; of numbers there is nothing to choose."""
    if not samples.about.counted:
        st.caption(f"{ALL}, each with its numbers.")
        return ALL
    choices = [ALL, *samples.classes]
    return st.selectbox("Show", choices, key="sheet-class", label_visibility="collapsed", width=260)


def sheet(samples: Samples, data: Data) -> None:
    """Pictures that one can leaf through: a class a row, or all of one; tags and numbers below each picture."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        chosen = _choice(samples)
        of_all, exclusive = chosen == ALL, samples.about.exclusive
        label = None if of_all else samples.classes.index(chosen)
        shown: Sequence[int] = range(len(samples))
        if label is not None:
            shown = samples.members(label).tolist()
        elif exclusive:
            shown = range(len(samples.classes))
        per_page = (CLASSES if exclusive else SOME) if of_all else COLUMNS * ROWS
        pages = max(1, -(-len(shown) // per_page))
        page = st.pagination(pages, key=f"sheet-page-{chosen}") if pages > 1 else 1
    shown = shown[(page - 1) * per_page : page * per_page]
    if of_all and exclusive:
        with st.container(gap="xsmall"):
            sheets.classes(samples, shown, data)
    elif of_all:
        sheets.captioned(samples, shown, [samples.label_words(index) for index in shown], data)
    else:
        _one_class(samples, shown, data, f"Pictures of {chosen}, page {page} of {pages}.")


def _one_class(samples: Samples, images: Sequence[int], data: Data, words: str) -> None:
    paths = tuple(samples.paths[index] for index in images)
    read = (data.channels, dataset.depth(samples, paths))
    st.image(dataset.contact_sheet(paths, COLUMNS, TILE, state.background(), (), *read), width="stretch", alt=words)


def balance(samples: Samples, parts: Split, seen: Overview) -> None:
    """Bars by class or tag and split; of numbers, how they are spread."""
    if not samples.about.counted:
        values = np.asarray(samples.labels, float)
        for number, name in enumerate(samples.classes):
            chart(figures.spread(name, values[parts.train, number], values[parts.valid, number]), f"spread-{number}")
        return
    train, valid = [each.train for each in seen.names], [each.valid for each in seen.names]
    chart(figures.class_balance(samples.classes, train, valid, f"Images per {samples.about.noun}"), "balance")


def health(samples: Samples, parts: Split, data: Data) -> None:
    """What is wrong or worth a word, with the very pictures, and what was mended."""
    fixing.mended(data)
    for note in samples.notes:
        st.caption(f":material/info: {shell.plain(note)}")

    def draw(examined: doctor.Examined) -> None:
        recipe = state.draft()
        seen = doubting.doubts(recipe), doubting.twins(recipe)
        found = doctor.findings(recipe, samples, parts, examined, *seen)
        checks(found, partial(_pictures, samples, data), "health")

    behind.watch(examining.begin(samples, data), draw)
    doubting.panel(state.draft(), samples)


def _pictures(samples: Samples, data: Data, images: Sequence[int]) -> None:
    """The first of some images, with their names."""
    few = images[:COLUMNS]
    sheets.captioned(samples, few, [samples.paths[index].name for index in few], data)


def _ask(source: Source) -> None:
    """The next step, where nothing is named yet."""
    icon = ":material/folder_open:"
    if not source.own:
        shell.empty("Which images?", source.unsaid(), icon=icon)
        return
    text = f"Look for them, or write where they lie: a path on this machine, such as {source.example}."
    wanted, take = source.knob("path").path or (), partial(state.edit_value, "data.source.path")
    card = shell.empty("Which images?", text, icon=icon)
    browsing.button("field:data.source.path", "", take, folder=not wanted, endings=wanted, place=card)


def main() -> None:
    """Left the choice and the counts, right the pictures."""
    slot = shell.page("data", "Data", "What is in it, is it sound, how is it split?")
    data = state.draft().data
    left, right = st.columns([4, 9], gap="large")
    with left:
        source_panel(data)
        split_panel()
    with right:
        found = None if data.source.unsaid() else reading.read(data)
        if found:
            seen = overview(*found)
            counts(seen)
            piece(partial(sheet, found[0], data))
            health(*found, data)
    if found:
        with left:
            balance(*found, seen)
        load()
        shell.code(lambda: script.data(state.draft(), found[0]))
    elif data.source.unsaid():
        with right:
            _ask(data.source)
    shell.next_step(slot, "data", why="" if found else "First choose images that can be read.")
    warm.start()


main()
