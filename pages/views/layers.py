"""Model & layers: which network, and which of its layers may change."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.export import script
from finetune_core.network import catalogue
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.names import thawed
from finetune_core.recipe.presets import all_rates, current_preset, group_scale, presets
from finetune_core.recipe.words import millions
from finetune_core.runs import preflight
from finetune_core.wording import lasting
from pages.ui.kit import dataset, fields, numbers, phasing, scripts, shell, state, timeline
from pages.ui.kit.chart import load
from pages.ui.kit.checks import checks
from pages.ui.layers import advising, backbones, costing, phase_rules, regrouping, scouting, thawing

NAME, RATE, SIZE = 190, 170, 130  # px; the bar takes what is left


def preset_row(phase: Phase, names: Sequence[str], advised: str) -> None:
    """The usual choices as one row, the one that is advised with a lamp."""
    known = {preset.key: preset for preset in presets(names)}
    current = current_preset(phase, names)
    key = state.seed("preset", current)
    chosen = st.pills(
        "Presets",
        list(known),
        default=current,
        format_func=lambda each: f"{':material/lightbulb: ' * (each == advised)}{known[each].title}",
        label_visibility="collapsed",
        **state.callback(key, thawing.apply, names),
    )
    st.caption(known[chosen].help if chosen else "As set below. A preset replaces it.")


def share(counts: dict[str, int], warm: Sequence[str], recipe: Recipe, phase: Phase) -> dict[str, float]:
    """How much of the network trains, and what that costs; returns what a flip of each toggle would add, in seconds."""
    total, training = sum(counts.values()), sum(counts[name] for name in warm)
    with st.container(horizontal=True, gap="medium", key="share"):
        st.metric("Trains", f"{millions(training)} of {millions(total)}", width="content")
        st.metric("Share of parameters", f"{training / total:.1%}" if total else "–", width="content")
        st.metric("Layer groups", f"{len(warm)} of {len(counts)}", width="content")
        flips = costing.figures(recipe, phase, list(counts), warm)
    costing.panel(recipe, phase, warm)
    return flips


def stack(phase: Phase, counts: dict[str, int], warm: Sequence[str], flips: dict[str, float]) -> None:
    """A row per group, stem first: toggle, rate, bar, size, and what a flip of the toggle changes."""
    names = list(counts)
    colours = figures.group_colours(names)
    total = sum(counts.values())
    for name in names:
        learns = name in warm
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"layer-{name}"):
            with st.container(width=NAME):
                _toggle(names, name, learns)
            with st.container(width=RATE):
                _rate(names, name, learns)
            part = counts[name] / total
            told = f"{millions(counts[name])} · {_percent(part)}"
            words = f"{name}: {told} of all parameters, {'thawed' if learns else 'frozen'}."
            picture = figures.layer_bar(part, learns, colours[name])
            st.container(width="stretch").image(picture, width="stretch", alt=words)
            st.caption(f"{told}  \n{_flip(flips[name], learns)}" if name in flips else told, width=SIZE)
    st.caption(
        ":blue[:material/ac_unit:] frozen  :orange[:material/local_fire_department:] thawed  ·  a bar is the group's"
        " share of all parameters, its whole track 100 %  ·  the field is the group's peak learning rate while it is"
        " thawed; the others follow the head's"
        + ("  ·  beside it what an epoch takes more or less once its toggle is flipped" if flips else "")
    )


def _flip(seconds: float, learns: bool) -> str:
    """What an epoch takes more, or less, once it is thawed, or frozen."""
    sign = "±" if abs(seconds) < 0.05 else "+" if seconds > 0 else "−"
    return f"if {'frozen' if learns else 'thawed'}: {sign}{lasting(abs(seconds))}"


def _percent(part: float) -> str:
    return f"{part:.0%}" if part >= 0.01 else "< 1%"


def _toggle(names: Sequence[str], name: str, thawed: bool) -> None:
    key = state.seed(f"thaw:{name}", thawed)
    mark = ":orange[:material/local_fire_department:]" if thawed else ":blue[:material/ac_unit:]"
    st.toggle(f"{mark} {shell.plain(name)}", thawed, **state.callback(key, _thaw, names, name))


def _thaw(names: Sequence[str], name: str, wanted: bool) -> None:
    warm = set(thawed(phasing.chosen().thaw, names))
    thawing.set_thawed(names, warm | {name} if wanted else warm - {name})


def _rate(names: Sequence[str], name: str, thawed: bool) -> None:
    entry = numbers.Entry(
        f"rate:{phasing.index()}:{name}",
        f"Learning rate of {name}",
        group_scale(phasing.chosen(), name),
        lambda: all_rates(phasing.chosen(), names).get(name),
        partial(thawing.set_rate, names, name),
        phasing.standing("learning_rate", "multipliers", "thaw"),
    )
    numbers.number(entry, hidden=True, disabled=not thawed)


def head(recipe: Recipe, features: int, outputs: int) -> None:
    """The new last layers."""
    st.subheader("Head", anchor=False)
    left, right = st.columns(2, gap="large")
    with left:
        fields.choice("model.head", "Kind of head", edit=lambda _, value: thawing.regroup(head=value))
    with right:
        st.caption(f"{features} features in, {outputs} out: one per {recipe.task.noun}.")
        st.code(recipe.model.head.call(features, outputs).code(), language="python", wrap_lines=True)


def show() -> None:
    """Backbone, stack, head."""
    slot = shell.page("layers", "Model & layers", "Which network, and which of its layers may change?")
    recipe = state.draft()
    backbone = recipe.model.backbone
    try:
        entry = catalogue.entry(backbone.kind, backbone.architecture)
    except UserError as error:
        shell.error_card(error)
        backbones.chooser("Choose a backbone")
        return
    outputs = dataset.class_count(recipe.data)
    features = entry.features_for(recipe.model.head)
    try:
        counts = catalogue.layer_counts(recipe.model, outputs)
    except UserError as error:
        shell.error_card(error)
        st.button("Back to the network's own groups", key="own-groups", on_click=regrouping.back)
        return
    names, phase = list(counts), phasing.chosen()
    warm = thawed(phase.thaw, names)
    backbones.card(backbone, entry, recipe.data.image_size)
    scouting.panel(recipe)
    st.subheader("Layers", anchor=False)
    timeline.strip(recipe)
    given = advising.given(recipe)
    preset_row(phase, names, given.advice.preset if given else "")
    found = list(preflight.layers(recipe))
    checks(finding for finding in found if finding.level != "ok")
    stack(phase, counts, warm, share(counts, warm, recipe, phase))
    if given:
        advising.panel(recipe, given, phase, names)
    phase_rules.more(recipe, names)
    regrouping.more(recipe, names, outputs)
    head(recipe, features, outputs)
    shell.code(lambda: script.layers(recipe, scripts.facts(recipe), phasing.index()))
    broken = any(finding.error for finding in found)
    shell.next_step(slot, "layers", why="Thaw at least one group." if broken else "")


def main() -> None:
    """The whole page; the charts are in the dialog of backbones and among what is tried."""
    show()
    load()


main()
