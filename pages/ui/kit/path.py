"""The path through the studio: every page, where it lies, and what was chosen on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from finetune_core.recipe import Recipe
from finetune_core.recipe.words import augment_words, model_words, rate_words, source_words, train_words


@dataclass(frozen=True)
class Step:
    """One page: its key is its address, `choice` says in a word or two what the draft has chosen there.

    `within` is the key of the page on the path from which one comes to this one.
    """

    key: str
    title: str
    icon: str
    choice: Callable[[Recipe], str] | None = None
    within: str = ""

    @property
    def script(self) -> str:
        """The page's file; one folder below `pages/`, or Streamlit would run it without app.py."""
        return f"pages/views/{self.key}.py"


HOME = Step("home", "Home", ":material/home:")
STEPS = (
    Step("data", "Data", ":material/photo_library:", source_words),
    Step("augment", "Augment", ":material/auto_awesome:", augment_words),
    Step("layers", "Model & layers", ":material/layers:", model_words),
    Step("rate", "Learning rate", ":material/speed:", rate_words),
    Step("train", "Train", ":material/local_fire_department:", train_words),
    Step("runs", "Runs", ":material/stacked_line_chart:"),
)
RUN = Step("run", "A run", ":material/monitoring:", within="runs")
LABEL = Step("label", "Label pictures", ":material/sell:", within="data")
SWEEP = Step("sweep", "Try several values", ":material/ssid_chart:", within="train")
LESSONS = Step("lessons", "Lessons", ":material/school:")
PLAY = "/play/"  # what is below this address is answered without Streamlit; see `pages/ui/frame/playing.py`
PAGES = {step.key: step for step in (HOME, *STEPS, RUN, SWEEP, LABEL, LESSONS)}


def following(key: str) -> Step:
    """The step after this one."""
    keys = [step.key for step in STEPS]
    return STEPS[keys.index(key) + 1]


def play(run: str) -> str:
    """The address of the page on which the model of a run, by its id, can be played with."""
    return f"{PLAY}{quote(os.fsencode(run), safe='')}/"
