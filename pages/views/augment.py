"""Augment: the picture answers, not the sliders."""

from functools import partial

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.export import script
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Recipe, stack
from finetune_core.runs import preflight
from finetune_core.training import timing
from pages.ui.data import draws, pipeline, reading, straining
from pages.ui.kit import fields, shell, state, warm
from pages.ui.kit.checks import checks
from pages.ui.kit.pieces import piece

IMAGES = 4  # rows in a view
VIEWS = {"together": "Together", "single": "One at a time", "ladder": "Ladder"}
PIN = (
    "While you tune a knob the same draw is shown again and again, so that what changes is the knob's doing. "
    "Off, each change draws anew."
)
DRAWN = "augment-drawn"
LEADS = {
    "together": "Original left, then what the model gets in epochs {first} to {last}: never the same picture twice.",
    "single": "One row per transform, alone, so that you see what each one does.",
    "ladder": "One transform from doing nothing to its end. Stop before you could no longer tell yourself what it is.",
}


def workbench(samples: Samples) -> None:
    """Pictures left, the pipeline right; only this part is drawn anew while one plays with the sliders.

    The pictures stay in sight while one goes through the pipeline, unless they are more than a window holds.
    """
    pipeline.presets()
    kind, epoch = _kind(), _epoch()
    st.caption(LEADS[kind].format(first=epoch + 1, last=epoch + draws.COLUMNS - 1))
    stays = kind != "single" or len(stack.working(state.draft().augment)) <= IMAGES
    with st.container(key="workbench-stays" if stays else "workbench"):
        left, right = st.columns([8, 4], gap="large")
        with right:
            st.markdown("**Pipeline**")
            pipeline.cards()
        with left:
            images = pictures(samples, kind, epoch)
        with right:
            if images:
                st.caption(_cost(state.draft(), images))
    straining.panel(state.draft())
    mixing_panel(samples)
    shell.code(lambda: script.augment(state.draft(), len(samples.classes)))


def _kind() -> str:
    """The chosen view."""
    key = state.seed("augment-view", state.value("augment-view", "together"))
    chosen = st.segmented_control(
        "View", list(VIEWS), format_func=VIEWS.__getitem__, key=key, required=True, label_visibility="collapsed"
    )
    return chosen or "together"


def pictures(samples: Samples, kind: str, epoch: int) -> tuple[int, ...]:
    """A view as pictures, and what draws it anew; returns the images that it shows."""
    images: tuple[int, ...] = ()
    try:
        for title, view in _views(kind, samples, epoch):
            picture = draws.picture(state.draft(), view, state.background())
            words = f"{title or VIEWS[kind]}: images before and after augmentation."
            with st.container(gap="xxsmall"):
                if title:
                    st.caption(title)
                st.image(picture, width="stretch", alt=words)
            images = view.images
    except UserError as error:
        shell.error_card(error)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.button("Draw anew", icon=":material/casino:", key="redraw", on_click=_turn, args=("augment-epoch",))
        st.button("Other images", icon=":material/shuffle:", key="others", on_click=_turn, args=("augment-turn",))
        st.toggle("Same draw", _pinned(), help=PIN, **state.callback(state.seed("augment-pin", _pinned()), _pin))
    return images


def _cost(recipe: Recipe, images: tuple[int, ...]) -> str:
    """What the pipeline costs, beside what the network eats where that was measured; and what a crop leaves over."""
    words = f":material/speed: One core draws about {draws.speed(recipe, images):,.0f} of these images a second."
    measured = timing.known(recipe).get(timing.name(recipe.model.backbone.kind, recipe.model.backbone.architecture))
    if measured and measured.train_images_per_s:
        words += f" Training everything eats about {measured.train_images_per_s:,.0f}."
    kept = [part.kept() for part in recipe.augment if part.active]
    if share := next((each for each in kept if each < 1), None):
        words += f" The crop keeps {share:.0%} of a picture in the mean."
    return words


def _views(kind: str, samples: Samples, epoch: int) -> list[tuple[str, draws.View]]:
    """What is drawn, each with its title: of one at a time a row for each transform."""
    augment = state.draft().augment
    images = draws.examples(samples, IMAGES, state.value("augment-turn", 0))
    if kind == "single":
        titles, working = stack.titles(augment), stack.working(augment)
        if not working:
            st.info("No transform is on. Switch one on or add one to see what it does alone.")
        return [(titles[place], draws.View(kind, images, epoch, place)) for place in working]
    if kind == "ladder" and not augment:
        st.info("There is no transform. Add one to see it from doing nothing to its end.")
        return []
    return [("", draws.View(kind, images, epoch, _climbed() if kind == "ladder" else 0))]


def _climbed() -> int:
    """The place of the transform that the ladder shows: the one that was chosen, while it is there."""
    augment, names = state.draft().augment, state.names()
    offered = [*stack.working(augment), *stack.resting(augment)]
    titles = dict(zip(names, stack.titles(augment), strict=True))
    place = state.place_of(state.value("ladder-of", ""))
    key = state.seed("ladder-of", names[offered[0] if place is None else place])
    chosen = st.selectbox(
        "Transform",
        [names[place] for place in offered],
        format_func=lambda name: titles.get(name, name),
        key=key,
        label_visibility="collapsed",
        width=260,
    )
    return names.index(chosen)


def _epoch() -> int:
    """The epoch that the pictures begin with: each turn shows others, and unless it is pinned each change does."""
    augment = state.draft().augment
    if state.value(DRAWN, augment) != augment and not _pinned():
        _turn("augment-epoch")
    state.keep(DRAWN, augment)
    return int(state.value("augment-epoch", 0)) * (draws.COLUMNS - 1)


def _turn(key: str) -> None:
    state.keep(key, state.value(key, 0) + 1)


def _pinned() -> bool:
    return bool(state.value("augment-pinned", True))


def _pin(wanted: bool) -> None:
    state.keep("augment-pinned", wanted)


def mixing_panel(samples: Samples) -> None:
    """Whether images are mixed with each other, what that looks like, and the seed that all draws come from."""
    with st.expander("More: mixing and seed", icon=":material/tune:"):
        left, right = st.columns([8, 4], gap="large")
        with right:
            fields.choice("training.mix", "Mix images")
            fields.field("training.seed")
        with left:
            mixtures(samples)


def mixtures(samples: Samples) -> None:
    """Two images and mixes of them; words where they are not mixed or cannot be."""
    recipe = state.draft()
    if not recipe.training.mix.ways:
        st.caption("Images are learned from one at a time. Mix them, and some of yours show here what that does.")
        return
    if unsettled := list(preflight.mixing(recipe)):
        checks(unsettled, key="mixing")
        return
    st.caption("Left two of your images, then mixes of them: the label is shared as the picture is.")
    view = draws.View("mixed", draws.examples(samples, IMAGES, state.value("augment-turn", 0)), _epoch())
    try:
        picture = draws.picture(recipe, view, state.background())
        st.image(picture, width="stretch", alt="Two images a row, and both mixed in different shares.")
    except UserError as error:
        shell.error_card(error)


def main() -> None:
    """Head, then the workbench once PyTorch is there."""
    slot = shell.page(
        "augment", "Augment", "What training does to every image, so that the model learns what does not matter."
    )
    shell.next_step(slot, "augment")
    # What shows while things load has a place of its own: if it shifted what is below, that would be mounted anew and
    # forget how far it was scrolled.
    with st.container(gap=None):
        with st.container():
            found = reading.read(state.draft().data)
            if found:
                warm.wait()
        with st.container():
            if found:
                piece(partial(workbench, found[0]))


main()
