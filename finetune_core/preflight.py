"""Checks before launch: what would go wrong, found in a second and without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finetune_core import catalogue, plan
from finetune_core.data.cache import check_readable
from finetune_core.data.samples import Samples
from finetune_core.data.split import split
from finetune_core.errors import UserError
from finetune_core.groups import HEAD
from finetune_core.parts.sources import Folder
from finetune_core.pooling import no_map
from finetune_core.recipe import Recipe

FEW = 50  # validation images, below which the accuracy is mostly luck
LOOKED_AT = 200  # images whose headers are read


@dataclass(frozen=True)
class Mend:
    """A change of one value of the recipe, by dotted path, that settles a finding."""

    title: str
    path: str
    value: Any


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `error` is what the worker would stop with, `mend` what would settle it."""

    level: Literal["ok", "warn", "error"]
    title: str
    text: str
    error: UserError | None = None
    mend: Mend | None = None


def findings(recipe: Recipe) -> list[Finding]:
    """Look at data, weights and layer groups of a recipe, in the order in which a run would use them."""
    return [*_data(recipe), *_weights(recipe), *layers(recipe)]


def _failed(title: str, error: UserError, mend: Mend | None = None) -> Finding:
    return Finding("error", title, str(error), error, mend)


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


def layers(recipe: Recipe) -> Iterator[Finding]:
    """Look at what each phase thaws."""
    backbone = recipe.model.backbone
    try:
        entry = catalogue.entry(backbone.kind, backbone.architecture)
    except UserError as error:
        yield _failed("Backbone", error)
        return
    if not entry.features_for(recipe.model.head):
        yield _failed("Head", no_map(entry.library, entry.architecture, "Its pooling cannot be taken out"))
    names = entry.names_under(recipe.model.head)
    for index, phase in enumerate(recipe.phases):
        title = "Layers" if len(recipe.phases) == 1 else f"Layers in phase {index + 1}"
        try:
            peaks = plan.peak_rates(phase, names)
        except UserError as error:
            yield _failed(title, error)
            continue
        yield _thawed(title, f"phases.{index}.thaw", peaks, not backbone.weights.trained)


def _thawed(title: str, path: str, peaks: dict[str, float], random: bool) -> Finding:
    names, thawed = list(peaks), [name for name, peak in peaks.items() if peak > 0]
    frozen = [name for name in names if name not in thawed]
    if not thawed:
        error = UserError("Nothing would train.", "Every layer group is frozen.", "Thaw at least the head.")
        return _failed(title, error, Mend("Thaw the head", path, [HEAD]))
    if HEAD in frozen:
        text = "The head is frozen, but it is new and knows nothing: thaw it."
        return Finding("warn", title, text, mend=Mend("Thaw the head", path, [*thawed, HEAD]))
    if random and frozen:
        text = "Random weights are frozen: those layers will never learn anything."
        return Finding("warn", title, text, mend=Mend("Thaw everything", path, ["*"]))
    if gap := _between(names, thawed):
        text = f"{', '.join(gap)} frozen between thawed groups: that mostly trains poorly."
        mend = Mend(f"Thaw {gap[0] if len(gap) == 1 else 'them too'}", path, names[names.index(thawed[0]) :])
        return Finding("warn", title, text, mend=mend)
    rest = "the rest stays frozen" if frozen else "nothing stays frozen"
    return Finding("ok", title, f"{', '.join(thawed)} will train; {rest}.")


def _between(names: Sequence[str], thawed: Sequence[str]) -> list[str]:
    """Frozen groups that come after a thawed one (seed 004: freezing alternate layers)."""
    return [name for name in names[names.index(thawed[0]) :] if name not in thawed]
