"""Looks at images that a page has been asked for: a worker beside the page, how far it is, and stopping it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.finder import probes
from finetune_core.parts import Job
from finetune_core.recipe import Recipe
from finetune_core.records import Probed
from finetune_core.runs import launch, store
from finetune_core.runs.shelf.summaries import moving, summaries
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import queue
from pages.ui.kit import live, shell, state
from pages.ui.kit.pieces import piece

OFTEN = 1.0  # seconds between two looks: it does not take long
OVER = 60  # seconds after its end in which another session may still read why a probe has failed


def asked(kind: type[Job]) -> list[Run]:
    """What somebody has asked for of this kind and can be read, the newest first."""
    return [run for run in store.list_runs(probes.runs_dir(asked=True), job=kind.kind) if live.readable(run)]


def running(kind: type[Job]) -> Run | None:
    """The one of them that is at work."""
    return next((run for run in asked(kind) if run.status.active), None)


def begin(recipe: Recipe, job: Job) -> None:
    """Have a worker look; the page is drawn anew."""
    try:
        tidy(probes.runs_dir(asked=True), type(job))
        launch.start(store.create(job.prepared(recipe), job, probes.runs_dir(asked=True)))
    except UserError as error:
        state.note(error)
    st.rerun()


def unasked(recipe: Recipe, job: Job) -> Run:
    """Have a worker look that nobody has asked for. UserErrors."""
    run = store.create(job.prepared(recipe), job, probes.runs_dir())
    launch.start(run)
    return run


def unasked_at_work() -> bool:
    """Whether such a worker is at something: what is timed beside it would tell too much."""
    return any(run.status.active for run in store.every_run(probes.runs_dir()))


def soon(recipe: Recipe, job: Job) -> Run:
    """Have a worker do a job among a person's runs: at once, or behind what is at work or waits. UserErrors."""
    recipe = job.prepared(recipe)
    if moving(summaries(job=None)):
        return queue.submit(recipe, job)
    run = store.create(recipe, job)
    launch.start(run)
    return run


def watch(run: Run) -> None:
    """How far it is, with a way to stop it; the page is drawn anew when it is over."""

    def look() -> None:
        status = run.status
        if not status.active:
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(status.share, text=shell.plain(status.message))
            st.button("Stop", key=f"stop-{run.job.kind}", type="tertiary", on_click=stop, args=(run,))

    piece(look, OFTEN)


def why(run: Run) -> str:
    """Why it has found nothing; empty where it has, or was stopped."""
    if error := run.status.error:
        return str(error.get("what", ""))
    return next((row["note"] for row in run.records()[0] if row["kind"] == Probed.kind), "")


def stop(run: Run) -> None:
    """Ask a worker to stop; what stands against it is said at the top of the page."""
    try:
        launch.stop(run)
    except UserError as error:
        state.note(error)


def tidy(runs: Path, kind: type[Job]) -> None:
    """Delete those that are over, when the next one begins: no run of a person's own is among them."""
    for run in store.list_runs(runs, job=kind.kind):
        if not run.status.active and time.time() - run.status.updated > OVER:
            shutil.rmtree(run.path, ignore_errors=True)
