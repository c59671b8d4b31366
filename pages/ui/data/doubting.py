"""Labels that the backbone of the draft does not believe: looked for by a scout, told among the doctor's findings."""

from __future__ import annotations

import streamlit as st

from finetune_core.data.doctor import Doubt, Twins
from finetune_core.finder import probes
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Recipe
from finetune_core.runs.jobs import Scout
from pages.ui.kit import asking, shell

MOST = 5000  # images that are looked at, alike from every class
NEARLY = 0.9  # of the images: some may be unreadable


def doubts(recipe: Recipe) -> tuple[Doubt, ...]:
    """What is known of them."""
    found = probes.known_before(recipe, recipe.model.backbone)
    return () if found is None else tuple(Doubt(*each) for each in found.doubts)


def twins(recipe: Recipe) -> tuple[Twins, ...]:
    """Pictures that were seen to be parts of others."""
    found = probes.known_before(recipe, recipe.model.backbone)
    return () if found is None else found.twins


def panel(recipe: Recipe, samples: Samples) -> None:
    """The way to look for them; how far it is; how much was looked at."""
    backbone = recipe.model.backbone
    if not samples.about.exclusive or backbone.weights.missing():
        return
    if run := asking.running(Scout):
        asking.watch(run)
        return
    wanted = min(len(samples), MOST)
    found = probes.known_before(recipe, backbone)
    with st.container(horizontal=True, vertical_alignment="center"):
        if found and found.images >= NEARLY * wanted:
            st.caption(f":material/check: {backbone.architecture} has looked at the labels of {found.images:,} images.")
            return
        help = (
            f"A linear head on the features of {backbone.architecture} is asked about images that it was not fitted "
            "on: where it is sure of another class, the label may be wrong. Pictures that look alike to it are held "
            "against each other: one may be a part of the other, or its mirror image."
        )
        label, icon = "Look for wrong labels and near copies", ":material/rule:"
        if shell.start(st.container(width="content"), label, icon=icon, key="doubts", kind="tertiary", help=help):
            asking.begin(recipe, Scout(images=max(wanted, 10)))
    for run in asking.asked(Scout)[:1]:
        if (run.recipe.data, run.recipe.model.backbone) == (recipe.data, backbone) and (why := asking.why(run)):
            st.caption(f":red[:material/error:] Labels could not be looked at. {shell.plain(why)}")
