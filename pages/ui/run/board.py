"""The board: a few validation images and what the network says of them, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from finetune_core.data import sheet
from finetune_core.data.depth import Depth
from finetune_core.parts.tasks import Targets, Task
from finetune_core.recipe import Recipe
from finetune_core.runs.store import Run
from pages.ui.kit import shell, state
from pages.ui.kit.shell import plain

SIDE = 200  # px of a picture
WIDTH = 140  # px that a column has at least
SLIDER = 420  # px
LAST = 12  # epochs that are told beneath each picture

Epoch = Mapping[str, Any]
Guess = Mapping[str, Any]
MARKS = {True: ":green[●]", False: ":red[○]"}


def board(run: Run, recipe: Recipe, epochs: Sequence[Epoch]) -> None:
    """All images of the board with the guess after one epoch, the newest unless another one is chosen."""
    told = [epoch for epoch in epochs if epoch.get("board")]
    if not told:
        missing = "This run was made before Thaw kept any." if epochs else "The first epoch has to end."
        shell.empty("No guesses yet", missing)
        return
    place = _chosen(run, told)
    guesses = told[place]["board"]
    st.caption(_summary(told[place], guesses))
    pictures = _pictures(tuple(str(guess["file"]) for guess in guesses), recipe.data.channels, run.depth)
    with st.grid(len(guesses), min_column_width=WIDTH):
        for number, (guess, picture) in enumerate(zip(guesses, pictures, strict=True)):
            until = [epoch["board"][number] for epoch in told[: place + 1] if number < len(epoch["board"])]
            _tile(recipe.task, guess, picture, until)


def _chosen(run: Run, told: Sequence[Epoch]) -> int:
    """The place of the epoch to show. The slider follows the run until a person moves it, and again from its end on."""
    newest, kept = len(told), f"board:{run.id}"
    shown = min(state.value(kept) or newest, newest)
    if newest > 1:
        key = state.seed(f"board-epoch:{run.id}", shown)
        handed = state.callback(key, lambda place: state.keep(kept, None if place == newest else place))
        shown = st.slider("After epoch", 1, newest, shown, width=SLIDER, **handed)
    return shown - 1


def _summary(epoch: Epoch, guesses: Sequence[Guess]) -> str:
    right = [guess["right"] for guess in guesses if guess["right"] is not None]
    count = f" {sum(right)} of {len(right)} right. The dots tell the same for each epoch until then." if right else ""
    return f"The same validation images after every epoch, here after epoch {epoch['epoch'] + 1}.{count}"


def _tile(task: Task, guess: Guess, picture: bytes, until: Sequence[Guess]) -> None:
    """One image: what is guessed, what it is, and how the guess has moved until then."""
    said, truth = _words(task, guess), plain(guess["truth"])
    with st.container(gap="xsmall"):
        st.image(picture, width="stretch", alt=f"{guess['truth']}: guessed {said}")
        if guess["right"] is None:
            st.markdown(f"**{plain(said)}**  \n:gray[is {truth}]")
            st.caption(" → ".join(plain(_words(task, each)) for each in until[-3:]))
            return
        mark = ":green[:material/check:]" if guess["right"] else ":red[:material/close:]"
        st.markdown(f"{mark} **{plain(said)}**  \n:gray[{'right' if guess['right'] else 'is ' + truth}]")
        st.caption("".join(MARKS[bool(each["right"])] for each in until[-LAST:]))


def _words(task: Task, guess: Guess) -> str:
    known = [(name, float("nan") if value is None else value) for name, value in guess["answers"]]
    return task.summed_up(Targets(task.key, ()), known)  # as training has judged it


@lru_cache(maxsize=16)
def _pictures(files: tuple[str, ...], channels: int, depth: Depth) -> tuple[bytes, ...]:
    """The images as the model's reader sees them, as JPEG; grey where a file is gone or no file."""
    paths = [Path(file) if Path(file).is_file() else Path() for file in files]
    tiles = sheet.thumbnails(paths, SIDE, channels, depth)
    return tuple(sheet.jpeg(tile.convert("RGB")) for tile in tiles)
