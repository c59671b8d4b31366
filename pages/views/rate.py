"""Learning rate: let the rate rise, watch the loss, click where it should be."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.export import script
from finetune_core.finder import sweep
from finetune_core.parts.numbers import written
from finetune_core.recipe import Recipe
from finetune_core.recipe.words import phase_words
from finetune_core.runs.store import Run
from pages.ui.kit import asking, fields, live, phasing, scripts, shell, starts, state, timeline
from pages.ui.kit.badge import status_words
from pages.ui.kit.chart import chart, load
from pages.ui.rate import finder, racing

LEAD = "How large the optimizer's steps are: the one number that matters most. A short test shows which rates work."

CONFIDENCE = {"high": "green", "medium": "blue", "low": "orange"}


def show(recipe: Recipe) -> None:
    """The whole page."""
    runs = finder.searches(recipe)
    newest = runs[0] if runs else None
    seen = live.moving(newest)
    slot = shell.page("rate", "Learning rate", LEAD)
    _actions(slot.container(horizontal=True), recipe, newest)
    if newest and newest.status.error:
        shell.error_card(UserError.said(newest.status.error))
        with st.expander("Log"):
            st.code(newest.log_tail(), language=None)
    timeline.strip(recipe)
    if newest:
        live.watch(newest, seen, lambda: _body(runs, newest))
    else:
        _body([], None)
    with st.expander("More", icon=":material/tune:"):
        _more(recipe, newest)
    shell.code(lambda: _code(finder.starting_recipe(recipe)))
    load()


def _code(begun: Recipe) -> str:
    """The next search in PyTorch, from the weights that it would start from."""
    begun = finder.next_search().prepared(begun)
    return script.rate(begun, scripts.facts(begun), phasing.index(), finder.next_search().sweep)


def _actions(place: st.delta_generator.DeltaGenerator, recipe: Recipe, newest: Run | None) -> None:
    """One primary action: find, then go on."""
    wanted = False
    if newest and newest.status.active:
        place.button("Stop", icon=":material/stop_circle:", key="stop", on_click=asking.stop, args=(newest,))
    elif newest and newest.status.state == "finished" and finder.fits(newest, recipe):
        wanted = shell.start(place, "Find again", icon=":material/refresh:", key="again", kind="secondary")
        shell.next_step(place, "rate")
    else:
        wanted = shell.start(place, "Find the rate", icon=":material/query_stats:")
    if wanted:
        finder.begin(recipe, finder.next_search())


def _body(runs: list[Run], newest: Run | None) -> None:
    """Chart, then the ways to take a rate: click, suggestion, number."""
    recipe = state.draft()
    phase = phasing.chosen()
    found, group = finder.suggested(newest), finder.alone(newest)
    suggestions = {key: found.get(key) for key in finder.SUGGESTIONS}
    _word(newest, recipe, found)
    swept = finder.swept(phase, group)
    figure = figures.finder(finder.curves(runs), finder.chosen(phase, group), suggestions, swept, finder.LIMITS)
    chart(figure, key=finder.CHART, picked=partial(finder.take_clicked, group))
    number, *places = st.columns([1.2, 1, 1, 1], gap="medium", border=True)
    with number:
        fields.field(phasing.place("learning_rate"), label=phasing.label("Learning rate"))
    for place, (key, (title, reason)) in zip(places, finder.SUGGESTIONS.items(), strict=True):
        _suggestion(place, key, title, reason, suggestions[key], group, searched=newest is not None)


def _word(newest: Run | None, recipe: Recipe, found: dict[str, Any]) -> None:
    """One line above the chart, of the same height whatever it says."""
    with st.container(height=48, border=False):
        if newest is None:
            st.caption("The test tries a hundred rates on a copy of the model, from tiny to huge. It changes nothing.")
        elif newest.status.active:
            words = newest.status.message if newest.status.state == "running" else status_words(newest.status)
            st.progress(newest.status.share, text=shell.plain(words))
        elif newest.status.state in ("failed", "lost"):
            st.caption(":orange[:material/error:] The search ended early. Any rate can still be taken by number.")
        elif not finder.fits(newest, recipe):
            theirs = shell.plain(phase_words(finder.phase(newest)))
            st.caption(
                f":orange[:material/error:] This curve is of another setting ({theirs} thawed). Find the rate anew."
            )
        elif found.get("note"):
            st.caption(f":orange[:material/error:] {shell.plain(found['note'])}", help=_why(found))
        else:
            text = "Click the curve to take a rate. Shaded: the rates of nine in ten steps."
            st.caption(f"{_sure(found)} {text}", help=_why(found))


def _why(found: dict[str, Any]) -> str | None:
    return shell.plain(found.get("why") or "") or None


def _sure(found: dict[str, Any]) -> str:
    """How far the suggestions may be trusted."""
    confidence = found.get("confidence")
    return f":{CONFIDENCE[confidence]}-badge[{confidence} confidence]" if confidence else ""


def _suggestion(
    place: st.delta_generator.DeltaGenerator,
    key: str,
    title: str,
    reason: str,
    rate: float | None,
    group: str,
    searched: bool = True,
) -> None:
    label, args = f"{title}: {written(rate, 3)}" if rate else title, (rate, group)
    key, without = f"take-{key}", None if rate else "This curve has none." if searched else "Find the rate first."
    place.button(label, key=key, on_click=finder.take, args=args, disabled=rate is None, width="stretch", help=without)
    place.caption(reason)


def _more(recipe: Recipe, newest: Run | None) -> None:
    """For those who want to know it exactly: other searches, another rule, and a race."""
    tries, direction, moved, start = st.columns(4, gap="medium")
    with tries:
        counts = finder.TRIES
        st.segmented_control(
            "Tries", counts, required=True, format_func=lambda tries: counts[tries], key=_kept("find-tries", 1)
        )
        st.caption("Three, each with its own seed: their median, and how far they lie apart.")
    with direction:
        ways = finder.DIRECTIONS
        st.segmented_control(
            "Direction", ways, required=True, format_func=lambda down: ways[down], key=_kept("find-down", False)
        )
        st.caption(f"Downwards from {written(sweep.DOWN_FROM)}; the steepest fall counts there too.")
    with moved:
        options = ("", *finder.thawed(phasing.chosen()))
        st.selectbox("Rate that moves", options, format_func=_moved, key=_kept("find-group", ""))
        st.caption("One group alone while the others keep their rates.")
    with start:
        files = ("", *starts.known(recipe))
        st.selectbox("Start from", files, format_func=_origin, key=_kept("find-start", ""))
        st.caption("A run's weights, say before the next groups thaw: the right rate changes with them.")
    rule, race = st.columns([1, 2], gap="large")
    with rule:
        found = finder.suggested(newest)
        st.markdown("**Rules to compare**")
        for key, words in {"slide": finder.SLIDE, "lowest": finder.LOWEST}.items():
            _suggestion(st.container(), key, *words, found.get(key), finder.alone(newest))
        if found.get("why"):
            st.caption(shell.plain(found["why"]))
        if found.get("proof"):
            st.caption(f":green[:material/verified:] {shell.plain(found['proof'])}")
    with race:
        racing.panel(recipe, newest)


def _kept(key: str, default: object) -> str:
    """The key of a widget that starts with this value."""
    return state.seed(key, state.value(key, default))


def _origin(file: str) -> str:
    return starts.words(file) if file else "The recipe's own weights"


def _moved(group: str) -> str:
    return f"{group} alone" if group else "All groups together"


show(state.draft())
