"""A run, live: how far it is, what it has learned, and what to do when it is done."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.parts import Job
from finetune_core.parts.numbers import written
from finetune_core.parts.tasks import Score, Targets
from finetune_core.recipe import Recipe
from finetune_core.recipe.words import train_words
from finetune_core.runs import launch, store
from finetune_core.runs.shelf import naming as named
from finetune_core.runs.store import Run, Status
from finetune_core.runs.telling.history import History
from finetune_core.runs.waiting import engines
from finetune_core.wording import count, file_name, megabytes, roughly
from pages.ui.kit import live, naming, path, scripts, shell, sight, state, warm
from pages.ui.kit.badge import status_words
from pages.ui.kit.chart import chart, load
from pages.ui.kit.live import Telling
from pages.ui.run import (
    acting,
    branching,
    changing,
    cockpit,
    experimenting,
    further,
    mending,
    placing,
    queueing,
    sweeping,
    testing,
    tracking,
    viewing,
)
from pages.ui.run.board import board
from pages.ui.run.mistakes import mistakes
from pages.ui.run.taking import take_away
from pages.ui.run.try_image import try_image

RECENT = 500  # records of another job that are shown
NOTES = 30  # the newest of a run
TABS = (
    "Charts",
    "Guesses",
    "Scores",
    "Mistakes",
    "Try an image",
    "Take away",
    "Checkpoints",
    "Recipe",
    "Code",
    "Log",
)


def show(run: Run, recipe: Recipe, job: Job) -> None:
    """The whole page of one run."""
    acting.follow()
    seen, status = live.moving(run), run.status
    name = named.title(run)
    title, pencil = name if job.trains else f"{job.title}: {name}", partial(naming.pencil, run.id)
    slot = shell.page("run", title, _lead(run, job), strip=False, beside=pencil)
    naming.renaming()
    if job.trains:
        branching.proposal(run)
        mending.proposal(run, recipe)
    acting.actions(slot, run, job)
    with st.container(key="outcome"):  # always there, so that nothing below moves in the browser when the run ends
        if status.state == "finished" and job.trains:
            _done(run, recipe)
        elif status.error:
            shell.error_card(UserError.said(status.error))
        sweeping.of_run(run)
        if job.trains:
            sight.bring("tabs")
    body = partial(_body, run, recipe) if job.trains else partial(_job_body, run, recipe, job)
    live.watch(run, seen, body, stays=job.trains)
    load()


def _lead(run: Run, job: Job) -> str:
    recipe = run.recipe_at()
    length = (train_words(recipe),) if job.trains else ()
    done = named.made(recipe)  # as changes on its way have left it
    words = (*(() if done == named.title(run) else (done,)), *length, run.id)
    return " · ".join(shell.plain(word) for word in words)


def _done(run: Run, recipe: Recipe) -> None:
    """What was reached, in one sentence, and what to do next."""
    with st.container(border=True, key="done"):
        st.markdown(
            f":green[:material/check_circle:] {_reached(live.told(run).history, _targets(run), recipe.task.score)}"
        )
        with st.container(horizontal=True):
            name = named.for_file(run)
            if run.best.exists():
                icon = ":material/download:"
                weights = run.best.read_bytes
                st.download_button("Weights", weights, f"{name}.safetensors", icon=icon, on_click="ignore")
            now = run.recipe_at()
            st.download_button("Recipe", now.to_yaml, f"{name}.yaml", icon=":material/download:", on_click="ignore")
            changes = live.changes(run)
            until = "the same losses" + (" up to the first change." if changes else ".")
            write, help = partial(scripts.whole, recipe, changes), f"This run as one program in plain PyTorch: {until}"
            st.download_button("Script", write, "train.py", icon=":material/download:", on_click="ignore", help=help)
            further.button(run)
            if st.button("Compare with other runs", icon=":material/stacked_line_chart:"):
                shell.go(path.PAGES["runs"])


def _targets(run: Run) -> Targets | None:
    """What its outputs stand for; None where that is damaged, which whoever asks for a guess is told."""
    try:
        return run.targets
    except UserError:
        return None


def _reached(history: History, targets: Targets | None, score: Score) -> str:
    best, epochs = history.best, history.epochs
    if best is None:
        return "Finished."
    took = roughly(epochs[-1]["seconds"])
    one_class = targets is not None and targets.about.exclusive
    guessing = f" (guessing would give {1 / len(targets.names):.0%})" if targets and one_class else ""
    return (
        f"Reached **{score.shown(best['valid_score'])}** validation {score.inside}{guessing} "
        f"in epoch {best['epoch'] + 1} of {len(epochs)}, after {took} of training."
    )


def _job_body(run: Run, recipe: Recipe, job: Job) -> None:
    """How far any other job is, what came of it, and its records."""
    status, rows = run.status, live.records(run)
    _progress(run, status)
    lines = job.lines(rows, recipe) if status.state == "finished" else []
    if job.rounds:
        experimenting.arms(run, recipe, rows)
    elif lines:
        st.code("\n".join(lines), language=None)
    if rows:
        st.dataframe(pd.DataFrame(rows[-RECENT:]), hide_index=True, key="records")
    elif not status.active:
        shell.empty("Nothing was kept", "It ended before its first record. The log may say why.")
    if log := run.log_tail(200):
        with st.expander("Log"):
            st.code(log, language=None, height=480)


def _body(run: Run, recipe: Recipe) -> None:
    """Everything that moves."""
    status, told = run.status, live.told(run)
    if run.best.exists():
        warm.start()  # so that whoever tries it need not wait
    _progress(run, status, lambda: changing.popover(run))
    if told.history.lines or not _over(status):
        _tiles(told.history, recipe.task.score, run if status.state == "finished" else None)
    cockpit.alarms(recipe, told.history.events)
    with st.container(key="tabs"):
        tabs = st.tabs(TABS, key="tab", on_change="rerun", bind="query-params")
    parts = (
        lambda: _charts(run, recipe, status, told),
        lambda: board(run, recipe, told.history.epochs),
        lambda: _scores(run, recipe, told.history),
        lambda: mistakes(run, recipe),
        lambda: try_image(run),
        lambda: take_away(run),
        lambda: branching.checkpoints(run),
        lambda: _recipe(run),
        lambda: _code(run, recipe),
        lambda: _log(run),
    )
    for tab, draw in zip(tabs, parts, strict=True):
        if tab.open:
            with tab:
                draw()


def _progress(run: Run, status: Status, beside: Callable[[], None] = lambda: None) -> None:
    """How far it is, or what it waits for, and what can be done `beside`; a finished run says so above."""
    look = live.LOOKS[status.state]
    with st.container(horizontal=True, vertical_alignment="center", key="progress"):
        if status.state == "finished":
            return
        st.badge(look.word, icon=look.icon, color=look.colour)
        if status.active:
            st.progress(status.share, text=status_words(status))
            if status.changeable:
                beside()
        elif status.state == "queued":
            queueing.told(run)
        else:
            st.caption(shell.plain(_ended(status)))


def _over(status: Status) -> bool:
    """Whether nothing more comes of it by itself."""
    return not status.active and status.state != "queued"


def _ended(status: Status) -> str:
    words = f"After {status.step:,} of {status.steps:,} steps." if status.steps else "Before the first step."
    reasons = {"lost": " Its process is gone: killed, or the machine was switched off. What was saved last remains."}
    return words + reasons.get(status.state, "")


def _tiles(history: History, score: Score, finished: Run | None) -> None:
    """What says most while it learns, and once it has finished; as many of both, so that nothing moves.

    On a phone those that the sentence above says, too, are left out: what comes below is nearer then.
    """
    best = history.best
    values = {
        f"Best {score.inside}": score.shown(best["valid_score"] if best else None),
        **(_came_of(history, finished) if finished else _going(history)),
        "Memory": _newest(history.latest("memory_mb") / 1000, lambda known: known[-1], ".1f", " GB"),
    }
    said = [*values][:3] if finished else []  # see look.css
    with st.grid(len(values), min_column_width=140):
        for number, (name, value) in enumerate(values.items()):
            with st.container(key=f"{'said' if name in said else 'tile'}-{number}"):
                st.metric(name, value, border=True)


def _going(history: History) -> dict[str, str]:
    rates = [history.latest("lr", group) for group in history.of("lr")]
    return {
        "Loss": _newest(history.latest("loss"), np.mean, ".3f"),
        "Learning rate": written(max(rate[-1] for rate in rates if len(rate)), 3) if any(map(len, rates)) else "–",
        "Images per second": _newest(history.latest("images_per_s"), np.median, ",.0f"),
    }


def _came_of(history: History, run: Run) -> dict[str, str]:
    best, epochs = history.best, history.epochs
    return {
        "Best epoch": f"{best['epoch'] + 1} of {len(epochs)}" if best else "–",
        "Training time": roughly(epochs[-1]["seconds"]) if epochs else "–",
        "Weights": megabytes(run.best.stat().st_size) if run.best.exists() else "–",
    }


def _newest(known: np.ndarray, meant: Callable[[np.ndarray], float], form: str, unit: str = "") -> str:
    return f"{meant(known):{form}}{unit}" if len(known) else "–"


def _charts(run: Run, recipe: Recipe, status: Status, told: Telling) -> None:
    """All charts over one time axis, two by two: four that everybody reads, the others on demand."""
    _reading(told)
    history, plan = told.history, live.planned(run, recipe, told.history, status)
    steps, starts = status.steps or len(plan), live.starts(run, recipe, history, status)
    axis = figures.Axis(steps, starts, history.events, ended=_over(status))
    main = {
        "loss": partial(figures.loss, history, axis),
        "score": partial(figures.scored, history, recipe.task.score, axis),
        "rates": partial(figures.rates, history, plan, axis),
        "gradients": partial(figures.gradient_norms, history, axis),
    }
    _drawn(run, main, live.version(told, status))
    if measures := figures.measured(history):
        more = st.expander("More charts", icon=":material/monitoring:", key="more-charts", on_change="rerun")
        if more.open:
            with more:
                others = {title: partial(figures.by_step, history, each, axis) for title, each in measures.items()}
                _drawn(run, others, live.version(told, status))
    _notes(history)


def _drawn(run: Run, charts: Mapping[str, Callable[[], Figure]], version: Hashable) -> None:
    names = list(charts)
    for start in range(0, len(names), 2):
        for place, name in zip(st.columns(2, gap="medium"), names[start : start + 2], strict=False):
            with place:
                chart(live.drawn(run, name, version, charts[name]), key=f"{name}:{run.id}")


def _reading(told: Telling) -> None:
    """What is missing from what is drawn, in a place of its own, so that nothing below moves."""
    with st.container(key="reading"):
        if not told.whole:
            st.caption(f":material/hourglass_top: Reading the records: {told.share:.0%}. Until then this is a sketch.")
        if told.whole and told.history.unreadable:
            lines, one = count(told.history.unreadable, "record"), told.history.unreadable == 1
            st.caption(f":orange[:material/warning:] {lines} cannot be read and {'is' if one else 'are'} left out.")


def _scores(run: Run, recipe: Recipe, history: History) -> None:
    """The best epoch in all its numbers, each class, tag or number alone, and what a test says at the end."""
    best, task = history.best, recipe.task
    if best is None:
        shell.empty("Not yet", "The first epoch has to end; then there is something to measure.")
        return
    known = [score for score in task.scores if score.key in best["scores"]]
    with st.grid(len(known), min_column_width=140):
        for score in known:
            st.metric(score.title, score.shown(best["scores"][score.key]), border=True, help=score.help)
    rest = f" {task.score.rest.capitalize()} {task.score.shown(1 - best['valid_score'])}." if task.score.rest else ""
    st.caption(f"Validation images, epoch {best['epoch'] + 1}, the best so far.{rest}")
    if (apart := best.get("norm_losses")) and None not in apart:
        by_batch, kept = apart
        help = (
            "Batch norm uses the statistics of each batch while it trains, and those kept when it is measured or used."
        )
        st.caption(f"Batch norm: a batch's loss is {by_batch:.3g} as it trains, {kept:.3g} as it is used.", help=help)
    chart(figures.by_name(best["by_name"], task.by_name), key="by-name")
    if run.best.exists():
        viewing.panel(run, recipe)
    testing.panel(run, recipe)


def _notes(history: History) -> None:
    """What the run says about itself on the way: phases, early ends, truth checks. The newest, where there are many."""
    marks = {
        "overflow": ":orange[:material/warning:]",
        "alarm": ":orange[:material/warning:]",
        "change": ":blue[:material/tune:]",
        "truth": ":green[:material/verified:]",
        "truth_failed": ":red[:material/gpp_bad:]",
    }
    several = history.latest("phase")[-1:].any()
    told = [row for row in history.events if row["name"] != "alarm" and (several or row["name"] != "phase")]
    if len(told) > NOTES:
        st.caption(f"The newest {NOTES} of {len(told):,} notes:")
    for row in told[-NOTES:]:
        mark = marks.get(row["name"], ":gray[:material/flag:]")
        st.caption(f"{mark} Step {row['step']:,}: {shell.plain(row['text'])}")


def _recipe(run: Run) -> None:
    recipe = run.recipe_at()
    _changed(run)
    with st.container(horizontal=True):
        if st.button("Use this recipe", icon=":material/edit:", help="Makes it your draft."):
            state.take(recipe)
            shell.go(path.PAGES["train"])
        file, icon = f"{file_name(recipe.name)}.yaml", ":material/download:"
        st.download_button(file, recipe.to_yaml, file, icon=icon, on_click="ignore", key="recipe-file")
    st.code(recipe.to_yaml(), language="yaml")


def _code(run: Run, recipe: Recipe) -> None:
    """The run as a command, and as the PyTorch that it is."""
    changes = live.changes(run)
    _changed(run)
    st.caption(f"In a terminal, in the project's folder, this starts {'such a' if changes else 'the same'} run:")
    where, trackers = placing.words(engines.of(run)), tracking.words(run.job)
    st.code(launch.command("train", "--run", run.id, *where, *trackers), language="bash", wrap_lines=True)
    st.caption("And this is what it does, in plain PyTorch. The file also heeds what is special about the images.")
    write, icon = partial(scripts.whole, recipe, changes), ":material/download:"
    st.download_button("train.py", write, "train.py", icon=icon, on_click="ignore", key="script-file")
    try:
        st.code(scripts.shown(recipe, changes), language="python", wrap_lines=True)
    except UserError as error:
        shell.error_card(error)


def _changed(run: Run) -> None:
    """Say of a recipe that the run did not begin with it."""
    if live.changes(run):
        st.caption(":material/tune: The recipe as changes on the way have left it. The charts show when each was made.")


def _log(run: Run) -> None:
    if log := run.log_tail(200):
        st.code(log, language=None, height=480)
    else:
        st.caption("The log is empty: the run had nothing to complain about.")


def _asked_for() -> Run | None:
    """The run in the page's address, which may only name a folder among the runs; without one, the newest, if any."""
    name = state.run_id()
    return store.among(name) if name is not None else next(iter(store.list_runs()), None)


def _none() -> None:
    shell.page("run", "A run", "What a model learns, while it learns it.", strip=False)
    card = shell.empty("No run yet", "Launch one, and its curves are drawn here.", icon=path.RUN.icon)
    if card.button("To Train", icon=path.PAGES["train"].icon):
        shell.go(path.PAGES["train"])


def main() -> None:
    """Find the run and show it, or say that there is none."""
    try:
        if (run := _asked_for()) is None:
            _none()
            return
        recipe, job = run.recipe, run.job
        run.recipe_at()  # what was changed on the way must be readable, too
        live.told(run)  # its records, too, may be such as cannot be read
    except UserError as error:
        shell.page("run", "A run", "Nothing to watch here.", strip=False)
        shell.error_card(error)
        st.page_link(path.PAGES["runs"].script, label="All runs", icon=":material/stacked_line_chart:")
    else:
        show(run, recipe, job)


main()
