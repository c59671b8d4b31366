"""Commands about what trains and how fast: layer groups, the network as a tree, phases, the plan of rates."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from finetune_core import places
from finetune_core.cli.parser import Commands, Options, whole
from finetune_core.cli.shared import Bar, phase_index, print_json, read_recipe, write
from finetune_core.errors import UserError
from finetune_core.parts.numbers import Scale, written
from finetune_core.recipe import Recipe, milestones
from finetune_core.recipe.advice import WORDS, Advice, Likeness, advice
from finetune_core.recipe.names import freeze_to
from finetune_core.recipe.presets import KEYS, with_preset, with_thawed
from finetune_core.recipe.rules import PRESETS, RATE_RULES, apply_rule
from finetune_core.recipe.words import millions

if TYPE_CHECKING:
    from finetune_core.network.catalogue import Entry
    from finetune_core.network.tree import Tree
    from finetune_core.records import Probed

MEASURE = "measure"


def add_to(commands: Commands) -> None:
    """Add these commands."""
    one = commands.add(backbones, "json")
    one.add_argument("--search", default="", metavar="TEXT", help="words that name or family hold (default: all)")
    one = commands.add(groups, "recipe", "json")
    help = "advise by the likeness of the images to the pretraining: measure it (takes some seconds), or say it"
    one.add_argument("--likeness", choices=(MEASURE, *WORDS), help=help)
    one = commands.add(tree, "recipe", "json")
    one.add_argument("--depth", type=whole(1), metavar="N", help="modules down to this depth only")
    one = commands.add(phases, "recipe", "json")
    one.add_argument("--preset", choices=PRESETS, help="replace the phases by this preset")
    help = "replace the phases by a dictionary of milestones: {1: {'freeze_to': -1, 'duration': 1, 'lrs': [...]}, ...}"
    one.add_argument("--milestones", type=places.expanded, metavar="FILE", help=help)
    help = f"set one phase's rates by rule: {', '.join(RATE_RULES)}, and its numbers (--rates slice 1e-5 1e-3)"
    one.add_argument("--rates", nargs="+", metavar=("RULE", "NUMBER"), help=help)
    help = "thaw from this group on, counted as in fastai: -1 the head alone, 0 all, 2 all but the first two"
    one.add_argument("--freeze-to", type=whole(), metavar="N", help=help)
    help = "thaw by a preset, such as advised by groups"
    one.add_argument("--thaw", choices=KEYS, help=help)
    help = "the phase for --rates, --freeze-to and --thaw, from 1 (default: the last)"
    one.add_argument("--phase", type=whole(1), metavar="N", help=help)
    one.add_argument("--out", type=places.expanded, metavar="FILE", help="write the recipe with these phases")
    one.add_argument("--export", action="store_true", help="print the phases as a dictionary of milestones")
    commands.add(plan, "recipe", "json")


def backbones(options: Options) -> None:
    """List the networks that can be fine-tuned: parameters, MACs, accuracy on ImageNet, input size."""
    from finetune_core.network import catalogue

    found = catalogue.search(options.search)
    if options.json:
        print_json([_backbone(entry) for entry in found])
        return
    if not found:
        raise UserError(f"No network is called {options.search}.", hint="Try fewer words, such as resnet or vit.")
    for entry in found:
        top1 = f"{entry.top1:.1f} %" if entry.top1 else "–"
        macs = f"{entry.macs:.3g} G" if entry.macs else "–"
        size = f"{millions(entry.size):>9}{macs:>9}{top1:>9}{entry.input_size:>6} px"
        print(f"{entry.library:12}{entry.architecture:48}{size}  {entry.weights_words()}")
    print(catalogue.advice(), file=sys.stderr)


def _backbone(entry: Entry) -> dict[str, Any]:
    return {
        "library": entry.library,
        "architecture": entry.architecture,
        "family": entry.family,
        "parameters": entry.size,
        "macs": entry.macs * 1e9 or None,
        "top1": entry.top1,
        "input_size": entry.input_size,
        "fixed_size": entry.fixed_size,
        "weights": [tag.name for tag in entry.tags],
    }


def groups(options: Options) -> None:
    """Print the layer groups, stem to head: parameters, frozen or not, peak rate and what is held in each phase."""
    from finetune_core.recipe import plan

    recipe = read_recipe(options)
    if options.likeness and not recipe.task.exclusive:
        raise UserError("Advice is for classes.", "The images have tags or numbers.", "Leave out --likeness.")
    counts = _groups(recipe)
    peaks = [plan.peak_rates(phase, list(counts)) for phase in recipe.phases]
    rates = {name: [peak[name] for peak in peaks] for name in counts}
    held = _held(recipe)
    if options.json:
        keys = ("name", "parameters", "frozen", "lr", "held")
        values = ((n, counts[n], not any(r), r, [phase.get(n, 0) for phase in held]) for n, r in rates.items())
        rows = [dict(zip(keys, row, strict=True)) for row in values]
        print_json({"groups": rows, "advice": _advice_tree(recipe, options.likeness)} if options.likeness else rows)
        return
    total = sum(counts.values())
    for name, peaks_of_name in rates.items():
        in_phases = zip(peaks_of_name, (phase.get(name, 0) for phase in held), strict=True)
        shown = "  ".join(_phase_words(rate, still) for rate, still in in_phases)
        print(f"{name:20}{counts[name]:>12,}{counts[name] / total:>8.1%}   {shown}")
    if recipe.task.exclusive:
        given, found = _advised(recipe, options.likeness)
        print(*filter(None, (given.text, found.reason)), sep="\n", file=sys.stderr)
        if given.preset:
            named = shlex.join(["--run", options.run] if options.run else [options.recipe])
            take = f"phases {named} --thaw {given.preset} --out FILE"
            print(f"To take it: python -m finetune_core {take}", file=sys.stderr)


def _advised(recipe: Recipe, asked: str | None) -> tuple[Advice, Likeness]:
    """How far to thaw, and the likeness that it rests on: as measured now or before, or as it was said."""
    from finetune_core.finder import likeness, probes

    backbone = recipe.model.backbone
    known = probes.known(recipe, backbone)
    if asked == MEASURE and backbone.weights.trained and (known is None or not known.stage):
        known = _probed(recipe)
    found = likeness.judged(backbone, known)
    if asked in WORDS and found.word != "nothing":
        found = Likeness(asked, "As you say.")
    return advice(_images_per_class(recipe), found.word), found


def _probed(recipe: Recipe) -> Probed:
    """What a quick head says of the backbone; a UserError where it cannot be tried."""
    from finetune_core.finder import probes, scout

    backbone = recipe.model.backbone
    with Bar("Looking at the images") as count:
        (found,) = scout.scout(
            recipe, [backbone], probes.ENOUGH, lambda what, done=0, total=0, unit="": count(done, total)
        )
    if found.note:
        raise UserError("The likeness cannot be measured.", found.note, f"Say it: {', '.join(WORDS)}.")
    probes.keep(recipe, backbone, found)
    return found


def _advice_tree(recipe: Recipe, asked: str) -> dict[str, Any]:
    """For other programs."""
    given, found = _advised(recipe, asked)
    words = {"likeness": found.word or None, "reason": found.reason}
    return {"images_per_class": _images_per_class(recipe), **words, "preset": given.preset or None, "text": given.text}


def _images_per_class(recipe: Recipe) -> float:
    from finetune_core.data.chosen import arranged

    samples, parts = arranged(recipe.data.source.expected(), recipe.data)
    return len(parts.train) / len(samples.classes)


def _groups(recipe: Recipe) -> dict[str, int]:
    """Parameters of each layer group, stem to head."""
    from finetune_core.network import catalogue

    return catalogue.layer_counts(recipe.model, len(recipe.data.source.expected().classes))


def _phase_words(rate: float, held: int) -> str:
    still = f" ({held} parameter{'' if held == 1 else 's'} held)" if held else ""
    return f"{written(rate, 3)}{still}" if rate else "frozen"


def _held(recipe: Recipe) -> list[dict[str, int]]:
    """How many parameters of each layer group are held, for each phase; torch is only asked where any are."""
    if not any(phase.hold for phase in recipe.phases):
        return [{} for _ in recipe.phases]
    whole = _tree(recipe)
    return [whole.held(phase.hold) for phase in recipe.phases]


def tree(options: Options) -> None:
    """Print the network as a tree: each module's class, parameters and layer group."""
    whole = _tree(read_recipe(options))
    if options.json:
        print_json([asdict(node) for node in whole.nodes])
        return
    for node in whole.nodes:
        if not options.depth or node.depth < options.depth:
            name = "  " * node.depth + node.path.rpartition(".")[2]
            print(f"{name:36}{node.type:28}{node.parameters:>12,}   {node.group}")


