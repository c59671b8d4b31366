"""The depth behind Model & layers: the phases of a run by preset or milestones, and the rates of one by rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import streamlit as st

from finetune_core.errors import UserError
from finetune_core.parts.numbers import written
from finetune_core.recipe import Phase, Recipe, Training, milestones, plan, presets, rules
from pages.ui.kit import fields, numbers, phasing, state
from pages.ui.kit.shell import error_card, plain


def more(recipe: Recipe, names: Sequence[str]) -> None:
    """Phases on the left, rates on the right."""
    # With a key its being open is kept, whatever appears or goes above it.
    with st.expander("More: phases and rates", icon=":material/tune:", key="more-stages", on_change="rerun"):
        left, right = st.columns(2, gap="large")
        with left:
            _phases(recipe, names)
        with right:
            _rates(recipe, names)
            fields.field(phasing.place("norm_statistics"), label=phasing.label("Norm statistics"))
            _norms(names)
            _decay(recipe, names)


def _phases(recipe: Recipe, names: Sequence[str]) -> None:
    current = rules.current_preset(recipe.phases, names)
    key = state.seed("stages", current)
    st.pills(
        "Phases",
        list(rules.PRESETS),
        default=current,
        format_func=lambda each: rules.PRESETS[each].title,
        **state.callback(key, _take_preset, names),
    )
    chosen = state.value(key)
    st.caption(rules.PRESETS[chosen].help if chosen else "Phases of your own. A preset replaces them.")
    with st.container(horizontal=True, gap="small"):
        _button("Add", "add", "A phase after this one, with one group more at half the rate.", phasing.add, names)
        _button("Duplicate", "content_copy", "This phase once more, after itself.", phasing.duplicate)
        only = len(recipe.phases) == 1
        _button("Remove", "delete", "Take this phase out.", phasing.remove, disabled=only)
        with st.popover("Milestones", icon=":material/data_object:", width="content"):
            take_milestones(names)
            _give_milestones(recipe, names)


def _norms(names: Sequence[str]) -> None:
    knob = Phase.knob("norms")
    words = {"": "as usual", **knob.words}
    st.markdown(f"**{phasing.label(knob.title)}**", help=knob.help)
    st.caption("As usual: thawed groups adapt, frozen ones do as chosen above.")
    now = plan.norm_statistics(presets.known_only(phasing.chosen(), names), names)
    with st.container(horizontal=True, gap="small"):
        for name in names:
            st.selectbox(
                name,
                list(words),
                index=list(words).index(now.get(name, "")),
                format_func=words.__getitem__,
                width=130,
                **state.callback(state.seed(f"norms:{name}", now.get(name, "")), _set_norms, names, name),
            )


def _set_norms(names: Sequence[str], name: str, how: str) -> None:
    phase = phasing.chosen()
    single = {**plan.norm_statistics(presets.known_only(phase, names), names), name: how}
    state.edit_value(phasing.place("norms"), {group: each for group, each in single.items() if each})


def _decay(recipe: Recipe, names: Sequence[str]) -> None:
    factors = _factors(recipe, names)
    st.markdown("**Weight decay per group**")
    st.caption(
        f"A factor on the optimizer's weight decay, {written(recipe.training.optimizer.weight_decay)}; 0 is none."
    )
    with st.container(horizontal=True, gap="small"):
        for name in names:
            _factor(name, factors)
    fields.field("training.decay_all")


def _factors(recipe: Recipe, names: Sequence[str]) -> dict[str, float]:
    try:
        return plan.decay_factors(recipe.training, names)
    except UserError:  # the checks tell
        return dict.fromkeys(names, 1.0)


def _factor(name: str, factors: Mapping[str, float]) -> None:
    on = {path: state.value_at(path) for path in ("model", "training.decay")}
    now, take = partial(factors.get, name), partial(_set_factor, [*factors], name)
    scale, called = Training.knob("decay").each, f"Weight decay of {name}"
    numbers.number(numbers.Entry(f"decay:{name}", name, scale, now, take, on, called=called), width=130)


def _set_factor(names: Sequence[str], name: str, value: float) -> None:
    changed = {**_factors(state.draft(), names), name: value}
    state.change_value("training.decay", {group: factor for group, factor in changed.items() if factor != 1.0})


def _button(
    label: str, icon: str, help: str, action: Callable[..., None], *args: object, disabled: bool = False
) -> None:
    st.button(
        label,
        icon=f":material/{icon}:",
        key=f"phase-{icon}",
        help=help,
        on_click=action,
        args=args,
        disabled=disabled,
    )


def _take_preset(names: Sequence[str], key: str) -> None:
    _attempt(lambda: phasing.replace(rules.PRESETS[key].make(state.draft().phases, names)))


def _rates(recipe: Recipe, names: Sequence[str]) -> None:
    here = phasing.index()
    title = "Rates by rule" if len(recipe.phases) == 1 else f"Rates of phase {here + 1} by rule"
    known = rules.RATE_RULES
    key = st.selectbox(title, list(known), format_func=lambda each: known[each].title, key="rule")
    rule = known[key]
    st.caption(rule.help)
    offered = [float(f"{number:.3g}") for number in rule.defaults(recipe.phases, here)]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        entries = [_entry(f"rule:{here}:{key}", *each) for each in zip(rule.numbers, offered, strict=True)]
        for entry in entries:
            numbers.number(entry, width=150)
        wrong = any(map(numbers.wrong, entries))
        st.button("Set the rates", key="set-rates", on_click=_set_rates, args=(names, key, entries), disabled=wrong)


def _entry(key: str, label: str, offered: float) -> numbers.Entry:
    """The field for a number of a rule; when what is offered changes, so does the field."""
    key = f"{key}:{label}:{offered}"
    return numbers.Entry(
        key, label, rules.NUMBER, partial(state.value, f"{key}:kept", offered), partial(state.keep, f"{key}:kept")
    )


def _set_rates(names: Sequence[str], key: str, entries: Sequence[numbers.Entry]) -> None:
    here, given = phasing.index(), [entry.now() for entry in entries]
    if not any(map(numbers.wrong, entries)):
        _attempt(lambda: phasing.replace(rules.apply_rule(state.draft().phases, here, names, key, given), here))


def take_milestones(names: Sequence[str]) -> None:
    """A text of milestones; what it means is shown before it is taken over."""
    text = st.text_area(
        "From milestones",
        key="milestones",
        height=150,
        placeholder="{1: {'freeze_to': -1, 'duration': 1, 'pct_start': 0.3, 'lrs': [0, …, 1e-3]},\n 2: …}",
        help=f"A Python dictionary, JSON or YAML. One rate per layer group: {', '.join(names)}.",
    )
    if not text.strip():
        return
    try:
        imported = milestones.from_text(text, names)
    except UserError as error:
        error_card(error)
        return
    st.markdown("  \n".join(plain(phasing.words(n, phase)) for n, phase in enumerate(imported.phases, start=1)))
    for note in imported.notes:
        st.caption(f":blue[:material/info:] {plain(note)}")
    st.button("Use these phases", key="use-milestones", on_click=phasing.replace, args=(imported.phases,))


def _give_milestones(recipe: Recipe, names: Sequence[str]) -> None:
    st.caption("The phases as they are now, as milestones:")
    try:
        st.code(milestones.to_text(milestones.to_milestones(recipe.phases, names)), language="python", height=180)
    except UserError as error:
        st.caption(plain(str(error)))


def _attempt(edit: Callable[[], None]) -> None:
    try:
        edit()
    except UserError as error:
        state.note(error)
