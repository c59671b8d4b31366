"""Lessons: a gallery of claims, or one of them before a class."""

import streamlit as st

from finetune_core.lessons import Lesson, of_run
from finetune_core.runs import store
from finetune_core.runs.jobs import Experiment
from finetune_core.runs.store import Run
from pages.ui.teach.gallery import gallery
from pages.ui.teach.stage import newest, stage


def measured() -> dict[str, Run]:
    """The newest finished run of each lesson that has one."""
    found: dict[str, Run] = {}
    for run in store.list_runs(job=Experiment.kind):
        one = of_run(run)
        if one is not None and run.status.state == "finished":  # one that cannot be read is "unreadable"
            found.setdefault(one.kind, run)
    return found


def main() -> None:
    """The lesson in the address, or all of them."""
    kind = Lesson.kinds().get(st.query_params.get("lesson", ""))
    if kind is None:
        gallery(measured())
    else:
        stage(one := kind(), newest(one))


main()
