"""The depth of Model & layers: layer groups split and joined, the network as a tree, and what is held still in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import pandas as pd
import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.figures.colours import faded
from finetune_core.network import catalogue, tree
from finetune_core.network.tree import Node, Tree
from finetune_core.parts.numbers import Scale, written
from finetune_core.recipe import Model, Phase, Recipe, holding, regroup
from finetune_core.recipe.names import HEAD, freeze_to, thawed
from pages.ui.kit import numbers, phasing, shell, state, warm
from pages.ui.layers import thawing

DEPTHS = {1: "Top", 2: "2 deep", 3: "3 deep", 0: "All"}
SHOWN = 3  # matching parameters that are named
MANY = 12  # rows, from which on the table scrolls
ANY = "Any kind of layer"
TEN = 10.0  # times the group's rate, what is offered first (seed 004)
Edit = Callable[[list[str]], None]
STEP = "\u2003"  # an em space: indents a tree within a cell


def more(recipe: Recipe, names: Sequence[str], outputs: int) -> None:
    """Groups first, which need no torch; then the tree, which does."""
    label = "More: layer groups and single layers"
    place = st.expander(label, icon=":material/account_tree:", key="more-tree", on_change="rerun")
    if not place.open:
        return
    with place:
        _groups(recipe.model, names)
        st.markdown(f"**{phasing.label('Single layers')}**")
        st.caption(
            "What stays frozen inside thawed groups, or learns at a rate of its own. Find layers by name or kind, look "
            "at them, then hold them or set their rate."
        )
        _network(recipe, outputs)


# Groups


def back() -> None:
    """The groups as the network has them by itself."""
    thawing.regroup(split=(), merge=())


def _groups(model: Model, names: Sequence[str]) -> None:
    body = catalogue.entry(model.backbone.kind, model.backbone.architecture).body_under(model.head)
    apart = list(catalogue.layer_pieces(model.replace(merge=())))
    split, join, freeze = st.columns([5, 5, 3], gap="medium")
    with split:
        _several(
            "Split into blocks",
            regroup.splittable(body),
            model.split,
            lambda chosen: thawing.regroup(split=tuple(chosen)),
            "Groups to be taken apart, so that their blocks freeze and learn by themselves.",
        )
    with join:
        _several(
            "Join with the next",
            apart[:-1],
            regroup.joins(model.merge),
            lambda chosen: thawing.regroup(merge=regroup.merges(apart, chosen)),
            "Neighbours that become one group. The head is new and stays a group of its own.",
        )
    with freeze:
        _freeze_to(names)
    if model.split or model.merge:
        st.button("The network's own groups", icon=":material/undo:", key="own-groups", type="tertiary", on_click=back)


def _several(
    label: str,
    names: Sequence[str],
    chosen: Sequence[str],
    edit: Edit,
    help: str,
    shown: Callable[[str], str] = str,
) -> None:
    key = state.seed(f"several:{label}", list(chosen))
    st.multiselect(
        label,
        list(names),
        list(chosen),
        help=help,
        format_func=shown,
        placeholder="None",
        **state.callback(key, edit),
    )


def _freeze_to(names: Sequence[str]) -> None:
    """fastai's number, for those who think in it."""
    entry = numbers.Entry(
        f"freeze-to:{phasing.index()}",
        phasing.label("Freeze to"),
        Scale(-len(names), len(names) - 1, whole=True, units=("groups",)),
        partial(_freezes_to, names),
        partial(_take_freeze_to, names),
        phasing.standing("thaw"),
    )
    help = (
        "The first group that trains, counted as in fastai's freeze_to: −1 is the head alone, 0 everything, "
        "2 all but the first two groups."
    )
    numbers.number(entry, help=help)


def _freezes_to(names: Sequence[str]) -> int | None:
    """The number that stands for what is thawed; None where none does."""
    warm = thawed(phasing.chosen().thaw, names)
    first = len(names) - len(warm)
    if not warm or tuple(names[first:]) != warm:
        return None
    return first - len(names) if first else 0


def _take_freeze_to(names: Sequence[str], n: int) -> None:
    thawing.set_thawed(names, freeze_to(n, names))


# The tree


@st.cache_resource(max_entries=8, show_spinner="Building the network, without its weights")
def _tree(model: str, outputs: int, image_size: int) -> Tree:
    return tree.build(Model.model_validate_json(model), outputs, image_size)


def _network(recipe: Recipe, outputs: int) -> None:
    warm.wait()
    try:
        whole = _tree(recipe.model.model_dump_json(), outputs, recipe.data.image_size)
    except UserError as error:
        shell.error_card(error)
        return
    phase = phasing.chosen()
    find, kind, depth = st.columns([5, 4, 4], gap="medium", vertical_alignment="bottom")
    with find:
        words = st.text_input("Find by name", key="tree-words", live=True, placeholder=r"bn, layer4\.0, ^conv1 …")
    with kind:
        kinds = holding.kinds(whole.weights)
        chosen = st.selectbox(
            "or by kind",
            [ANY, *kinds],
            format_func=lambda each: _counted(each, kinds),
            key="tree-kind",
            disabled=bool(words),
        )
    with depth:
        deep = st.segmented_control(
            "Depth", list(DEPTHS), format_func=DEPTHS.__getitem__, default=2, required=True, key="depth"
        )
    rule = words if words else f"{holding.TYPE}{chosen}" if chosen != ANY else ""
    found = _found(whole, phase, rule)
    _held(phase)
    rows = _table(whole, phase, found, deep or 0, recipe)
    st.dataframe(
        rows,
        hide_index=True,
        height="content" if len(rows.index) < MANY else 420,
        key="tree",
        column_config={"Parameters": st.column_config.NumberColumn(format="localized")},
    )
    st.caption(f"{len(whole.nodes)} modules. The head is new; everything above it came with the backbone.")


