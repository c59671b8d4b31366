"""Pictures without labels: one at a time by keys, or a page of proposals at once; each click can be taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import streamlit as st

from finetune_core.data import labelling
from finetune_core.data.labelling import Bench
from finetune_core.errors import UserError
from finetune_core.finder import embedded
from finetune_core.finder.embedded import Embedding, Proposal
from finetune_core.places import stamp
from finetune_core.recipe import Recipe
from finetune_core.runs.jobs import Embed
from finetune_core.wording import count
from pages.ui.kit import asking, dataset, shell, state

LARGE, SMALL = 440, 200  # px, short side of a picture
KEYS = 9  # classes that have a key of their own
LIKELY = 0.5  # from here on a proposal is ticked before anybody has looked
GRID = 12  # pictures of a page of proposals
WIDTH = 140  # px that a column has at least
DONE, OFF, NEW, TURN = "label:done", "label:off", "label:new", "label:turn"


def proposals(recipe: Recipe, bench: Bench) -> Mapping[str, Proposal]:
    """What the labels so far say of the pictures that have none, where they have been looked at."""
    return _proposed(_looked(recipe, bench), tuple(bench.labels.items()))


def _known(recipe: Recipe, bench: Bench) -> Embedding | None:
    """What is known of the pictures, as it was looked at last."""
    return _embedding(*_looked(recipe, bench))


def _looked(recipe: Recipe, bench: Bench) -> tuple[str, Path, object]:
    """What features depend on: another one where the pictures have been looked at anew."""
    return recipe.model_dump_json(), bench.folder, stamp(embedded.place(recipe, bench.folder))


@lru_cache(maxsize=2)
def _embedding(recipe: str, folder: Path, when: object) -> Embedding | None:
    found = embedded.known(embedded.place(Recipe.model_validate_json(recipe), folder))
    return embedded.standard(found) if found else None


@lru_cache(maxsize=2)
def _proposed(about: tuple[str, Path, object], labels: tuple[tuple[str, str], ...]) -> Mapping[str, Proposal]:
    found = _embedding(*about)
    return embedded.proposals(found, dict(labels)) if found else {}


def single(recipe: Recipe, bench: Bench, found: Mapping[str, Proposal]) -> None:
    """The next picture, large, and a button with a key for each class."""
    name = _next(recipe, bench, found)
    if not name:
        st.success(f"All {count(len(bench.images), 'picture')} have a label.")
        return
    left, right = st.columns([7, 5], gap="large")
    with left:
        _picture(bench, name, LARGE)
        st.caption(shell.plain(name))
    with right:
        if proposal := found.get(name):
            st.button(
                f"**{shell.plain(proposal.label)}**, {proposal.sure:.0%} sure",
                icon=":material/done_all:",
                key="label-yes",
                shortcut="Y",
                on_click=_give_one,
                args=(bench, name, proposal.label),
            )
        with st.container(horizontal=True, gap="xsmall", key="label-classes"):
            for number, label in enumerate(bench.classes, start=1):
                st.button(
                    shell.plain(label),
                    key=f"label-{number}",
                    shortcut=str(number) if number <= KEYS else None,
                    on_click=_give_one,
                    args=(bench, name, label),
                )
        field = f"{NEW}:{state.value(TURN, 0)}"  # after each it is another one, without text
        new = partial(_new, bench, name, field)
        st.text_input("Another class", key=field, placeholder="Its name, then Enter", on_change=new)
        icon, args = ":material/skip_next:", (bench, name)
        st.button("Skip", icon=icon, key="label-skip", shortcut="S", on_click=_skip, args=args)


def _next(recipe: Recipe, bench: Bench, found: Mapping[str, Proposal]) -> str:
    """The picture that a label teaches most of; then what was put off, then what the backbone could not read."""
    left, known = bench.left, _known(recipe, bench)
    off, bad = set(_off(bench)), set(known.bad if known else ())
    fresh = embedded.unsure_first(found, [name for name in left if name not in off and name not in bad])
    waiting = set(left)
    rest = (name for name in (*_off(bench), *left) if name in waiting)
    return next(iter(fresh), "") or next(rest, "")


def grid(bench: Bench, found: Mapping[str, Proposal]) -> None:
    """The surest proposals of one class: what is wrong is unticked, and all others are taken at once."""
    names = [name for name in bench.left if name in found]
    if not names:
        why = (
            "The backbone has yet to look at the pictures."
            if bench.ready
            else "They need two classes with two labels each."
        )
        st.info(f"There are no proposals yet. {why}")
        return
    labels = sorted({found[name].label for name in names}, key=lambda label: bench.classes.index(label))
    label = st.pills("Class", labels, default=labels[0], key="label-of", required=True, format_func=shell.plain)
    off = set(_off(bench))
    of_label = (name for name in names if found[name].label == label)
    some = sorted(of_label, key=lambda name: (name in off, -found[name].sure))[:GRID]
    taken = []
    with st.grid(len(some), min_column_width=WIDTH):
        for name in some:
            with st.container(gap="xsmall"):
                _picture(bench, name, SMALL, square=True)
                likely = found[name].sure > LIKELY and name not in off
                if st.checkbox(f"{found[name].sure:.0%}", value=likely, key=f"tick:{name}", help=shell.plain(name)):
                    taken.append(name)
    st.button(
        f"Label {count(len(taken), 'picture')} as {shell.plain(str(label))}",
        icon=":material/done_all:",
        key="label-all",
        shortcut="A",
        disabled=not taken,
        on_click=_take,
        args=(bench, some, str(label), taken),
    )


def looking(recipe: Recipe, bench: Bench, found: Mapping[str, Proposal]) -> None:
    """The way to have the rest proposed, and how far that is."""
    if run := asking.running(Embed):
        asking.watch(run)
        return
    looked = _known(recipe, bench)
    if looked and not set(bench.left).difference(looked.names, looked.bad):
        ready = "each label makes them better" if found else "two classes with two labels each bring proposals"
        st.caption(f":material/check: {recipe.model.backbone.architecture} has looked at the pictures; {ready}.")
        return
    why = recipe.model.backbone.weights.missing()
    help = (
        f"{recipe.model.backbone.architecture} looks at every picture once. From then on, what you have labelled "
        "proposes the rest, and the pictures it is least sure of come first."
    )
    label, icon = "Propose the rest", ":material/auto_awesome:"
    if shell.start(st.container(), label, icon=icon, key="label-look", kind="secondary", help=help, why=why):
        asking.begin(recipe, Embed(folder=str(bench.folder)))
    for run in asking.asked(Embed)[:1]:
        if run.job == Embed(folder=str(bench.folder)) and (why := asking.why(run)):
            st.caption(f":red[:material/error:] The pictures could not be looked at. {shell.plain(why)}")


def undo(bench: Bench) -> None:
    """Take the last labels back."""
    done = state.value(_of(DONE, bench), ())
    st.button(
        "Undo",
        icon=":material/undo:",
        key="label-undo",
        shortcut="Ctrl+Z",
        disabled=not done,
        on_click=_undo,
        args=(bench,),
    )


def _picture(bench: Bench, name: str, side: int, square: bool = False) -> None:
    picture = dataset.thumbnail(bench.folder / name, side, square)
    if picture is None:
        st.caption(f":red[:material/broken_image:] {shell.plain(name)} cannot be read.")
    else:
        st.image(picture, width="stretch" if square else "content", alt=name)


def _of(key: str, bench: Bench) -> str:
    """What is kept is of one folder."""
    return f"{key}:{bench.folder}"


def _off(bench: Bench) -> tuple[str, ...]:
    """Pictures that were put off: skipped, or unticked among proposals."""
    return tuple(state.value(_of(OFF, bench), ()))


def _put_off(bench: Bench, names: Sequence[str]) -> None:
    state.keep(_of(OFF, bench), (*(each for each in _off(bench) if each not in names), *names))


def _skip(bench: Bench, name: str) -> None:
    _done(bench, {})
    _put_off(bench, (name,))


def _done(bench: Bench, before: Mapping[str, str]) -> None:
    """Remember how labels and what was put off were before a click."""
    done = _of(DONE, bench)
    state.keep(done, (*state.value(done, ()), (before, _off(bench))))


def _take(bench: Bench, names: Sequence[str], label: str, seen: Sequence[str]) -> None:
    """Give all pictures of the page that are still ticked this label, and put off the others."""
    left = _left(bench)
    ticked = [name for name in names if name in left and state.value(f"tick:{name}", name in seen)]
    if ticked:
        _give(bench, dict.fromkeys(ticked, label))
    _put_off(bench, [name for name in names if name in left and name not in ticked])


def _left(bench: Bench) -> set[str]:
    """Pictures that have no label by now: a key that was pressed twice was meant for the next one, or for none."""
    try:
        return set(labelling.read(str(bench.folder)).left)
    except UserError as error:
        state.note(error)
        return set()


def _give_one(bench: Bench, name: str, label: str) -> None:
    if name in _left(bench):
        _give(bench, {name: label})


def _give(bench: Bench, labels: Mapping[str, str]) -> None:
    try:
        before = labelling.give(bench.folder, labels)
    except UserError as error:
        state.note(error)
        return
    _done(bench, before)


def _undo(bench: Bench) -> None:
    done = _of(DONE, bench)
    if given := state.value(done, ()):
        before, off = given[-1]
        try:
            if before:
                labelling.give(bench.folder, before)
        except UserError as error:
            state.note(error)
            return
        state.keep(done, given[:-1])
        state.keep(_of(OFF, bench), off)


def _new(bench: Bench, name: str, key: str) -> None:
    if label := " ".join(str(state.value(key) or "").split()):
        known = (each for each in bench.classes if each.casefold() == label.casefold())  # Hat is no other than hat
        _give_one(bench, name, next(known, label))
        state.keep(TURN, state.value(TURN, 0) + 1)
