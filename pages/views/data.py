"""Data: what is in it, is it sound, how is it split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from finetune_core import figures
from finetune_core.data import doctor
from finetune_core.data.split import Split
from finetune_core.errors import UserError
from finetune_core.export import script
from finetune_core.parts.sources import FileNames, Files
from finetune_core.parts.sources.folders import existing_folder, images_below
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.sources.tables import labelled
from finetune_core.recipe import Data
from finetune_core.runs import preflight
from pages.ui import dataset, fields, reading, shell, state, warm
from pages.ui.checks import checks

ALL = "All images"
COLUMNS, ROWS, TILE = 8, 6, 168
PER_CLASS = 4  # pictures of each class when all are shown
PLACEHOLDERS = {"folder": "~/Pictures/birds", "file_names": "~/Pictures/pets", "table": "~/Pictures/labels.csv"}
PREVIEWED = 6  # file names shown with their classes


def source_panel(data: Data) -> None:
    """Where the images come from."""
    source = data.source
    fields.choice("data.source", "Where from", with_knobs=False)
    if isinstance(source, Files):
        fields.field("data.source.path", explain=False, placeholder=PLACEHOLDERS[source.kind])
        st.caption("Write its path and press Enter.")
    others = [knob.name for knob in source.knobs() if knob.name != "path"]
    fields.knobs("data.source", others, explain=False)
    if isinstance(source, FileNames):
        _matches(source)
    checks(preflight.answers(state.draft()))


def _matches(source: FileNames) -> None:
    """What the pattern finds in the first file names."""
    try:
        some = images_below(existing_folder(source.path))[:PREVIEWED] if source.path else []
        found = labelled(some, source.pattern)
    except UserError:  # told beside the pictures
        return
    for path, label in found.items():
        st.caption(f"{shell.plain(path.stem)} → {f'**{shell.plain(label)}**' if label else 'no class'}")


def split_panel() -> None:
    """How it is split and sized; what few need waits behind More."""
    with st.expander("More: split and image size", icon=":material/tune:"):
        for name in ("valid_share", "image_size", "channels", "split_seed", "unreadable"):
            fields.field(f"data.{name}")


def counts(samples: Samples, parts: Split) -> None:
    """The four numbers."""
    numbers = {
        "Images": len(samples),
        samples.about.nouns.capitalize(): len(samples.classes),
        "For training": len(parts.train),
        "For validation": len(parts.valid),
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


@st.fragment
def sheet(samples: Samples) -> None:
    """A contact sheet that one can leaf through."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        chosen = _choice(samples)
        paths, captions, columns, pages = _chosen(samples, chosen)
        page = st.pagination(pages, key=f"sheet-page-{chosen}") if pages > 1 else 1
    per_page = COLUMNS * ROWS
    span = slice((page - 1) * per_page, page * per_page)
    picture = dataset.contact_sheet(tuple(paths[span]), columns, TILE, state.background(), tuple(captions[span]))
    st.image(picture, width="stretch", alt=f"Pictures of {chosen}, page {page} of {pages}.")


def _chosen(samples: Samples, chosen: str) -> tuple[list[Path | None], list[str], int, int]:
    paths: list[Path | None] = []
    captions: list[str] = []
    if not samples.about.exclusive and chosen == ALL:
        paths = [*samples.paths]
        captions = [samples.said(index) for index in range(len(samples))]
    for label, name in enumerate(samples.classes if not paths else ()):
        members = samples.members(label)
        if chosen == ALL:
            few = [samples.paths[index] for index in members[:PER_CLASS]]
            paths += [*few, *[None] * (PER_CLASS - len(few))]
            captions += [name, *[""] * (PER_CLASS - 1)]
        elif chosen == name:
            paths += [samples.paths[index] for index in members]
    return paths, captions, COLUMNS, max(1, -(-len(paths) // (COLUMNS * ROWS)))


def balance(samples: Samples, parts: Split) -> None:
    """Bars by class or tag and split; of numbers, how they are spread."""
    if not samples.about.counted:
        values = np.asarray(samples.labels, float)
        for number, name in enumerate(samples.classes):
            drawn = figures.spread(name, values[parts.train, number], values[parts.valid, number])
            st.plotly_chart(drawn, key=f"spread-{number}", config={"displayModeBar": False}, alt=f"Spread of {name}.")
        return
    members = [samples.members(label) for label in range(len(samples.classes))]
    train, valid = ([len(np.intersect1d(some, part)) for some in members] for part in (parts.train, parts.valid))
    title = f"Images per {samples.about.noun}"
    figure = figures.class_balance(samples.classes, train, valid, title)
    words = "; ".join(f"{name} {a} and {b}" for name, a, b in zip(samples.classes, train, valid, strict=True))
    st.plotly_chart(
        figure, key="balance", config={"displayModeBar": False}, alt=f"Training and validation images: {words}."
    )


def health(samples: Samples, data: Data) -> None:
    """What is wrong or worth a word, with the very pictures."""
    examined = reading.examined(data)
    found = doctor.findings(samples, examined, data.image_size)
    for note in samples.notes:
        st.caption(f":material/info: {shell.plain(note)}")
    if not found:
        even = "the classes are even, " if samples.about.exclusive else ""
        st.caption(f":green[:material/check_circle:] Every file can be read, {even}the images are large enough.")
    for finding in found:
        _card(finding, samples)


def _card(finding: doctor.Finding, samples: Samples) -> None:
    with st.container(border=True):
        st.markdown(f":orange[:material/error:] **{shell.plain(finding.title)}**")
        st.markdown(f":gray[{shell.plain(finding.text)}]")
        if finding.images:
            few: Sequence[Path] = [samples.paths[index] for index in finding.images[:COLUMNS]]
            names = tuple(path.name for path in few)
            holes = (None,) * (COLUMNS - len(few))
            st.image(dataset.contact_sheet((*few, *holes), COLUMNS, 96, state.background(), names), width="stretch")


def main() -> None:
    """Left the choice and the counts, right the pictures."""
    slot = shell.page("data", "Data", "What is in it, is it sound, how is it split?")
    data = state.draft().data
    left, right = st.columns([4, 9], gap="large")
    with left:
        source_panel(data)
        split_panel()
    with right:
        found = reading.read(data) if not isinstance(data.source, Files) or data.source.path else None
        if found:
            counts(*found)
            sheet(found[0])
            health(found[0], data)
    if found:
        with left:
            balance(*found)
        shell.code(lambda: script.data(state.draft(), found[0]))
    elif isinstance(data.source, Files) and not data.source.path:
        with right:
            shell.empty(
                "Which images?",
                f"Write where they lie: a path on this machine, such as {PLACEHOLDERS[data.source.kind]}.",
                icon=":material/folder_open:",
            )
    shell.next_step(slot, "data", disabled=found is None, help="" if found else "First choose images that can be read.")
    warm.start()


main()
