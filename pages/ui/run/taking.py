"""Take away: the model in formats of other programs, its preprocessing inside, with a check that was run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from finetune_core.export import card
from finetune_core.export.checked import Check, taken, weights_of
from finetune_core.export.formats import FORMATS, Format
from finetune_core.records import Count
from finetune_core.runs.shelf import naming
from finetune_core.runs.store import Run
from finetune_core.wording import megabytes
from pages.ui.kit import behind, shell, warm
from pages.ui.kit.behind import Behind

Taken = tuple[Path, Check]
WIDTH = 320  # px that a card has at least
_cards: dict[str, dict[str, Behind[tuple[str, str]]]] = {}  # the card of each run as HTML and Markdown, or its making
_places: dict[str, dict[str, Behind[Taken]]] = {}  # what is being made of each run


def take_away(run: Run) -> None:
    """The whole tab."""
    if not run.best.exists():
        shell.empty("Not yet", "The first epoch has to end; then there is a model to take away.")
        return
    st.caption(
        "Each is a zip file with a model that takes whole pictures: scaling and cutting are inside. Before you get it, "
        "it is checked on the validation images against the model of this run."
    )
    with st.grid(len(FORMATS), min_column_width=WIDTH):
        for form in FORMATS.values():
            with st.container(border=True, height="stretch", key=f"take-{form.key}"):
                _format(run, form)
        with st.container(border=True, height="stretch", key="take-card"):
            _model_card(run)


def _format(run: Run, form: Format) -> None:
    st.markdown(f"**{form.title}**  \n:gray[{form.help}]")
    place = _places.setdefault(run.id, {})
    if behind.goes_on(place.get(form.key)):
        return
    if made := taken(run, form.key):
        _given(run, form, *made)
        return
    why = "It still trains." if run.status.active else ""
    busy = "Another one is being made." if any(not each.over() for each in place.values()) else ""
    if shell.start(
        st.container(), "Make", icon=":material/package_2:", key=f"make-{form.key}", kind="secondary", why=why or busy
    ):
        warm.wait()
        place.clear()
        behind.begin(place, form.key, partial(_take, run, form.key), "Making and checking")
        st.rerun()


def _model_card(run: Run) -> None:
    """One page about the model, for whoever is to use it."""
    st.markdown(
        "**Model card**  \n:gray[What it is, learned from what, how good with which ranges, its known weaknesses, and "
        "where it looks: one page to hand on.]"
    )
    place = _cards.setdefault(run.id, {})
    key = weights_of(run)
    if behind.goes_on(place.get(key)):
        return
    if made := place.get(key):
        name = naming.for_file(run)
        with st.container(horizontal=True):
            for label, ending, text in zip(("HTML", "Markdown"), ("html", "md"), made.result(), strict=True):
                args = f"Download ({label})", text, f"{name}-card.{ending}"
                st.download_button(*args, icon=":material/download:", on_click="ignore", key=f"get-card-{ending}")
        return
    why = "It still trains." if run.status.active else ""
    icon = ":material/article:"
    if shell.start(st.container(), "Write", icon=icon, key="make-card", kind="secondary", why=why):
        warm.wait()
        behind.begin(place, key, partial(_write, run), "Looking where it looks")
        st.rerun()


def _write(run: Run, count: Count) -> tuple[str, str]:
    from finetune_core.understand import explain

    every = card.sections(run, card.figures_of(explain.telling(run, card.FIGURES, count)))
    return card.page(card.title(run), every), card.markdown(card.title(run), every)


def _given(run: Run, form: Format, file: Path, check: Check) -> None:
    """What was made, and what the check of it has shown."""
    good = check.same == check.images
    mark = ":green[:material/verified:]" if good else ":orange[:material/difference:]"
    st.markdown(f"{mark} :small[{shell.plain(check.line())}]")
    st.download_button(
        f"Download ({megabytes(file.stat().st_size)})",
        file.read_bytes,
        f"{naming.for_file(run)}-{form.key}.zip",
        icon=":material/download:",
        on_click="ignore",
        key=f"get-{form.key}",
    )


def _take(run: Run, key: str, count: Count) -> Taken:
    from finetune_core.export.taking import take

    return take(run, key, count=count)
