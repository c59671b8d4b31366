"""A run, live: how far it is, what it has learned, and what to do when it is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from finetune_core import figures, launch, store
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.store import Run, Status
from pages.ui import live, path, shell, state
from pages.ui.badge import duration, status_words
from pages.ui.chart import chart, load
from pages.ui.try_image import try_image

TABS = ("Charts", "Try an image", "Recipe", "Command", "Log")


def show(run: Run, recipe: Recipe) -> None:
    """The whole page of one run."""
    status = run.status
    slot = shell.page("run", recipe.name or path.model_words(recipe), _lead(run, recipe), strip=False)
    with slot:
        _action(run, status)
    if status.state == "finished":
        _done(run, recipe)
    elif status.error:
        shell.error_card(UserError(**status.error))
    live.watch(run, lambda: _body(run, recipe))
    load()


def _lead(run: Run, recipe: Recipe) -> str:
    words = (path.source_words(recipe), path.thawed_words(recipe), path.train_words(recipe), run.id)
    return " · ".join(shell.plain(word) for word in words)


def _action(run: Run, status: Status) -> None:
    """The one action that the run's state asks for."""
    if status.active:
        stopping = run.asked() == "stop"
        label = "Stopping" if stopping else "Stop"
        st.button(label, icon=":material/stop_circle:", on_click=_stop, args=(run,), disabled=stopping, key="stop")
    elif status.state == "finished":
        icon = ":material/image_search:"
        st.button("Try an image", icon=icon, type="primary", on_click=_open_tab, args=("Try an image",), key="primary")
    else:
        st.button("Resume", icon=":material/play_circle:", type="primary", on_click=_resume, args=(run,), key="primary")


def _stop(run: Run) -> None:
    try:
        launch.stop(run)
    except UserError as error:
        state.note(error)


def _resume(run: Run) -> None:
    try:
        launch.resume(run)
    except UserError as error:
        state.note(error)


def _open_tab(name: str) -> None:
    state.keep("tab", name)


def _done(run: Run, recipe: Recipe) -> None:
    """What was reached, in one sentence, and what to do next."""
    with st.container(border=True, key="done"):
        st.markdown(f":green[:material/check_circle:] {_reached(live.records(run), len(run.classes))}")
        with st.container(horizontal=True):
            name = shell.plain(recipe.name or run.id)
            if run.best.exists():
                icon = ":material/download:"
                weights = run.best.read_bytes
                st.download_button("Weights", weights, f"{name}.safetensors", icon=icon, on_click="ignore")
            st.download_button(
                "Recipe", recipe.to_yaml(), f"{name}.yaml", icon=":material/download:", on_click="ignore"
            )
            help = "Takes this run's recipe as your draft and opens Model & layers."
            if st.button("Thaw more", icon=":material/local_fire_department:", help=help):
                state.edit(recipe)
                st.switch_page(path.PAGES["layers"].script)
            if st.button("Compare with other runs", icon=":material/stacked_line_chart:"):
                st.switch_page(path.PAGES["runs"].script)


def _reached(rows: live.Rows, classes: int) -> str:
    epochs = [row for row in rows if row["kind"] == "epoch"]
    if not epochs:
        return "Finished."
    best = max(epochs, key=lambda row: row["valid_accuracy"])
    took = duration(epochs[-1]["seconds"])
    guessing = f" (guessing would give {1 / classes:.0%})" if classes else ""
    return (
        f"Reached **{best['valid_accuracy']:.1%}** validation accuracy{guessing} "
        f"in epoch {best['epoch'] + 1} of {len(epochs)}, after {took} of training."
    )


def _body(run: Run, recipe: Recipe) -> None:
    """Everything that moves."""
    status, rows = run.status, live.records(run)
    _progress(status)
    _tiles(rows)
    tabs = st.tabs(TABS, key="tab", on_change="rerun", bind="query-params")
    parts = (
        lambda: _charts(run, recipe, status, rows),
        lambda: try_image(run),
        lambda: _recipe(recipe),
        lambda: _command(recipe),
        lambda: st.code(run.log_tail(200) or "The log is empty.", language=None, height=480),
    )
    for tab, draw in zip(tabs, parts, strict=True):
        if tab.open:
            with tab:
                draw()


