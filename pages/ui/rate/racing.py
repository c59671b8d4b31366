"""The race as pages see it: suggestions train side by side for a few steps, and the winner can be taken."""

from __future__ import annotations

from typing import Any

import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.finder import sweep
from finetune_core.finder.suggest import winner
from finetune_core.parts.numbers import written
from finetune_core.parts.tasks import Score
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.jobs import Race
from finetune_core.runs.store import Run
from pages.ui.kit import asking, live, phasing, shell
from pages.ui.kit.badge import status_words
from pages.ui.kit.chart import chart
from pages.ui.rate import finder

NAMES = {key: title for key, (title, _) in finder.SUGGESTIONS.items()} | {"slide": finder.SLIDE[0]}
ALIKE = 1.3  # rates within this factor of each other would run the same race
MOST = 3
FEW = "Find the rate first: a race needs two suggestions that differ."


def contenders(found: dict[str, Any]) -> dict[str, float]:
    """The first few suggestions of a search that differ, by name."""
    chosen: dict[str, float] = {}
    for key in NAMES:
        rate = found.get(key)
        if rate and all(max(rate, other) / min(rate, other) > ALIKE for other in chosen.values()):
            chosen[key] = rate
    return dict(list(chosen.items())[:MOST])


def newest(recipe: Recipe) -> Run | None:
    """The last race of what the draft's chosen phase trains."""
    races = (run for run in store.list_runs(job="race") if finder.alike(run, recipe))
    return next((run for run in races if finder.fits(run, recipe) and live.readable(run)), None)


def panel(recipe: Recipe, search: Run | None) -> None:
    """Start a race, watch it, take its winner."""
    race, rates = newest(recipe), contenders(finder.suggested(search))
    seen = live.moving(race)
    busy = bool(race and race.status.active) or bool(search and search.status.active)
    st.markdown("**Race**")
    st.caption(f"The suggestions train for {sweep.RACE_STEPS} steps each, from the same start. It changes nothing.")
    with st.container(horizontal=True):
        why = "Wait for the run on this page." if busy else "" if len(rates) > 1 else FEW
        icon = ":material/sports_score:"
        place = st.container(width="content")
        if shell.start(place, "Race the suggestions", icon=icon, key="race", kind="secondary", why=why):
            finder.begin(recipe, Race(rates=rates, phase=phasing.index() + 1, group=finder.alone(search)))
        if race and race.status.active:
            st.button("Stop the race", key="stop-race", on_click=asking.stop, args=(race,))
    if race:
        live.watch(race, seen, lambda: _show(race))


def _show(race: Run) -> None:
    rows, status = live.records(race), race.status
    if status.error:
        shell.error_card(UserError.said(status.error))
    if status.active:
        words = "Racing" if status.state == "running" else status_words(status)
        st.progress(status.share, text=words)
    job = race.job_as(Race)
    rates, steps = job.rates, job.steps
    names = {key: f"{NAMES[key]} {written(rate, 3)}" if key in NAMES else key for key, rate in rates.items()}
    chart(figures.race(rows, rates, names, steps), key="race-chart")
    best = winner(rows)
    table = [_row(row, names, best, race.recipe.task.score) for row in rows if row["kind"] == "place"]
    if table:
        st.dataframe(table, hide_index=True, width="stretch")
    if best and not status.active:
        label, group = f"Apply the winner: {written(best['lr'], 3)}", finder.alone(race)
        st.button(label, icon=":material/check:", key="winner", on_click=finder.take, args=(best["lr"], group))


def _row(row: dict[str, Any], names: dict[str, str], best: Any, score: Score) -> dict[str, str]:
    """A line of the table: what a contender reached, the winner marked."""
    ended = row["valid_loss"] is not None
    return {
        "contender": names.get(row["contender"], row["contender"]) + (" ★" if row == best else ""),
        "training loss": f"{row['train_loss']:.3f}" if ended else f"diverged at step {row['step']}",
        "validation loss": f"{row['valid_loss']:.3f}" if ended else "–",
        score.inside: score.shown(row["valid_score"]),
    }
