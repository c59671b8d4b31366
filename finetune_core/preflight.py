"""Checks before launch: what would go wrong, found in a second and without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetune_core import catalogue, plan
from finetune_core.data.split import split
from finetune_core.errors import UserError
from finetune_core.parts.backbones import File, RandomWeights
from finetune_core.parts.sources import Folder
from finetune_core.recipe import Recipe


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
    source = recipe.data.source
    if not isinstance(source, Folder):
        yield Finding("ok", "Data", f"{source.title} is drawn on this machine.")
        return
    try:
        samples = source.samples()
        parts = split(samples, recipe.data.valid_share, recipe.data.split_seed)
    except UserError as error:
        yield _failed("Data", error)
        return
    count = f"{len(samples.classes)} classes, {len(parts.train)} images to train on, {len(parts.valid)} to measure on."
    yield Finding("ok", "Data", count)
    if len(parts.valid) < 50:
        text = f"With {len(parts.valid)} validation images the accuracy moves in steps of {1 / len(parts.valid):.0%}."
        yield Finding("warn", "Few validation images", text)


def _weights(recipe: Recipe) -> Iterator[Finding]:
    backbone = recipe.model.backbone
    match backbone.weights:
        case RandomWeights():
            yield Finding("warn", "Random weights", "The backbone knows nothing yet; expect a much lower accuracy.")
        case File(path=path) if not Path(path).expanduser().is_file():
            error = UserError(f"There is no weights file at {path!r}.", hint="Choose a file on the Model page.")
            yield _failed("Weights", error)
        case weights:
            yield Finding("ok", "Weights", f"{backbone.architecture}: {weights.title.lower()}.")


def _layers(recipe: Recipe) -> Iterator[Finding]:
    backbone = recipe.model.backbone
    entry = catalogue.entry(backbone.kind, backbone.architecture)
    if entry is None:
        text = f"{backbone.title} {backbone.architecture} is not in the catalogue; the worker will look for it."
        yield Finding("warn", "Backbone", text)
        return
    names = [name for name, _ in entry.groups]
    for number, phase in enumerate(recipe.phases, start=1):
        title = "Layers" if len(recipe.phases) == 1 else f"Layers in phase {number}"
        try:
            peaks = plan.peak_rates(phase, names)
        except UserError as error:
            yield _failed(title, error)
            continue
        yield from _thawed(title, peaks, isinstance(backbone.weights, RandomWeights))


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
