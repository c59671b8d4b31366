"""Learning rate: let the rate rise, watch the loss, click where it should be."""

from __future__ import annotations

import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.store import Run
from pages.ui import fields, finder, live, path, shell, state
from pages.ui.badge import status_words
from pages.ui.chart import chart, load

LEAD = "How large the optimizer's steps are: the one number that matters most. A short test shows which rates work."


def show(recipe: Recipe) -> None:
    """The whole page."""
    runs = finder.searches(recipe)
    newest = runs[0] if runs else None
    slot = shell.page("rate", "Learning rate", LEAD)
    _actions(slot.container(horizontal=True), recipe, newest)
    if newest and newest.status.error:
        shell.error_card(UserError(**newest.status.error))
        with st.expander("Log"):
            st.code(newest.log_tail(), language=None)
    if newest:
        live.watch(newest, lambda: _body(runs, newest))
    else:
        _body([], None)
    load()


def _actions(place: st.delta_generator.DeltaGenerator, recipe: Recipe, newest: Run | None) -> None:
    """One primary action: find, then go on."""
    if newest and newest.status.active:
        place.button("Stop", icon=":material/stop_circle:", key="stop", on_click=finder.stop, args=(newest,))
    elif newest and newest.status.state == "finished" and finder.fits(newest, recipe):
        place.button("Find again", icon=":material/refresh:", key="again", on_click=finder.begin, args=(recipe,))
        shell.next_step(place, "rate")
    else:
        place.button(
            "Find the rate",
            icon=":material/query_stats:",
            type="primary",
            key="primary",
            on_click=finder.begin,
            args=(recipe,),
        )


def _body(runs: list[Run], newest: Run | None) -> None:
    """Chart, then the ways to take a rate: click, suggestion, number."""
    recipe = state.draft()
    phase = recipe.phases[0]
    suggestions, note = finder.suggested(newest) if newest else (dict.fromkeys(finder.SUGGESTIONS), "")
    _word(newest, recipe, note)
    figure = figures.finder(finder.curves(runs), phase.learning_rate, suggestions, finder.swept(phase), finder.LIMITS)
    chart(figure, key=finder.CHART, picked=finder.picked)
    number, *places = st.columns([1.2, 1, 1, 1], gap="medium", border=True)
    with number:
        fields.field(finder.PLACE)
    for place, (key, (title, reason)) in zip(places, finder.SUGGESTIONS.items(), strict=True):
        _suggestion(place, key, title, reason, suggestions[key])


def _word(newest: Run | None, recipe: Recipe, note: str) -> None:
    """One line above the chart, of the same height whatever it says."""
    with st.container(height=48, border=False):
        if newest is None:
            st.caption("The test tries a hundred rates on a copy of the model, from tiny to huge. It changes nothing.")
        elif newest.status.active:
            words = "Trying rates" if newest.status.state == "running" else status_words(newest.status)
            st.progress(live.share(newest.status), text=words)
        elif newest.status.state in ("failed", "lost"):
            st.caption(":orange[:material/error:] The search ended early. Any rate can still be taken by number.")
        elif not finder.fits(newest, recipe):
            theirs = shell.plain(path.thaw_words(newest.recipe))
            st.caption(
                f":orange[:material/error:] This curve is of another setting ({theirs} thawed). Find the rate anew."
            )
        elif note:
            st.caption(f":orange[:material/error:] {shell.plain(note)}")
        else:
            st.caption("Click the curve to take a rate. Nine in ten steps will lie in the shaded range.")


def _suggestion(
    place: st.delta_generator.DeltaGenerator, key: str, title: str, reason: str, rate: float | None
) -> None:
    label = f"{title}: {rate:.2g}" if rate else title
    place.button(label, key=f"take-{key}", on_click=finder.take, args=(rate,), disabled=rate is None, width="stretch")
    place.caption(reason)


show(state.draft())