def _tree(recipe: Recipe) -> Tree:
    from finetune_core.network.tree import build

    return build(recipe.model, len(recipe.data.source.expected().classes), recipe.data.image_size)


def phases(options: Options) -> None:
    """Print the phases of a recipe, or make them by rule, from milestones, or as milestones."""
    recipe = read_recipe(options)
    names = list(_groups(recipe))
    made = recipe.phases
    if options.milestones:
        imported = milestones.read(options.milestones, names)
        made = imported.phases
        for note in imported.notes:
            print(f"Note: {note}", file=sys.stderr)
    if options.preset:
        made = PRESETS[options.preset].make(made, names)
    index = phase_index(options.phase, len(made))
    if options.freeze_to is not None:
        chosen = with_thawed(made[index], names, freeze_to(options.freeze_to, names))
        made = (*made[:index], chosen, *made[index + 1 :])
    if options.thaw:
        made = (*made[:index], with_preset(made[index], names, options.thaw), *made[index + 1 :])
    if options.rates:
        made = apply_rule(made, index, names, *_rule(options.rates))
    recipe = recipe.replace(phases=made)
    if options.out:
        write(options.out, recipe.to_yaml())
    if options.export:
        print(milestones.to_text(milestones.to_milestones(made, names)), end="")
    elif options.json:
        print_json([phase.model_dump(mode="json") for phase in made])
    else:
        _print_phases(recipe, names)


