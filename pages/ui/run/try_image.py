"""Try an image: a picture goes in, what the run's best network sees in it comes out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from finetune_core import figures
from finetune_core.data.chosen import of_run
from finetune_core.data.image import Picture, read_image
from finetune_core.errors import UserError
from finetune_core.parts.sources import files
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS
from finetune_core.places import stamp
from finetune_core.records import Count
from finetune_core.runs.store import Run
from pages.ui.kit import behind, dataset, models, shell, state, warm
from pages.ui.kit.chart import chart
from pages.ui.run.heating import WAYS, heat
from pages.ui.run.looking import many
from pages.ui.run.playing import playing

SIDE = 512  # px, the short side of the picture on the page
HEAT, MOST = 280, 3  # px of a heat map, and how many of tags and numbers
MANY = 5  # bars of an answer
LIKES = 6  # training images that are like it
Answer = list[tuple[str, float]]  # names with their probabilities, or with their numbers

USUAL = (".jpg", ".jpeg", ".png", ".webp", ".heic")  # the uploader tells only the first of all
FORMATS = [ending[1:] for ending in dict.fromkeys((*USUAL, *files.ENDINGS))]  # as it wants them


def try_image(run: Run) -> None:
    """Upload an image, or take one that the run was measured on, and see the guess."""
    if not run.best.exists():
        shell.empty("Not yet", "The first epoch has to end; then the model can be tried.")
        return
    key = state.seed(f"try:{run.id}", state.value(f"try:{run.id}", "one"))
    way = st.segmented_control(
        "How", list(TRIES), format_func=_words, key=key, required=True, label_visibility="collapsed"
    )
    TRIES[way or "one"][1](run)


def _words(way: str) -> str:
    return TRIES[way][0]


def _one(run: Run) -> None:
    left, right = st.columns([2, 3], gap="large")
    with left:
        picture, truth = _chosen(run)
    if picture is None:
        with right:
            shell.empty(
                "Show it something",
                "Choose an image, or take one that the model was measured on.",
                icon=":material/image_search:",
            )
        return
    try:
        left.image(
            _seen(run, picture), width="stretch", caption=f"It is: {shell.plain(truth)}" if truth else "Your image"
        )
    except UserError as error:
        shell.error_card(error)
        return
    with right:
        warm.wait()
        try:
            model = models.best(run)
            likely = model([picture], top=MANY if run.recipe.task.exclusive else len(model.targets.names))[0]
        except UserError as error:
            shell.error_card(error)
            return
        ANSWERS[run.recipe.task.key](run, likely, truth)
    _where(run, picture, likely, truth)
    _alike(run, picture)


def _alike(run: Run, picture: Picture) -> None:
    """The training images that it looks like."""
    more = st.expander("What it looks like to the model", icon=":material/join_inner:", key="alike", on_change="rerun")
    if not more.open:
        return
    with more:
        named, place = f"{run.path}:{stamp(run.best)}:{_told_apart(picture)}", behind.own("alike")
        if named not in place:
            warm.wait()
        work = partial(_nearest, run, _own(picture))
        behind.watch(behind.begin(place, named, work, "Looking at all images, once"), _shown_alike)


def _nearest(run: Run, picture: Picture, count: Count) -> list[Any]:
    from finetune_core.understand import embedding

    return embedding.nearest(run, picture, LIKES, count)


def _shown_alike(found: Sequence[Any]) -> None:
    st.caption("Images that it has learned from and whose features are nearest. How alike: 1 is the same, 0 unrelated.")
    with st.grid(LIKES, min_column_width=HEAT // 2):
        for each in found:
            if thumbnail := dataset.thumbnail(each.path, HEAT):
                st.image(thumbnail, width="stretch", caption=f"{shell.plain(each.label)}, {each.likeness:.2f}")


def _own(picture: Picture) -> Picture:
    """A picture for a thread of its own: two that read one file at a time move it under each other."""
    return BytesIO(picture.getvalue()) if isinstance(picture, BytesIO) else picture


def _where(run: Run, picture: Picture, likely: Answer, truth: str) -> None:
    """Heat maps for what it is taken for, and for what it is."""
    more = st.expander("Where it looked", icon=":material/local_fire_department:", key="where", on_change="rerun")
    if not more.open:
        return
    task, targets = run.recipe.task, models.best(run).targets
    wanted = task.seen(targets, likely)[:MOST] or [likely[0][0]]
    if task.exclusive and truth and truth not in wanted:
        wanted.append(truth)
    with more:
        key = state.seed("heat-way", state.value("heat-way", "layers"))
        way = st.segmented_control("How", list(WAYS), format_func=WAYS.__getitem__, key=key, required=True)
        said = "Warm is what speaks for it, in what the model is shown of the picture. It is a hint, not a proof."
        st.caption(said)
        draw = lambda made: _heats(wanted, made)  # noqa: E731
        heat(run, [(_own(picture), name) for name in wanted], f"{_told_apart(picture)}:{wanted}", draw, way or "layers")


def _heats(names: Sequence[str], made: Sequence[Any]) -> None:
    with st.container(horizontal=True, gap="medium"):
        for name, looked in zip(names, made, strict=True):
            if looked is not None:
                st.image(looked.pixels, width=HEAT, caption=f"For {shell.plain(name)}")


def _told_apart(picture: Picture) -> str:
    """A picture from others: where it lies, or which upload it is."""
    return str(getattr(picture, "file_id", picture))


def _class(run: Run, likely: Answer, truth: str) -> None:
    name, share = likely[0]
    verdict = "" if not truth else " :green[Right.]" if name == truth else " :red[Wrong.]"
    st.markdown(f"### {shell.plain(name)}, {share:.1%} sure.{verdict}")
    chart(figures.guesses(likely[:MANY]), key="guesses")


def _tags(run: Run, likely: Answer, truth: str) -> None:
    seen = TAGS.seen(models.best(run).targets, likely)
    st.markdown(f"### {shell.plain(', '.join(seen)) or 'None of the tags'}")
    chart(figures.guesses(likely[: max(MANY, len(seen))]), key="guesses")


def _numbers(run: Run, likely: Answer, truth: str) -> None:
    with st.container(horizontal=True, gap="large"):
        for name, value in likely:
            st.metric(shell.plain(name), NUMBERS.shown(value), border=True)


TRIES = {
    "one": ("One picture", _one),
    "live": ("Play live", playing),
    "many": ("Many pictures at once", many),
}
ANSWERS = {ONE_CLASS.key: _class, TAGS.key: _tags, NUMBERS.key: _numbers}


def _chosen(run: Run) -> tuple[Picture | None, str]:
    """The picture to look at, the one asked for last, and its true label where that is known."""
    key, mine = f"sample:{run.id}", f"upload:{run.id}"
    upload = st.file_uploader("An image of yours", type=list(FORMATS), key=mine, on_change=_uploaded, args=(mine, key))
    if st.button("Take one from the validation images", icon=":material/casino:", key=f"draw:{run.id}"):
        state.keep(key, random.random())
    try:
        if (place := state.value(key)) is not None:
            return _from_validation(run, place)
        if upload is not None:
            return upload, ""
    except UserError as error:
        shell.error_card(error)
    return None, ""


def _uploaded(mine: str, sample: str) -> None:
    """An image of one's own takes the place of the sample; to take it away again does not."""
    if state.value(mine) is not None:
        state.keep(sample, None)


def _from_validation(run: Run, place: float) -> tuple[Path, str]:
    """The validation image at `place` in [0, 1) of all of them, and its label in words."""
    samples, valid = _measured_on(run)
    index = int(valid[int(place * len(valid))])
    return samples.paths[index], samples.label_words(index)


def _measured_on(run: Run) -> tuple[Samples, np.ndarray]:
    """The images that it began with, and which of them are its validation images; earlier runs have not kept that."""
    samples, parts, _ = of_run(run.recipe.data, run.begun)
    return samples, parts.valid


def _seen(run: Run, picture: Picture) -> np.ndarray:
    """The picture as the model's reader sees it, at a size for eyes. A UserError where it cannot be read."""
    return read_image(picture, SIDE, run.recipe.data.channels, run.depth).squeeze()
