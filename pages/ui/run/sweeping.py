"""Sweeps as pages see them: which knobs and values are to be tried, and the ways to those that were."""

from __future__ import annotations

from typing import Any

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts.numbers import listed
from finetune_core.recipe import Recipe, variants
from finetune_core.recipe.variants import Axis, Knobs, Variant
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import sweeps
from finetune_core.runs.waiting.sweeps import Sweep
from finetune_core.wording import count
from pages.ui.kit import path, shell, state
from pages.ui.run import queueing

NONE = "nothing"  # no second knob
SHOWN = 6  # earlier sweeps in a list


def above_runs() -> None:
    """What stands above the runs: the queue, and the ways to the newest sweeps."""
    queueing.panel()
    earlier(sweeps.list_sweeps()[:SHOWN])


def earlier(found: list[Sweep]) -> None:
    """A link to each of some sweeps."""
    if found:
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            st.markdown(":gray[Earlier sweeps]", width="content")
            for sweep in found:
                _link(sweep)


def of_run(run: Run) -> None:
    """Of a run that is one of a sweep: the way there."""
    if mark := sweeps.mark_of(run):
        title = " × ".join(axis.title for axis in mark.axes)
        label = f":small[One of a sweep over {shell.plain(title)}]"
        st.page_link(path.SWEEP.script, label=label, icon=path.SWEEP.icon, query_params={"sweep": mark.sweep})


def _link(sweep: Sweep) -> None:
    label = f":small[{shell.plain(sweep.title)}, {count(len(sweep.trials), 'run')}]"
    st.page_link(
        path.SWEEP.script,
        label=label,
        icon=path.SWEEP.icon,
        query_params={"sweep": sweep.id},
        help=shell.plain(sweep.id),
    )


def chosen(recipe: Recipe, names: tuple[str, ...]) -> tuple[list[Axis], list[Variant], UserError | None]:
    """Draw the fields; the axes that stand in them and what is to be run, or why they make no sweep."""
    known = variants.knobs(recipe, names)
    first, second = st.columns(2, gap="large", border=True)
    texts: dict[str, str] = {}
    with first:
        texts |= _knob(recipe, names, known, "First", list(known))
    with second:
        texts |= _knob(recipe, names, known, "Second", [NONE, *known])
    seeds = st.segmented_control(
        "Seeds", (1, 3, 5), default=1, required=True, key="sweep-seeds", help="How often each is run: more show chance."
    )
    try:
        axes = [variants.axis(recipe, names, place, text) for place, text in texts.items()]
        return axes, variants.variants(recipe, axes, names, seeds), None
    except UserError as error:
        return [], [], error


def _knob(
    recipe: Recipe, names: tuple[str, ...], known: dict[str, Knobs], which: str, options: list[str]
) -> dict[str, str]:
    """One knob and the values to try, as text, by its path; none where none is chosen."""
    usual = next((place for place in options if place.endswith("learning_rate")), options[0])
    start = usual if which == "First" else NONE
    place = st.selectbox(
        f"{which} knob",
        options,
        index=options.index(start),
        format_func=lambda each: known[each].title if each in known else "None",
        key=f"sweep-{which}",
    )
    if place == NONE:
        st.caption("With a second knob every value of the one is tried with every value of the other.")
        return {}
    knobs, now = known[place], variants.chosen(recipe, names, place)
    key, some = f"sweep-values:{which}:{place}", knobs.around(now)
    if knobs.scale:
        text = st.text_input("Values", listed(some).replace(", ", "; "), key=key, help=knobs.scale.words())
        st.caption(f"Now {shell.plain(knobs.shown(now))}.")
        return {place: text}
    options_shown: dict[str, Any] = {"format_func": knobs.shown, "default": list(some), "key": key}
    return {place: ", ".join(st.pills("Values", knobs.choices, selection_mode="multi", **options_shown))}


def begin(axes: list[Axis], found: list[Variant]) -> None:
    """Queue its runs, and go where they are watched; what stops it becomes a notice."""
    try:
        with st.spinner("Checking what each run needs", show_time=True):
            made = sweeps.begin(axes, found)
    except UserError as error:
        state.note(error)
        st.rerun()
    shell.go(path.SWEEP, sweep=made.id)


def repeat(sweep: Sweep) -> None:
    """Queue all its values once more, each with several seeds: so chance can be told from the rest."""
    try:
        found = sweeps.repeated(sweep)
    except UserError as error:
        state.note(error)
        st.rerun()
    begin([*sweep.axes], found)


def cancel(sweep: Sweep) -> None:
    """Take its waiting runs out of the queue."""
    try:
        sweeps.cancel(sweep)
    except UserError as error:
        state.note(error)