def _rule(words: list[str]) -> tuple[str, list[float]]:
    key, *numbers = words
    if key not in RATE_RULES:
        raise UserError(f"There is no rule {key} for rates.", hint=f"There are {', '.join(RATE_RULES)}.")
    try:
        return key, [Scale().read(number) for number in numbers]
    except UserError as error:
        raise UserError(
            f"The rule {key} takes numbers, not {' '.join(numbers)}.", str(error), "Such as 1e-5."
        ) from error


def _print_phases(recipe: Recipe, names: list[str]) -> None:
    from finetune_core.recipe import plan

    for number, phase in enumerate(recipe.phases, start=1):
        print(f"phase {number}: {phase.epochs} epochs, {phase.schedule.title.lower()}")
        for name, rate in plan.peak_rates(phase, names).items():
            print(f"  {name:20}{written(rate, 3) if rate else 'frozen'}")


def plan(options: Options) -> None:
    """Print each group's learning rate at every optimizer step."""
    from finetune_core.data.chosen import chosen
    from finetune_core.data.loader import count_steps
    from finetune_core.recipe import plan

    recipe = read_recipe(options)
    training = chosen(recipe.data)[1].train
    names = list(_groups(recipe))
    rows = plan.plan(recipe, names, count_steps(len(training), recipe.training.batch_size))
    if options.json:
        print_json(rows)
        return
    print(f"{'step':>6}" + "".join(f"{name:>14}" for name in names))
    for row in rows:
        print(f"{row['step']:>6}" + "".join(f"{written(row['lr'][name], 5):>14}" for name in names))