def _counted(kind: str, kinds: Mapping[str, int]) -> str:
    return f"{kind} ({kinds[kind]})" if kind in kinds else kind


def _found(whole: Tree, phase: Phase, rule: str) -> tuple[str, ...] | None:
    """What a rule means, in words, with buttons for it; nothing where none is asked for."""
    if not rule:
        return None
    try:
        found = holding.matches(whole.weights, rule)
    except UserError as error:
        st.caption(f":orange[:material/warning:] {shell.plain(str(error))}")
        return ()
    warm_groups = thawed(phase.thaw, list(dict.fromkeys(whole.groups.values())))
    inside = sum(whole.groups[name] in warm_groups for name in found)
    some = ", ".join(found[:SHOWN]) + (" …" if len(found) > SHOWN else "")
    words = f"{rule} matches {len(found)} of {len(whole.weights)} parameters, {inside} in thawed groups: {some}"
    st.caption(shell.plain(words if found else f"{rule} matches none of {len(whole.weights)} parameters."))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            "Hold these",
            icon=":material/ac_unit:",
            key="hold",
            disabled=not found or rule in phase.hold,
            on_click=_hold,
            args=(rule,),
        )
        _at_a_rate(phase, rule, bool(found))
    return found


def _at_a_rate(phase: Phase, rule: str, found: bool) -> None:
    """A factor on the rate of what the rule means."""
    kept = f"by-name:{phasing.index()}:{rule}"
    now, take = partial(state.value, kept, phase.by_name.get(rule, TEN)), partial(state.keep, kept)
    entry = numbers.Entry("by-name-factor", "Times the rate", Phase.knob("by_name").each, now, take)
    numbers.number(entry, width=150)
    st.button(
        "Set their rate",
        icon=":material/speed:",
        key="by-name",
        disabled=not found or numbers.wrong(entry),
        on_click=_rate,
        args=(rule, entry),
    )


def _rate(rule: str, entry: numbers.Entry) -> None:
    if not numbers.wrong(entry):
        others = {each: factor for each, factor in phasing.chosen().by_name.items() if each != rule}
        state.edit_value(phasing.place("by_name"), {**others, rule: entry.now()})


def _hold(rule: str) -> None:
    state.edit_value(phasing.place("hold"), [*phasing.chosen().hold, rule])


def _held(phase: Phase) -> None:
    if phase.hold:
        _several(
            phasing.label("Held"),
            phase.hold,
            phase.hold,
            lambda chosen: state.edit_value(phasing.place("hold"), list(chosen)),
            "Take a rule out to let its layers learn with their group again.",
        )
    if phase.by_name:
        _several(
            phasing.label("Rate by name"),
            list(phase.by_name),
            list(phase.by_name),
            lambda chosen: state.edit_value(phasing.place("by_name"), {rule: phase.by_name[rule] for rule in chosen}),
            "Take a rule out to let its weights learn at their group's rate again.",
            lambda rule: f"{rule} × {written(phase.by_name[rule], 3)}",
        )


def _table(
    whole: Tree, phase: Phase, found: Collection[str] | None, depth: int, recipe: Recipe
) -> pd.io.formats.style.Styler:
    names = catalogue.layer_names(recipe.model)
    warm_groups = set(thawed(phase.thaw, names))
    total, held = tree.above(whole.groups), tree.above(_still(whole, phase))
    hits = None if found is None else tree.above(found)
    nodes = [node for node in whole.nodes if (hits[node.path] if hits is not None else node.depth < (depth or 99))]
    frame = pd.DataFrame(
        {
            "Module": [STEP * node.depth + node.path.rpartition(".")[2] for node in nodes],
            "Kind": [node.type for node in nodes],
            "Parameters": [node.parameters for node in nodes],
            "Group": [node.group for node in nodes],
            "Trains": [_trains(node, warm_groups, total[node.path], held[node.path]) for node in nodes],
        }
    )
    colours = figures.group_colours(names)
    return frame.style.apply(lambda row: _look(row, colours), axis=1)


def _still(whole: Tree, phase: Phase) -> tuple[str, ...]:
    try:
        return holding.held(whole.weights, phase.hold)
    except UserError:  # a rule that means nothing here: the checks tell
        return ()


def _trains(node: Node, warm_groups: Collection[str], total: int, held: int) -> str:
    if not total or not node.group:
        return ""
    if node.group not in warm_groups:
        return "frozen"
    return "thawed" if not held else "held" if held == total else f"{held} of {total} held"


def _look(row: pd.Series, colours: Mapping[str, str]) -> list[str]:
    """A group's colour for its name; the head's rows stand out."""
    colour = colours.get(row["Group"], "")
    ground = f"background-color: {faded(colour, 0.18)}" if row["Group"] == HEAD else ""
    return [f"{ground}; color: {colour}" if name == "Group" and colour else ground for name in row.index]
