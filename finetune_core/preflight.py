"""Checks before launch: what would go wrong, found in a second and without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from finetune_core import catalogue, plan
from finetune_core.data.cache import check_readable
from finetune_core.data.samples import Samples
from finetune_core.data.split import split
from finetune_core.errors import UserError
from finetune_core.parts.sources import Folder
from finetune_core.recipe import Recipe

FEW = 50  # validation images, below which the accuracy is mostly luck
LOOKED_AT = 200  # images whose headers are read


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `error` is what the worker would stop with."""

    level: Literal["ok", "warn", "error"]
    title: str
    text: str
    error: UserError | None = None


def findings(recipe: Recipe) -> list[Finding]:
    """Look at data, weights and layer groups of a recipe, in the order in which a run would use them."""
    return [*_data(recipe), *_weights(recipe), *_layers(recipe)]


def _failed(title: str, error: UserError) -> Finding:
    return Finding("error", title, str(error), error)


def _data(recipe: Recipe) -> Iterator[Finding]:
    data = recipe.data
    if not isinstance(data.source, Folder):
        yield Finding("ok", "Data", f"{data.source.title}: drawn on this machine.")
        return
    try:
        samples = data.source.samples()
        parts = split(samples, data.valid_share, data.split_seed)
    except UserError as error:
        yield _failed("Data", error)
        return
    count = f"{len(samples.classes)} classes, {len(parts.train)} images to train on, {len(parts.valid)} to measure on."
    yield Finding("ok", "Data", count)
    for note in samples.notes:
        yield Finding("warn", "Data", note)
    yield from _unreadable(samples, data.unreadable)
    if len(parts.valid) < FEW:
        text = f"With {len(parts.valid)} validation images the accuracy moves in steps of {1 / len(parts.valid):.1%}."
        yield Finding("warn", "Few validation images", text)


def _unreadable(samples: Samples, policy: str) -> Iterator[Finding]:
    """A quick look at some headers; the worker decodes everything."""
    bad = check_readable(samples, LOOKED_AT)
    if not bad:
        return
    index, reason = bad[0]
    what = f"{samples.name(index)} cannot be read."
    if policy == "skip":
        yield Finding("warn", "Unreadable images", f"{what} Such images are left out.")
    else:
        hint = "Mend or remove it, or leave such images out (data.unreadable: skip)."
        yield _failed("Unreadable images", UserError(what, reason, hint))


def _weights(recipe: Recipe) -> Iterator[Finding]:
    weights = recipe.model.backbone.weights
    try:
        facts = weights.facts(recipe.model.backbone)
    except UserError as error:
        yield _failed("Weights", error)
        return
    yield Finding("ok" if weights.trained else "warn", "Weights", f"{facts}.")


def _layers(recipe: Recipe) -> Iterator[Finding]:
    backbone = recipe.model.backbone
    try:
        names = catalogue.entry(backbone.kind, backbone.architecture).group_names
    except UserError as error:
        yield _failed("Backbone", error)
        return
    for number, phase in enumerate(recipe.phases, start=1):
        title = "Layers" if len(recipe.phases) == 1 else f"Layers in phase {number}"
        try:
            peaks = plan.peak_rates(phase, names)
        except UserError as error:
            yield _failed(title, error)
            continue
        yield from _thawed(title, peaks, not backbone.weights.trained)


def _thawed(title: str, peaks: dict[str, float], random: bool) -> Iterator[Finding]:
    thawed = [name for name, peak in peaks.items() if peak > 0]
    frozen = [name for name, peak in peaks.items() if peak == 0]
    if not thawed:
        error = UserError("Nothing would train.", "Every layer group is frozen.", "Thaw at least the head.")
        yield _failed(title, error)
    elif "head" in frozen:
        yield Finding("warn", title, "The head is frozen, but it is new and knows nothing: thaw it.")
    elif random and frozen:
        yield Finding("warn", title, "Random weights are frozen: those layers will never learn anything.")
    elif frozen and list(peaks)[: len(frozen)] != frozen:
        yield Finding("warn", title, "A frozen group lies between thawed ones; that mostly trains poorly.")
    else:
        yield Finding("ok", title, f"{', '.join(thawed)} will train; {len(frozen)} groups stay frozen.")
