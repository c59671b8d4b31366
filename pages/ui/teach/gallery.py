"""All lessons, topic by topic, each with its question and what came of it here."""

from __future__ import annotations

from itertools import groupby

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.lessons import Lesson
from finetune_core.runs.store import Run
from pages.ui.kit import live, path, shell

WIDTH = 280  # px that a card has at least
MARKS = {
    "shows": ":green-badge[:material/check: the claim shows here]",
    "opposite": ":orange-badge[:material/swap_horiz: here it is the other way round]",
    "open": ":gray-badge[:material/balance: not distinguishable here]",
}
LESSONS = [kind() for kind in sorted(Lesson.kinds().values(), key=lambda each: each.topic)]


def gallery(measured: dict[str, Run]) -> None:
    """A card for each; `measured` holds the newest finished run of those that have one."""
    shell.page(
        "lessons",
        "Lessons",
        "Claims of five articles about fine-tuning. Guess first; then it is measured here, in about a minute.",
        strip=False,
    )
    for topic, some in groupby(LESSONS, key=lambda each: each.topic):
        st.subheader(topic, anchor=False)
        with st.grid(3, min_column_width=WIDTH):
            for one in some:
                _card(one, measured.get(one.kind))


def _card(one: Lesson, run: Run | None) -> None:
    with st.container(border=True, height="stretch", gap="xsmall", key=f"lesson-{one.kind}"):
        st.page_link(path.LESSONS.script, label=f"**{one.title}**", query_params={"lesson": one.kind})
        st.markdown(f":gray[{one.question}]")
        if run is not None:
            try:
                st.markdown(MARKS[one.answer(live.records(run)).word])
            except UserError as error:
                st.caption(f":orange[{shell.plain(str(error))}]")
