"""Runs: what has been tried, what came of it, over each other."""

from __future__ import annotations

import streamlit as st

from finetune_core.runs.shelf.apart import told_apart
from finetune_core.runs.shelf.summaries import Summary, moving, summaries
from pages.ui.kit import naming, path, shell
from pages.ui.kit.chart import load
from pages.ui.kit.pieces import EVERY, piece
from pages.ui.run import sweeping
from pages.ui.shelf import comparing, keeping, listing

LEAD = "What you have tried, and what came of it. Open one, or tick some to see them over each other."


def show() -> None:
    """The whole page."""
    slot = shell.page("runs", "Runs", LEAD, strip=False)
    if shell.primary(slot, "New run", icon=":material/add:"):
        shell.go(path.PAGES["train"])
    naming.renaming()
    sweeping.above_runs()
    runs = summaries()
    if not runs:
        _nothing_yet()
    elif moving(runs):
        piece(_tick, EVERY)
    else:
        _body(runs)
    keeping.shelf(runs)
    load()


def _nothing_yet() -> None:
    card = shell.empty("No runs yet", "A run appears here as soon as it is launched.", icon=":material/ac_unit:")
    if card.button("Try it now", icon=":material/local_fire_department:"):
        shell.go(path.PAGES["train"])


def _tick() -> None:
    """While a run moves; when none does any longer the page is drawn once more, and then rests."""
    runs = summaries()
    if not moving(runs):
        st.rerun()
    _body(runs)


def _body(runs: list[Summary]) -> None:
    listing.unreadable(runs)
    called = told_apart(runs)
    ticked = listing.table(listing.chosen(runs), called)
    if len(ticked) == 1:
        keeping.one(ticked[0], called[ticked[0].id])
    elif ticked:
        keeping.several(ticked)
        comparing.compare(ticked, called)


show()
