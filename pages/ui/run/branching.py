"""A run's checkpoints: from each it can go on as a new run; what to change there, and what becomes different."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts.numbers import written
from finetune_core.recipe import Recipe
from finetune_core.recipe.diff import differences
from finetune_core.recipe.names import thawed
from finetune_core.runs import changing
from finetune_core.runs.states import branch, facts
from finetune_core.runs.states.lineage import lineage
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import engines
from pages.ui.kit import dialogs, live, shell, state
from pages.ui.run import acting

FACTORS = {1.0: "As it was", 0.1: "÷ 10", 0.5: "÷ 2", 2.0: "× 2", 10.0: "× 10"}
MORE = (0, 1, 2, 5, 10)
BRANCH = "branch"


def checkpoints(run: Run) -> None:
    """Where the run has come from, and the checkpoints that are there, the newest first."""
    try:
        origin = lineage(run)
    except UserError as error:
        shell.error_card(error)
        origin = None
    if origin:
        st.caption(f":material/call_split: {shell.plain(origin.words())}")
    found = [path for path in run.states if facts.read(path)]
    if not found:
        shell.empty("Not yet", "The first checkpoint is written after a minute, or when the first epoch ends.")
        return
    st.caption(
        "Start a new run from any of these, with something changed. Unchanged it goes on exactly as this one did."
    )
    ends, score = {row["step"]: row for row in live.told(run).history.epochs}, run.recipe.task.score
    for path in found:
        step = facts.step(path)
        with st.container(horizontal=True, vertical_alignment="center", border=True, key=f"checkpoint-{step}"):
            size, epoch = f"{path.stat().st_size / 1e6:.1f} MB", ends.get(step)
            reached = f"Epoch {epoch['epoch'] + 1}, {score.shown(epoch['valid_score'])}" if epoch else ""
            named = f"**{reached}** :gray[step {step:,} · {size}]" if reached else f"**Step {step:,}** :gray[{size}]"
            st.markdown(named, width="stretch")
            if st.button("Branch", icon=":material/call_split:", key=f"branch-{step}"):
                dialogs.open(BRANCH, step)
                st.rerun()


def proposal(run: Run) -> None:
    """What a branch would be, where somebody asked for one; above all that is drawn anew while the run goes on."""
    if (step := dialogs.opened(BRANCH)) is not None:
        _propose(run, step)


@st.dialog("Branch", width="medium", on_dismiss=dialogs.close)
def _propose(run: Run, step: int) -> None:
    dialogs.follow(BRANCH)
    st.caption(f"A new run that begins at step {step:,} of this one, exactly, and goes on with what you change.")
    try:
        recipe = _changed(run, step)
    except UserError as error:
        shell.error_card(error)
        return
    before = run.recipe_at(step)
    rows = [(place, old, new) for place, old, new in differences(before, recipe)]
    if rows:
        frame = pd.DataFrame(rows, columns=["", "This run", "Branch"]).map(shell.plain).set_index("")
        st.table(frame, border="horizontal")
    else:
        st.caption("Nothing is changed: the branch would do the same again.")
    icon = ":material/local_fire_department:"
    args = (acting.done, run, lambda run: _begin(run, recipe, step))
    st.button("Branch and train", type="primary", icon=icon, key="branch-go", on_click=dialogs.done, args=args)


def _changed(run: Run, step: int) -> Recipe:
    """The recipe with what the person chooses, from the phase on in which the checkpoint stands."""
    recipe, history = run.recipe_at(step), live.told(run).history
    first = min(facts.position(run.state_file(step))["phase"], len(recipe.phases) - 1)
    names, phase = changing.names(run, history), recipe.phases[first]
    warm = thawed(phase.thaw, names)
    rate = f"Rate :gray[peak {written(phase.learning_rate, 3)}]"
    factor = st.pills(
        rate, list(FACTORS), format_func=lambda each: FACTORS[each], default=1.0, required=True, key="branch-rate"
    )
    more = st.pills("More epochs", list(MORE), format_func="+{}".format, default=0, required=True, key="branch-more")
    frozen = [name for name in names if name not in warm]
    also = st.pills("Thaw too", frozen, selection_mode="multi", format_func=shell.plain, key="branch-thaw")
    for number in range(first, len(recipe.phases)):
        each = recipe.phases[number]
        recipe = recipe.with_value(
            f"phases.{number}.learning_rate", float(f"{each.learning_rate * (factor or 1.0):.15g}")
        )
        if also:
            recipe = recipe.with_value(f"phases.{number}.thaw", [*each.thaw, *also])
    last = len(recipe.phases) - 1
    return recipe.with_value(f"phases.{last}.epochs", recipe.phases[last].epochs + (more or 0))


def _begin(run: Run, recipe: Recipe, step: int) -> None:
    made = branch.branch(run, recipe, step)
    engines.start(made, like=run)
    state.keep(acting.FOLLOWED, made.id)
