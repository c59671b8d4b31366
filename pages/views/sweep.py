"""Try several values: of one knob of the draft, or of two, and see which is best."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.network import catalogue
from finetune_core.recipe import Recipe
from finetune_core.runs.shelf import naming
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import sweeps
from finetune_core.runs.waiting.sweeps import Point, Sweep
from finetune_core.wording import count
from pages.ui.kit import live, path, shell, state
from pages.ui.kit.chart import chart, load
from pages.ui.kit.pieces import EVERY, piece
from pages.ui.run import sweeping

LEAD = "Pick a knob and some values: a run of each tells which is best. They wait in the queue and run one by one."


def show(recipe: Recipe) -> None:
    """The page: a sweep that is named in the address, else the fields for a new one."""
    if name := state.sweep_id():
        try:
            found = sweeps.open_sweep(name)
        except UserError as error:
            shell.page("sweep", "Try several values", LEAD, strip=False)
            shell.error_card(error)
            return
        _answer(found)
    else:
        _fields(recipe)


def _fields(recipe: Recipe) -> None:
    slot = shell.page("sweep", "Try several values", LEAD)
    try:
        names = catalogue.layer_names(recipe.model)
    except UserError as error:
        shell.error_card(error)
        return
    axes, found, wrong = sweeping.chosen(recipe, names)
    with st.container(horizontal=True, vertical_alignment="center"):
        if wrong:
            st.markdown(f":orange[:material/error: {shell.plain(str(wrong))}]")
        else:
            st.caption(f"{count(len(found), 'run')} of {recipe.epochs} epochs, one after another.")
    why = str(wrong) if wrong else ""
    if shell.start(slot, f"Queue {len(found) or 'the'} runs", icon=":material/add_to_queue:", why=why):
        sweeping.begin(axes, found)
    sweeping.earlier(sweeps.list_sweeps()[: sweeping.SHOWN])


def _answer(sweep: Sweep) -> None:
    recipe = sweep.trials[0].run.recipe
    lead = f"{len(sweep.trials)} runs of {shell.plain(naming.made(recipe))} · {sweep.id}"
    slot = shell.page("sweep", f"Sweep: {shell.plain(sweep.title)}", lead, strip=False)
    points = sweep.points()
    _actions(slot, sweep, points)
    if _to_come(points):
        piece(partial(_tick, sweep.id, _wait(points)), EVERY)
    else:
        _body(sweep, points)
    load()


def _tick(name: str, waited: bool) -> None:
    """While runs are to come; the page is drawn once more when none waits any longer, or none is at work."""
    try:
        sweep = sweeps.open_sweep(name)
    except UserError:  # which the page says
        st.rerun()
    points = sweep.points()
    if not _to_come(points) or (waited and not _wait(points)):  # there is something else to do, above
        st.rerun()
    _body(sweep, points)


def _to_come(points: Sequence[Point]) -> int:
    return sum(point.open for point in points)


def _wait(points: Sequence[Point]) -> bool:
    return any(point.waiting for point in points)


def _actions(slot: DeltaGenerator, sweep: Sweep, points: Sequence[Point]) -> None:
    """One primary action: take the best, once there is one and none is to come."""
    top = sweeps.best(points, sweep.score)
    if _to_come(points):
        if not _wait(points):
            return
        help = "Those that wait do not begin; the one at work goes on."
        slot.button("Cancel the rest", icon=":material/close:", on_click=sweeping.cancel, args=(sweep,), help=help)
    elif top:
        slot = slot.container(horizontal=True)
        more = f"Repeat with {sweeps.SEVERAL} seeds"
        if sweeps.repeatable(sweep) and slot.button(more, icon=":material/repeat:", key="repeat"):
            sweeping.repeat(sweep)
        if shell.primary(slot, "Use the best", icon=":material/arrow_forward:"):
            trial = next(each for each in sweep.trials if each.values == top.values)
            state.take(trial.run.recipe.replace(name=""))
            shell.go(path.PAGES["train"])
    elif shell.primary(slot, "Try others", icon=":material/refresh:"):
        shell.go(path.SWEEP)


def _body(sweep: Sweep, points: Sequence[Point]) -> None:
    """The answer, all runs on one chart, and the runs themselves."""
    st.markdown(shell.plain(sweeps.verdict(sweep, points)))
    left, right = st.columns(2, gap="medium")
    with left:
        chart(figures.swept(sweep.axes, points, sweep.score), key="swept")
    with right:
        chart(figures.trials(_curves(sweep), sweep.score), key="trials")
    top = sweeps.best(points, sweep.score)
    table = pd.DataFrame([_row(sweep, point, point is top) for point in points]).fillna("")
    st.dataframe(table, hide_index=True, width="stretch")
    with st.expander("Its runs", icon=":material/stacked_line_chart:"):
        for trial in sweep.trials:
            look, name = live.LOOKS[trial.run.status.state], shell.plain(naming.title(trial.run))
            label, query = f"{name} :gray[{look.word}]", {"run": trial.run.id}
            st.page_link(path.RUN.script, label=label, icon=look.icon, query_params=query)


def _curves(sweep: Sweep) -> dict[str, list[live.Rows]]:
    """The epochs of every run, by the words for its values."""
    found: dict[str, list[live.Rows]] = {}
    for trial in sweep.trials:
        words = (axis.words[axis.values.index(value)] for axis, value in zip(sweep.axes, trial.values, strict=True))
        found.setdefault(", ".join(words), []).append(_epochs(trial.run))
    return found


def _epochs(run: Run) -> live.Rows:
    """None where its records are damaged, which its own page says."""
    try:
        return run.epochs()
    except UserError:
        return []


def _row(sweep: Sweep, point: Point, best: bool) -> dict[str, str]:
    """A line of the table."""
    score = sweep.score
    names = {axis.title: word for axis, word in zip(sweep.axes, point.words, strict=True)}
    mark = " ★" if best else ""
    spread = f" ± {score.shown(point.spread)}" if len(point.scores) > 1 else ""
    rest = {"": f"{point.open} to come"} if point.open else {}
    return {**names, score.title: f"{score.shown(point.mean)}{spread}{mark}", **rest}


show(state.draft())
