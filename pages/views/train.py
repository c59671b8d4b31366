"""Train: what will happen, before it happens, and the one button."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from finetune_core import figures, machine
from finetune_core.errors import UserError
from finetune_core.export import script
from finetune_core.findings import Finding
from finetune_core.parts import Loss
from finetune_core.recipe import Recipe, rules
from finetune_core.recipe.plan import full_length, starts
from finetune_core.runs import launch, preflight
from finetune_core.runs.waiting import engines
from finetune_core.wording import count
from pages.ui.kit import dialogs, fields, outline, path, phasing, scripts, shell, state, timeline
from pages.ui.kit.chart import chart, load
from pages.ui.kit.checks import checks, unkept
from pages.ui.run import placing, queueing, tracking

LEAD = "What will happen, before it happens."
IMPATIENT = 2.0  # seconds in which a second click may follow the first
_LAUNCHED = "train:launched"
OF_RUN = (
    "device",
    "processes",
    "sync_norm",
    "tf32",
    "seed",
)  # knobs of training that say where it runs, not how it learns


def show(recipe: Recipe) -> None:
    """The whole page."""
    _follow()
    slot = shell.page("train", "Train", LEAD)
    found = [*unkept(), *preflight.findings(recipe)]
    mistakes = [finding.title for finding in found if finding.error and finding.level == "error"]
    unsaid = [finding.title for finding in found if finding.level == "next"]
    broken = shell.mend_first([*mistakes, *placing.wrong()], unsaid)
    _begin(slot, recipe, broken, [finding for finding in found if finding.level == "ask"])
    timeline.strip(recipe, alone=True)
    _choices()
    _plan(recipe)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Checks**")
        checks(found)
    with right:
        st.markdown("**The same from a terminal**")
        st.caption("In the project's folder; it trains the draft as it is saved now.")
        st.code(_command(), language="bash", wrap_lines=True)
        with st.container(horizontal=True):
            _downloads(recipe, bool(broken))
    shell.code(lambda: script.train(recipe, scripts.facts(recipe)))
    load()


def _begin(slot: DeltaGenerator, recipe: Recipe, broken: str, asks: list[Finding]) -> None:
    """Launch, or where its device is at work let the run wait for it, and say for what; what `asks` comes first.

    They are two buttons with keys of their own: a second click on the first must not land on the other.
    """
    ahead = queueing.ahead(recipe) if placing.here() else ""  # elsewhere others keep the queue
    row = st.container(
        horizontal=True, vertical_alignment="center", key="ahead"
    )  # always: what is below keeps its place
    if added := queueing.added():
        row.caption(f":green[:material/check: {added}]", width="content")
    if not ahead:
        clicked = shell.start(slot, "Launch", icon=":material/local_fire_department:", why=broken)
        _wanted(clicked, asks, "Launch anyway", partial(_launch, recipe))
        return
    clicked = shell.start(slot, "Add to the queue", icon=":material/add_to_queue:", key="add-to-queue", why=broken)
    _wanted(clicked, asks, "Add it anyway", partial(queueing.add, recipe))
    with row:
        st.caption(f":material/schedule: {ahead}", width="content")
        st.page_link(path.PAGES["runs"].script, label=":small[See the queue]")


def _wanted(clicked: bool, asks: list[Finding], label: str, go_on: Callable[[], None]) -> None:
    """Go on where that was clicked; first ask where something is likely to make the result worthless."""
    if clicked and not asks:
        go_on()
    elif clicked:
        dialogs.open(label)
    if asks and dialogs.opened(label):
        _ask(asks, label, go_on)


@st.dialog("Look at your data first", width="medium", on_dismiss=dialogs.close)
def _ask(asks: list[Finding], label: str, go_on: Callable[[], None]) -> None:
    checks((replace(each, mend=None, others=()) for each in asks), key="asked")
    st.caption("On Data you see the pictures, and mend each of these with a click.")
    with st.container(horizontal=True):
        if st.button("See them on Data", type="primary", icon=":material/photo_library:", key="asked-data"):
            shell.go(path.PAGES["data"])
        if shell.start(st.container(width="content"), label, key="asked-anyway", kind="secondary"):
            dialogs.close()
            go_on()
            st.rerun()


def _command() -> str:
    """What does the same from a terminal, with the draft as it is saved."""
    where, trackers = placing.words(placing.chosen()), tracking.words(tracking.chosen())
    return launch.command("train", launch.near(state.saved_draft()), *where, *trackers)


def _downloads(recipe: Recipe, broken: bool) -> None:
    """The recipe, and the whole run as a program."""
    icon, write = ":material/download:", partial(scripts.whole, recipe)
    help = "The whole run as one program in plain PyTorch: the same losses without Thaw."
    st.download_button("recipe.yaml", recipe.to_yaml, "recipe.yaml", icon=icon, on_click="ignore")
    st.download_button("train.py", write, "train.py", icon=icon, on_click="ignore", disabled=broken, help=help)


def _launch(recipe: Recipe) -> None:
    """Make the run folder and start its worker; the page then leads to the run."""
    launched: dict[str, float] = {}
    state.keep(_LAUNCHED, launched)
    try:
        run = engines.begin(recipe, placing.chosen(), tracking.job())
    except UserError as error:
        state.note(error)
        st.rerun()
    launched[run.id] = time.monotonic()  # in place: to keep anything now would give way to a second click
    _follow()


def _follow() -> None:
    """Lead to the run that was launched just now, also where a second click has drawn this page anew."""
    for run, since in state.value(_LAUNCHED, {}).items():
        if time.monotonic() - since < IMPATIENT:
            shell.go(path.RUN, run=run)


def _choices() -> None:
    """What decides most in one row, the rest behind it."""
    epochs, batch, schedule, optimizer, precision = st.columns([3, 3, 4, 4, 4], gap="medium")
    with epochs:
        fields.field(phasing.place("epochs"), label=phasing.label("Epochs"))
    with batch:
        fields.field("training.batch_size")
    with schedule:
        fields.choice(phasing.place("schedule"), phasing.label("Schedule"), with_knobs=False)
    with optimizer:
        fields.choice("training.optimizer", "Optimizer", with_knobs=False)
    with precision:
        fields.field("training.precision", explain=False)
        st.caption(shell.plain(_on_this_machine()))
    with st.expander("More", icon=":material/tune:", key="more"):
        _more()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(path.SWEEP.script, label=f":small[{path.SWEEP.title}]", icon=path.SWEEP.icon)
        _quick_head()


def _quick_head() -> None:
    """The head alone in seconds, as one click; once it is chosen, what it means."""
    quick = rules.PRESETS["quick"]
    if rules.is_quick(state.draft().phases):
        st.caption(f":material/bolt: **{quick.title}.** {quick.help}", width="content")
    else:
        st.button(
            f":small[{quick.title}]", icon=":material/bolt:", type="tertiary", help=quick.help, on_click=_take_quick
        )


def _take_quick() -> None:
    phasing.replace(rules.quick(state.draft().phases, ()))


def _on_this_machine() -> str:
    """What there is to train on, and what the chosen precision does there."""
    facts, training = machine.facts(), state.draft().training
    device = machine.device_of(facts, training.device)
    return f"{facts.device_words(device)}: {machine.speed(facts, device, training.precision, training.tf32).text}"


def _more() -> None:
    schedule, optimizer, rest = st.columns(3, gap="large")
    with schedule:
        st.markdown(f"**{phasing.label('Schedule')}**")
        _knobs(phasing.place("schedule"))
        for name in ("views", "patience", "optimizer_state"):
            fields.field(phasing.place(name), explain=False)
    with optimizer:
        st.markdown("**Optimizer**")
        _knobs("training.optimizer")
        _formula()
        for knob in state.value_at("training").knobs():
            if knob.more and knob.type != "list" and knob.name not in OF_RUN:
                fields.field(f"training.{knob.name}", explain=False)
    with rest:
        st.markdown("**Loss**")
        fields.choice("training.loss", "Kind of loss", skip=_unfitting(), with_knobs=False)
        _knobs("training.loss")
        fields.choice("training.sampling", "Images of an epoch")
        st.markdown("**Run**")
        fields.field("name", explain=False)
        for name in OF_RUN:
            fields.field(f"training.{name}", explain=False)
        placing.field()
        tracking.field()


def _formula() -> None:
    """How the optimizer steps, for those who want to see it written down."""
    with st.popover("One step, written down", icon=":material/function:", width="stretch"):
        st.latex(rf"\begin{{aligned}} {state.value_at('training').optimizer.formula} \end{{aligned}}")
        st.caption("w weights, g their gradient, η the group's rate, λ its weight decay; a hat corrects the start.")


def _unfitting() -> tuple[str, ...]:
    """Losses for other tasks, but for the one that is chosen."""
    training, task = state.value_at("training"), state.draft().task.key
    chosen = training.loss.kind
    return tuple(kind for kind, loss in Loss.kinds().items() if task not in loss.tasks and kind != chosen)


def _knobs(place: str) -> None:
    """Every knob of a part, also those that elsewhere wait behind "More"."""
    for knob in state.value_at(place).knobs():
        if knob.type != "list":
            fields.field(f"{place}.{knob.name}", explain=False)


def _plan(recipe: Recipe) -> None:
    """The planned rate of every group over the run."""
    try:
        plan = outline.planned(recipe)
    except UserError as error:
        shell.error_card(error)
        return
    names = outline.group_names(recipe)
    figure = figures.planned_rates(
        plan, figures.group_colours(names), starts(full_length(recipe), len(plan) // recipe.epochs)
    )
    chart(figure, key="plan")
    each = len(plan) // recipe.epochs
    st.caption(
        f"{len(plan):,} steps: {count(recipe.epochs, 'epoch')} of {each:,} steps "
        f"with {recipe.training.batch_size} images each."
    )


show(state.draft())
