"""Scripts: a recipe as one readable program in plain PyTorch, and its chapters as the pages show them.

`whole` is what `export --format script` writes. On the same machine's CPU it gives the losses of the run to the last
bit; the tests compare them. Each chapter is text made from the recipe and from what `facts` finds out, and holds only
what the recipe uses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from finetune_core.export.script import images, network, training
from finetune_core.export.script.facts import Facts, gather, look, outline
from finetune_core.finder.sweep import Sweep
from finetune_core.parts.backbones.weights import Checkpoint
from finetune_core.parts.codetext import banner, double_quoted, importing, imports, joined
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.changes import Made

__all__ = ["Facts", "augment", "data", "gather", "layers", "look", "outline", "rate", "train", "trained", "whole"]

BEFORE = "# the images are those of Data and Augment, model and GROUPS those of Model & layers; train.py holds it all"
FASTEST = '"cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"'


def whole(recipe: Recipe, facts: Facts, changes: Sequence[Made] = ()) -> str:
    """The whole program of a recipe; of a run with `changes` it says that it leaves them out, and which they were."""
    pictures = facts.pictures
    body = joined(
        _settings(recipe),
        banner("Images"),
        images.listing(recipe, pictures),
        images.reading(recipe, pictures),
        images.DECODING,
        images.augmentation(recipe),
        images.batches(recipe),
        banner("Network"),
        network.layers(facts.blueprint),
        "torch.manual_seed(SEED)  # the new head starts from it\n" + _building(recipe, facts),
        "model.to(device).to(memory_format=torch.channels_last)  # quicker for convolutions",
        network.grouping(facts.blueprint),
        banner("Training"),
        *_tools(recipe, facts, recipe.phases),
        training.evaluation(recipe, facts),
        training.schedules(recipe),
        training.phases(recipe, facts),
        training.loop(recipe),
    )
    return double_quoted(joined(_about(recipe, changes), imports(body), body)) + "\n"


def _about(recipe: Recipe, changes: Sequence[Made]) -> str:
    exact = "but for rounding" if any(phase.views for phase in recipe.phases) else "to the last bit"
    name = recipe.name or f"Fine-tune {recipe.model.backbone.architecture}"
    return f'''\
"""{_plain(name)}: a recipe of Thaw's in plain PyTorch.

It prints the losses of every step and epoch as JSON and saves the last weights as model.pt. On the same machine's CPU
the losses are those of Thaw's own run, {exact}{_until(changes)}. Left out: several processes, stopping and
going on, charts.
"""'''


def _until(changes: Sequence[Made]) -> str:
    """Up to where that is so, of a run that was changed on its way."""
    if not changes:
        return ""
    made = "".join(f"\n    step {each.step}: {_plain(each.text)}" for each in changes)
    start = ", up to the first of the changes\nthat were made on its way and are not made here:\n"
    return f"{start}{made}\n\nFrom there it goes its own way"


def _plain(name: str) -> str:
    """A name that cannot end the docstring that it stands in."""
    return " ".join(name.replace("\\", " ").replace('"', "'").split())


def _settings(recipe: Recipe) -> str:
    training = recipe.training
    device = FASTEST if training.device == "auto" else repr(training.device)
    lines = [
        f"SEED = {training.seed}  # of the new head, the order of images and their augmentation",
        f"BATCH = {training.batch_size}  # images per step",
        images.sizes(recipe),
        f"device = torch.device({device})",
    ]
    if training.device not in ("cpu", "mps"):
        products = '"tf32"' if training.tf32 else '"ieee"'
        lines += [
            "for operator in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):",
            f"    operator.fp32_precision = {products}  # of products on NVIDIA GPUs",
        ]
    return "\n".join(lines)


def data(recipe: Recipe, samples: Samples) -> str:
    """Which images there are, and which of them are measured on."""
    return importing(images.listing(recipe, look(recipe, samples)))


def augment(recipe: Recipe, outputs: int) -> str:
    """What is done to images that are learned from, and to those that are measured on."""
    mixed = training.mixing_line(recipe, outputs)
    return importing(images.augmentation(recipe), mixed and f"{mixed}  # of whole batches, images and labels alike")


def layers(recipe: Recipe, facts: Facts, index: int = 0) -> str:
    """The network, its layer groups, and what learns in a phase."""
    return importing(
        network.layers(facts.blueprint),
        _building(recipe, facts),
        network.grouping(facts.blueprint),
        network.freezing([recipe.phases[index]]),
        training.one_phase(recipe, facts, index),
    )


def trained(recipe: Recipe, checkpoint: Path, outputs: int) -> str:
    """The network of a run with what it has learned, which the code expects in a file WEIGHTS."""
    head = recipe.model.head.replace(init="torch", bias="torch")  # whatever it began with, it has learned since
    backbone = recipe.model.backbone.replace(weights=Checkpoint(path=str(checkpoint)))
    recipe = recipe.replace(model=recipe.model.replace(backbone=backbone, head=head))
    blueprint = outline(recipe, outputs)
    code = network.building(recipe, blueprint)
    return joined(network.layers(blueprint), re.sub(r"^WEIGHTS = .*\n", "", code))


def rate(recipe: Recipe, facts: Facts, index: int, sweep: Sweep) -> str:
    """The learning-rate range test, for the model of `layers` and the images of `data`."""
    return importing(
        BEFORE,
        *_tools(recipe, facts, [recipe.phases[index]]),
        training.one_phase(recipe, facts, index),
        training.range_test(recipe, facts, index, sweep),
    )


def train(recipe: Recipe, facts: Facts) -> str:
    """Loss, optimizer, schedule and loop, for the model of `layers` and the images of `data`."""
    return importing(
        BEFORE,
        training.loss(recipe, facts),
        training.optimizer(recipe, facts),
        training.schedules(recipe),
        training.phases(recipe, facts),
        training.step(recipe),
        training.loop(recipe),
    )


def _building(recipe: Recipe, facts: Facts) -> str:
    priors = facts.pictures.targets.priors if recipe.model.head.bias == "priors" else ()
    return network.building(recipe, facts.blueprint, priors)


def _tools(recipe: Recipe, facts: Facts, phases: Sequence[Phase]) -> list[str]:
    """What a step needs, in these phases."""
    return [
        training.loss(recipe, facts),
        training.optimizer(recipe, facts),
        network.freezing(phases),
        training.normalising(facts),
        training.step(recipe),
    ]
