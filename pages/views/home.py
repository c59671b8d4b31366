"""Home: three doors into the studio, this machine in one line, and the last runs."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from finetune_core import figures, machine
from finetune_core.errors import UserError
from finetune_core.parts.sources import Folder
from finetune_core.places import ASSETS
from finetune_core.recipe import Recipe, loads
from finetune_core.runs import standby
from finetune_core.runs.shelf.apart import told_apart
from finetune_core.runs.shelf.summaries import Summary, summaries
from finetune_core.wording import megabytes, roughly
from pages.ui.kit import path, shell, state, warm
from pages.ui.kit.badge import status_words
from pages.ui.kit.chart import load
from pages.ui.run import queueing

LAST = 3  # runs shown
READING = 3.0  # seconds that the page is given to arrive and be read


def head() -> None:
    """The promise, and a picture of it."""
    words, picture = st.columns([5, 6], gap="large", vertical_alignment="center")
    with words:
        st.title("Teach a model to see what you see", anchor=False)
        st.markdown(
            ":gray[Take a network that has already learned to see, thaw it layer by layer, and train it on your own"
            " photos. On this machine, in minutes, with nothing hidden.]"
        )
    picture.image(
        ASSETS / "hero.jpg",
        width="stretch",
        alt="Flowers in a grid, frozen blue on the left, thawed into colour on the right.",
    )


def doors() -> None:
    """The three ways in, each a card with one button."""
    first, second, third = st.columns(3, gap="medium")
    with _door(
        first,
        ":material/local_florist:",
        "Try it now",
        "Twelve flowers, 1200 pictures, everything prepared. A trained model in about two minutes, offline.",
    ):
        if shell.primary(st.container(), "Start with Blooms", icon=":material/arrow_forward:"):
            state.start_over(Recipe())
            shell.go(path.PAGES["train"])
    with _door(
        second,
        ":material/add_photo_alternate:",
        "My own photos",
        "A folder with one sub-folder per class. The photos stay where they are and never leave this machine.",
    ):
        if st.button("Choose a folder", key="own-photos"):
            _use_folder()
            shell.go(path.PAGES["data"])
    runs = _door(
        third,
        ":material/stacked_line_chart:",
        "Open a run",
        "See what was trained before: its curves, its result, its guess on a photo of yours. Then take the model away.",
    )
    with runs.container(horizontal=True):
        if st.button("All runs", key="open-runs"):
            shell.go(path.PAGES["runs"])
        with st.popover("Open a recipe file", icon=":material/description:", type="tertiary"):
            recipe_file()


def recipe_file() -> None:
    """Make a recipe that somebody wrote or sent the draft; the one before is set aside."""
    file = st.file_uploader("From a run, or from somebody else", type=["yaml", "yml"], key="recipe-file")
    if file is None:
        return
    try:
        state.start_over(loads(file.getvalue().decode("utf-8", "replace"), file.name))
    except UserError as error:
        shell.error_card(error)
    else:
        shell.go(path.PAGES["train"])


def _door(column: DeltaGenerator, icon: str, title: str, text: str) -> DeltaGenerator:
    card = column.container(border=True, height="stretch", gap="small")
    card.markdown(f"#### :blue[{icon}] {title}")
    card.markdown(f":gray[{text}]")
    return card


def _use_folder() -> None:
    if state.draft().data.source.kind != Folder.kind:
        state.change(lambda draft: draft.replace(data=draft.data.replace(source=Folder())))


def draft() -> None:
    """What is being prepared, where that is something of one's own, and what was set aside."""
    recipe = state.draft()
    if recipe != Recipe():
        with st.container(gap="xsmall"):
            st.caption("Your draft. Each part leads to its page.")
            shell.recipe_strip(recipe)
    if state.set_aside():
        st.button(
            "Bring back my earlier draft",
            icon=":material/undo:",
            type="tertiary",
            key="undo",
            on_click=state.bring_back,
        )


def this_machine() -> None:
    """What there is to train on, and what stands ready for it."""
    held = standby.held()
    ready = f" · PyTorch is loaded, for runs to begin at once ({megabytes(held)})" if held else ""
    st.caption(f":material/memory: {shell.plain(_machine())}{ready}")


@st.cache_data(ttl=60, show_spinner=False)
def _machine() -> str:
    return machine.facts().sentence()


def last_runs() -> None:
    """The newest runs with what they reached so far."""
    runs = summaries()
    if not runs:
        return
    called = told_apart(runs)
    st.subheader("Last runs", anchor=False)
    for column, run in zip(st.columns(LAST, gap="medium"), runs[:LAST], strict=False):
        with column.container(border=True, height="stretch", key=f"last-run-{run.id}"):
            _run_card(run, called[run.id])


def _run_card(run: Summary, called: str) -> None:
    status, name = run.status, shell.plain(called, shell.NAME)
    st.page_link(
        path.RUN.script, label=f"**{name}**", icon=path.RUN.icon, query_params={"run": run.id}, help=shell.plain(run.id)
    )
    if not run.readable:
        st.caption(f":red[:material/error:] Unreadable. {shell.plain(status.message)}")
        return
    st.metric(f"Best {run.score.inside}", run.score.shown(status.best_score))
    if len(run.curve) > 1:
        with st.container(key=f"spark-{run.id}"):  # wears the accent, see look.css
            st.html(figures.sparkline(run.curve, f"{run.score.inside.capitalize()} by epoch"))
    took = roughly(run.seconds)
    st.caption(status_words(status) if status.active else f"{shell.plain(status.state.capitalize())} · {took}")


head()
shell.pending_error()
st.space("small")
doors()
st.space("small")
draft()
queueing.panel()
last_runs()
this_machine()
load()  # while people read, so that the first chart and the first transform need not wait for theirs
warm.start(after=READING)
