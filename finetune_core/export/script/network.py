"""The part of a script about the network: building it, its weights, its new head, its layer groups."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from finetune_core.export.script.facts import Blueprint
from finetune_core.parts.codetext import bracketed, listed, own_layers
from finetune_core.parts.heads import STARTS
from finetune_core.recipe import Phase, Recipe

ROOM = 116  # columns for a call on a line of its own


def layers(blueprint: Blueprint) -> str:
    """The source of the layers that only Thaw has, where the network needs one."""
    adapted = ["with_channels"] * any(blueprint.channels)
    names = [*adapted, *blueprint.own]
    return own_layers(*(layer for _, layer in blueprint.fitting.layers), names=names)


def building(recipe: Recipe, blueprint: Blueprint, priors: Sequence[float] = ()) -> str:
    """The network with its weights and a new head; `priors` of its last bias where the recipe wants them."""
    lines = []
    origin, fitting = blueprint.origin, blueprint.fitting
    lines.append(f"model = {origin.call.code(room=ROOM)}")
    with_head = recipe.model.backbone.weights.with_head
    first, then = blueprint.channels
    if first:
        lines.append(f"with_channels(model, {first})  # as the weights were trained")
    if origin.state and not with_head:
        lines += [*_read(blueprint), *_filled(blueprint, blueprint.old_classifier)]
    lines += fitting.opening
    for place, layer in fitting.layers:
        lines.append(f"{blueprint.places[place]} = {layer.code(room=ROOM)}")
    lines += _start(recipe, blueprint, priors)
    if origin.state and with_head:  # a run's own weights go under the head that they may bring along
        lines += [*_read(blueprint), *_filled(blueprint, "" if blueprint.keeps_head else fitting.classifier)]
    if then:
        lines.append(f"with_channels(model, {then})")
    return _with_constant("\n".join(lines), blueprint)


def _read(blueprint: Blueprint) -> list[str]:
    return [*blueprint.allowing, f"weights = {blueprint.origin.state}", *blueprint.adapting]


def _filled(blueprint: Blueprint, but: str) -> list[str]:
    """All of `weights` but for what is called so."""
    lines = []
    if but:
        lines.append(f'weights = {{name: value for name, value in weights.items() if not name.startswith("{but}.")}}')
    if blueprint.versioned:
        lines += ["weights = OrderedDict(weights)", "weights._metadata = model.state_dict()._metadata  # its version"]
    load = "model.load_state_dict(weights, strict=False)  # all but the classifier" if but else ""
    return [*lines, load or "model.load_state_dict(weights)"]


def _start(recipe: Recipe, blueprint: Blueprint, priors: Sequence[float]) -> list[str]:
    """The last layer's first values."""
    head, last = recipe.model.head, blueprint.last
    lines = []
    if head.init in STARTS:
        lines.append(f"{STARTS[head.init].code(f'{last}.weight')}  # all answers start about equally likely")
    if head.bias != "torch":
        lines.append(f"nn.init.zeros_({last}.bias)")
    if head.bias == "priors":
        lines += [
            listed("priors", priors, "as likely as they are among the training images"),
            "with torch.no_grad():",
            f"    {last}.bias.copy_(torch.tensor(priors))",
        ]
    return lines


def _with_constant(code: str, blueprint: Blueprint) -> str:
    """The path of the weights' file as a constant of its own."""
    path = repr(str(blueprint.origin.file))
    return f"WEIGHTS = {path}\n{code.replace(path, 'WEIGHTS')}" if path in code else code


def grouping(blueprint: Blueprint) -> str:
    """The layer groups as a table, and a function that reads it."""
    groups = blueprint.groups
    rows = (bracketed(f"{name!r}: (", [*map(repr, begins)], "),", room=ROOM) for name, begins in groups.items())
    table = indent("\n".join(rows), "    ")
    return f'''\
GROUPS = {{  # layer groups from stem to head: how the names of their parts begin
{table}
}}


def group_of(name):
    """The layer group that a parameter or module belongs to, if it belongs to one."""
    return next((group for group, begins in GROUPS.items() if f"{{name}}.".startswith(begins)), None)'''


def freezing(phases: Sequence[Phase]) -> str:
    """What learns in each of these phases, and what stands still."""
    held = any(phase.hold for phase in phases)
    learns = "learns(name, phase)" if held else 'group_of(name) in phase["rates"]'
    lines = [
        *(LEARNS if held else []),
        "def enter(phase):",
        '    """Let a phase\'s groups learn. In eval mode the BatchNorm statistics of the others hold still too."""',
        "    for name, weight in model.named_parameters():",
        f"        weight.requires_grad_({learns})",
    ]
    if len(phases) > 1:
        lines += [
            "        if not weight.requires_grad:  # neither an old gradient nor momentum may move it",
            "            weight.grad = None",
            "            optimizer.state.pop(weight, None)",
        ]
    lines += [
        "    for name, module in model.named_modules():",
        f"        module.train(group_of(name) is None or {learns})",
    ]
    if any(phase.norm_statistics != "hold" or phase.norms for phase in phases):
        how = '"update" if module.training else phase["norms"]'
        if any(phase.norms for phase in phases):
            how = f'phase["norms_of"].get(group_of(name), {how})'
        lines += [
            '        if hasattr(module, "running_mean"):  # by each batch, or by what is kept',
            f"            how = {how}",
            '            module.track_running_stats = how != "batch"',
            '            module.training = how != "hold"',
        ]
    return "\n".join(lines)


LEARNS = '''\
def learns(name, phase):
    """Whether a parameter or module learns: its group does, and it is not held."""
    return group_of(name) in phase["rates"] and not f"{name}.".startswith(phase["held"])


'''.splitlines()
