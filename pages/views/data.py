"""Data: what is in it, is it sound, how is it split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from finetune_core import figures
from finetune_core.data import doctor
from finetune_core.data.samples import Samples
from finetune_core.data.split import Split
from finetune_core.parts.sources import Folder
from finetune_core.recipe import Data
from pages.ui import dataset, fields, reading, shell, state, warm

ALL = "All classes"
COLUMNS, ROWS, TILE = 8, 6, 168
PER_CLASS = 4  # pictures of each class when all are shown


def source_panel(data: Data) -> None:
    """Where the images come from."""
    fields.choice("data.source", "Where from", with_knobs=False)
    if isinstance(data.source, Folder):
        fields.field("data.source.path", explain=False, placeholder="~/Pictures/birds")
        st.caption("Write its path and press Enter.")


def split_panel() -> None:
    """How it is split and sized; what few need waits behind More."""
    with st.expander("More: split and image size", icon=":material/tune:"):
        for name in ("valid_share", "image_size", "split_seed", "unreadable"):
            fields.field(f"data.{name}")


def counts(samples: Samples, parts: Split) -> None:
    """The four numbers."""
    numbers = {
        "Images": len(samples),
        "Classes": len(samples.classes),
        "For training": len(parts.train),
        "For validation": len(parts.valid),
    }
    with st.container(horizontal=True, gap="large"):
        for label, number in numbers.items():
            st.metric(label, f"{number:,}".replace(",", " "), width="content")


@st.fragment
def sheet(samples: Samples) -> None:
    """A contact sheet that one can leaf through."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Show", [ALL, *samples.classes], key="sheet-class", label_visibility="collapsed", width=260
        )
        paths, captions, columns, pages = _chosen(samples, chosen or ALL)
        page = st.pagination(pages, key=f"sheet-page-{chosen}") if pages > 1 else 1
    per_page = COLUMNS * ROWS
    span = slice((page - 1) * per_page, page * per_page)
    picture = dataset.contact_sheet(tuple(paths[span]), columns, TILE, state.background(), tuple(captions[span]))
    st.image(picture, width="stretch", alt=f"Pictures of {chosen}, page {page} of {pages}.")


def _chosen(samples: Samples, chosen: str) -> tuple[list[Path | None], list[str], int, int]:
    labels = np.asarray(samples.labels)
    paths: list[Path | None] = []
    captions: list[str] = []
    for label, name in enumerate(samples.classes):
        members = np.flatnonzero(labels == label)
        if chosen == ALL:
            few = [samples.paths[index] for index in members[:PER_CLASS]]
            paths += [*few, *[None] * (PER_CLASS - len(few))]
            captions += [name, *[""] * (PER_CLASS - 1)]
        elif chosen == name:
            paths += [samples.paths[index] for index in members]
    return paths, captions, COLUMNS, max(1, -(-len(paths) // (COLUMNS * ROWS)))


def balance(samples: Samples, parts: Split) -> None:
    """Bars by class and split."""
    labels = np.asarray(samples.labels)
    train, valid = (np.bincount(labels[part], minlength=len(samples.classes)) for part in (parts.train, parts.valid))
    figure = figures.class_balance(samples.classes, train.tolist(), valid.tolist())
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
        st.caption(
            ":green[:material/check_circle:] Every file can be read, the classes are even, the images large enough."
        )
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


def code(data: Data, samples: Samples) -> str:
    """The same in plain PyTorch."""
    return f"""import numpy as np
from torch.utils.data import Subset
from torchvision.datasets import ImageFolder

images = ImageFolder({str(samples.root)!r})
labels = np.array(images.targets)
valid = []
for label in range(len(images.classes)):  # {data.valid_share:.0%} of each class is kept aside
    members = np.flatnonzero(labels == label)
    count = min(max(round(len(members) * {data.valid_share:g}), 1), len(members) - 1)
    valid.extend(np.random.default_rng([{data.split_seed}, label]).permutation(members)[:count])
train = np.setdiff1d(np.arange(len(labels)), valid)
train_images, valid_images = Subset(images, train), Subset(images, valid)"""


def main() -> None:
    """Left the choice and the counts, right the pictures."""
    slot = shell.page("data", "Data", "What is in it, is it sound, how is it split?")
    data = state.draft().data
    left, right = st.columns([4, 9], gap="large")
    with left:
        source_panel(data)
        split_panel()
    with right:
        found = reading.read(data) if not isinstance(data.source, Folder) or data.source.path else None
        if found:
            counts(*found)
            sheet(found[0])
            health(found[0], data)
    if found:
        with left:
            balance(*found)
        shell.code(code(data, found[0]))
    elif isinstance(data.source, Folder) and not data.source.path:
        with right:
            shell.empty(
                "Which folder?",
                "Write its path on the left: one sub-folder of photos per class.",
                icon=":material/folder_open:",
            )
    shell.next_step(slot, "data", disabled=found is None, help="" if found else "First choose images that can be read.")
    warm.start()


main()