def _progress(status: Status) -> None:
    """How far it is; a finished run says so above."""
    look = live.LOOKS[status.state]
    if status.state == "finished":
        return
    with st.container(horizontal=True, vertical_alignment="center", key="progress"):
        st.badge(look.word, icon=look.icon, color=look.colour)
        if status.active:
            st.progress(live.share(status), text=status_words(status))
        else:
            st.caption(shell.plain(_ended(status)))


def _ended(status: Status) -> str:
    words = f"After {status.step:,} of {status.steps:,} steps." if status.steps else "Before the first step."
    reasons = {"lost": " Its process is gone: killed, or the machine was switched off. What was saved last remains."}
    return words + reasons.get(status.state, "")


def _tiles(rows: live.Rows) -> None:
    steps = [row for row in rows if row["kind"] == "step"]
    best = max((row["valid_accuracy"] for row in rows if row["kind"] == "epoch"), default=None)
    recent = steps[-20:]
    values = {
        "Best accuracy": "–" if best is None else f"{best:.1%}",
        "Loss": f"{np.mean([row['loss'] for row in recent if row['loss'] is not None]):.3f}" if recent else "–",
        "Learning rate": f"{max(steps[-1]['lr'].values()):.2g}" if steps else "–",
        "Images per second": f"{np.median([row['images_per_s'] for row in recent]):,.0f}" if recent else "–",
        "Memory": f"{steps[-1]['memory_mb'] / 1000:.1f} GB" if steps else "–",
    }
    with st.grid(len(values), min_column_width=140):
        for name, value in values.items():
            st.metric(name, value, border=True)


def _charts(run: Run, recipe: Recipe, status: Status, rows: live.Rows) -> None:
    plan = live.planned(recipe, rows, status.steps)
    steps = status.steps or len(plan)
    starts = live.phase_starts(recipe, steps)
    drawn = (
        ("loss", figures.loss(rows, steps, starts)),
        ("accuracy", figures.accuracy(rows, steps, starts)),
        ("rates", figures.rates(rows, plan, starts=starts)),
        ("gradients", figures.gradient_norms(rows, steps, starts=starts)),
    )
    for pair in (drawn[:2], drawn[2:]):
        for place, (name, figure) in zip(st.columns(2, gap="medium"), pair, strict=True):
            with place:
                chart(figure, key=f"{name}:{run.id}")


def _recipe(recipe: Recipe) -> None:
    if st.button("Use this recipe", icon=":material/edit:", help="Makes it your draft."):
        state.edit(recipe)
        st.switch_page(path.PAGES["train"].script)
    st.code(recipe.to_yaml(), language="yaml")


def _command(recipe: Recipe) -> None:
    st.caption("Download the recipe from the tab before, and the same run starts from a shell:")
    st.code(launch.command(f"{recipe.name or 'recipe'}.yaml"), language="bash")


def _asked_for() -> Run:
    """The run in the page's address, which may only name a folder among the runs; without one, the newest."""
    name = state.run_id()
    if name is None:
        runs = store.list_runs()
        if not runs:
            raise UserError("There is no run yet.", hint="Launch one on the Train page.")
        return runs[0]
    if Path(name).name != name:
        raise UserError("This is not the name of a run.", hint="See all runs on the Runs page.")
    return store.open_run(name)


def main() -> None:
    """Find the run and show it, or say that there is none."""
    try:
        run = _asked_for()
        recipe = run.recipe
    except UserError as error:
        shell.page("run", "A run", "Nothing to watch here.", strip=False)
        shell.error_card(error)
        st.page_link(path.PAGES["runs"].script, label="All runs", icon=":material/stacked_line_chart:")
    else:
        show(run, recipe)


main()
