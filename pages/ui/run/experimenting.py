"""What an experiment has shown so far: each arm with its tries."""

from __future__ import annotations

from typing import Any

import streamlit as st

from finetune_core import figures
from finetune_core.finder import versus
from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import measure
from finetune_core.runs.jobs import Experiment
from finetune_core.runs.store import Run
from pages.ui.kit import shell
from pages.ui.kit.chart import chart


def arms(run: Run, recipe: Recipe, rows: list[dict[str, Any]]) -> None:
    """The chart, and which differ for sure; nothing before the first try has ended."""
    job = run.job_as(Experiment)
    score, found = measure(job.measure, recipe.task), job.found(rows, recipe)
    if not any(each.values or each.failed for each in found):
        return
    chart(figures.arms(found, score, versus.winners(found, score)), key="arms")
    st.markdown(shell.plain(versus.verdict(found, score), 2000))
    st.caption(f"A dot for each try, {job.seeds} of each arm; a bar for their mean.")
