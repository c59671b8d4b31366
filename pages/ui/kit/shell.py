"""What all pages share: header with recipe strip and primary action, states, and the code view."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from finetune_core.errors import Mend, UnsaidError, UserError
from finetune_core.findings import Finding
from finetune_core.recipe import Recipe
from finetune_core.recipe.words import (
    augment_words,
    model_words,
    rate_words,
    schedule_words,
    source_words,
    thawed_words,
    train_words,
)
from finetune_core.runs import preflight
from finetune_core.wording import LONGEST, tidy
from pages.ui.kit import dialogs, path, refused, state

NAME = 80  # letters of a name in a title or chip
MESSAGE = 2000  # letters of an error's reason
ELSEWHERE = "The draft was changed in another tab. This page shows it as it is now."
CARE = {"warn": ":material/error:", "next": ":material/edit:"}
_WAITING = "thaw:waiting"


def page(
    key: str, title: str, lead: str, *, strip: bool = True, beside: Callable[[], object] | None = None
) -> DeltaGenerator:
    """Draw a page's head: title, one sentence, recipe strip, pending error. Returns the place for its primary action.

    `beside` draws what belongs to the title.
    Fill the place with `next_step`, `start` or `primary`; it is the same on every page.
    """
    refused.tidy()
    dialogs.stay(f"{key}:{state.run_id()}")
    state.keep(_WAITING, waiting())
    if state.look():
        st.toast(ELSEWHERE, icon=":material/tab:", duration="long")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom", key="head"):
        with st.container(width="content", gap=None):
            _title(title, beside)
            st.markdown(f":gray[{lead}]")
        slot = st.container(width="content")
    if strip:
        recipe_strip(state.draft(), key)
        st.space("xsmall")
    pending_error()
    return slot


def _title(title: str, beside: Callable[[], object] | None) -> None:
    if not beside:
        st.title(plain(title, NAME), anchor=False)
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.title(plain(title, NAME), anchor=False, width="content")
        beside()


def pending_error() -> None:
    """The error that an edit or another page has left to be shown, once."""
    pending = state.take_note()
    if pending:
        error_card(pending)


def waiting() -> str:
    """What all that starts something waits for, in words: fields in which stands what cannot be kept."""
    return mend_first(entry.label for entry in refused.of_draft())


def mend_first(names: Iterable[str], unsaid: Iterable[str] = ()) -> str:
    """What must be mended or yet be said before something starts, in words; empty where nothing must."""
    told = {"Mend first": names, "Still open": unsaid}
    lists = {verb: plain(", ".join(dict.fromkeys(each)).lower()) for verb, each in told.items()}
    return " ".join(f"{verb}: {each}." for verb, each in lists.items() if each)


def keep_waiting() -> None:
    """After a field in a fragment: draw the page anew where what starts something must wait now, or no longer."""
    if state.value(_WAITING, "") != (now := waiting()):
        state.keep(_WAITING, now)
        st.rerun()


def next_step(slot: DeltaGenerator, key: str, *, why: str = "") -> None:
    """The primary action of a page on the path: go on to the page after it, unless there is a `why` not to."""
    step = path.following(key)
    if start(slot, f"Next: {step.title}", icon=":material/arrow_forward:", why=why):
        go(step)


def go(step: path.Step, **query: str) -> None:
    """Leave for another page, with nothing but `query` in its address."""
    st.switch_page(step.script, query_params=query)  # left out, Streamlit refuses where a widget is in the address


def start(
    place: DeltaGenerator,
    label: str,
    *,
    icon: str | None = None,
    key: str = "primary",
    kind: Literal["primary", "secondary", "tertiary"] = "primary",
    why: str = "",
    help: str = "",
) -> bool:
    """A button that starts something or leads on; true in the run that its click causes, where nothing holds it back.

    `why` says what does; fields in which stands what cannot be kept always do.
    """
    why = why or waiting()
    clicked = place.button(
        label,
        key=key,
        type=kind,
        icon=icon,
        icon_position="right" if kind == "primary" else "left",
        disabled=bool(why),
        help=why or help or None,
    )
    if clicked and not state.meant():
        state.note(UserError("Nothing was started.", ELSEWHERE, "Look at it, then click again."))
        st.rerun()
    return clicked and not why


def primary(slot: DeltaGenerator, label: str, *, icon: str) -> bool:
    """The one primary button of a page, where it starts nothing; true in the run that its click causes."""
    return slot.button(label, key="primary", type="primary", icon=icon, icon_position="right")


def recipe_strip(recipe: Recipe, here: str = "") -> None:
    """The whole experiment in one line of chips, each of which leads to its page.

    An orange one needs care, one with a pencil waits for something to be said; both for themselves alone.
    """
    seen = preflight.glance(recipe)
    with st.container(horizontal=True, gap="xsmall", key="strip"):
        for chip in chips(recipe):
            step, look = path.PAGES[chip.page], seen.get(chip.about)
            colour = "orange" if needs_care(look) else "blue" if chip.page == here else "gray"
            mark = CARE[look.level] if look else chip.icon
            st.page_link(
                step.script,
                label=f":{colour}-badge[{mark} {plain(chip.words, NAME)}]",
                help=plain(look.title if look else step.title),
            )


def needs_care(look: Finding | None) -> bool:
    """Whether a glance has shown more than what has just not been said yet."""
    return look is not None and look.level != "next"


class Chip(NamedTuple):
    """A part of the recipe in few words: the page it leads to, and what a glance at it is `about`."""

    page: str
    icon: str
    words: str
    about: str


def chips(recipe: Recipe) -> list[Chip]:
    """The chips of the strip."""
    weights = recipe.model.backbone.weights.kind
    words = {
        "data": source_words(recipe),
        "augment": f"augment: {augment_words(recipe)}",
        "layers": f"{model_words(recipe)}, {weights}",
        "rate": f"rate {rate_words(recipe)}, {schedule_words(recipe)}",
        "train": train_words(recipe),
    }
    found = [Chip(step.key, step.icon, words[step.key], step.key) for step in path.STEPS if step.key in words]
    found.insert(3, Chip("layers", ":material/ac_unit:", thawed_words(recipe), "thawed"))
    return found


def error_card(error: UserError) -> None:
    """What happened, why, what to try; where something has just not been said yet, calmly."""
    mark = ":blue[:material/arrow_circle_right:]" if isinstance(error, UnsaidError) else ":red[:material/error:]"
    with st.container(border=True, key=f"error-{abs(hash(str(error)))}"):
        st.markdown(f"{mark} **{plain(error.what)}**")
        if error.why:
            st.text(tidy(error.why, MESSAGE))
        if error.hint:
            st.markdown(f":blue[:material/lightbulb:] {with_code(error.hint)}")
        if error.mends:
            with st.container(horizontal=True, gap="small"):
                mends(error.mends, f"error-mend-{abs(hash(str(error)))}")


def mends(found: Sequence[Mend], key: str) -> None:
    """A button for each change that settles something."""
    for number, mend in enumerate(found):
        st.button(
            plain(mend.title, NAME),
            icon=":material/healing:",
            type="tertiary",
            key=f"{key}-{number}",
            on_click=refused.settle,
            args=(mend.path, mend.value),
        )


def empty(title: str, text: str, *, icon: str = ":material/hourglass_empty:") -> DeltaGenerator:
    """Nothing here yet: say what to do next. Returns the card, for one button inside it."""
    key = f"nothing-{abs(hash((title, text)))}"
    card = st.container(border=True, horizontal_alignment="center", gap="xsmall", key=key)
    card.subheader(f":gray[{icon}] {plain(title)}", anchor=False, width="content", text_alignment="center")
    card.markdown(f":gray[{plain(text)}]", width="content", text_alignment="center")
    return card


def paged(found: Any, most: int, key: str) -> Any:
    """So many of a sequence or array, of the page that is chosen; where all fit there is nothing to choose."""
    pages = -(-len(found) // most)
    page = st.pagination(pages, key=key) if pages > 1 else 1
    return found[(page - 1) * most : page * most]


def code(write: Callable[[], str], key: str = "code") -> None:
    """The PyTorch that the page means, live, to copy; closed at first, and written only when it is opened."""
    place = st.expander("Show the code", icon=":material/code:", key=key, on_change="rerun")
    if not place.open:
        return
    with place:
        try:
            st.code(write(), language="python")
        except UserError as error:  # which has its card further up
            st.caption(f":orange[:material/error:] {plain(str(error))}")


def plain(text: str, most: int = LONGEST) -> str:
    """Text of people (names, paths, messages) that must not be read as Markdown, on one line of so many letters."""
    return _safe(tidy(text, most))


def _safe(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", text)


def with_code(text: str) -> str:
    """The same, but that what stands between two backticks is shown as code: a command to copy."""
    parts = _CODE.split(tidy(text))
    return "".join(f"`{part}`" if place % 2 else _safe(part) for place, part in enumerate(parts))


_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")  # several backticks in a row mean something else
# Also what begins a list. An address becomes a link whatever is done, but one that says where it leads
_MARKS = re.compile(r"[\\`*_\[\]<>#:$~|&@]|^[-+=]|(?<=^\d)[.)]")
