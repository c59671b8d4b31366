"""What it costs to thaw: seconds of an epoch and memory, estimated by sums of what each layer group was timed at.

Timed once by a worker (`stopwatch`) and kept in the cache folder, by all that the timings depend on; added up without
torch, so that a page can tell at once what a toggle changes.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

from finetune_core import machine, places
from finetune_core.data.loader import count_steps, default_workers
from finetune_core.parts.backbones import RandomWeights
from finetune_core.parts.mixing import Unmixed
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.plan import turn

VERSION = 1  # of how layer groups are timed
KEPT = 1.05  # MB of what frozen layers give for an image, up to which it is kept without being asked for


@dataclass(frozen=True)
class Part:
    """One layer group: seconds that a batch takes in it, and MB that it keeps of it for the way back.

    `still` forward while all up to it is frozen; where it learns `forward`, and back `own` for its weights alone, as
    the first one that is thawed, or `both` for them and what lies before it; `through` both ways while it is frozen and
    something before it is not. `weights` are the MB of its weights, `row` those of what it gives for an image, `norms`
    the number of its norm layers that go by the batch.
    """

    still: float = 0.0
    forward: float = 0.0
    own: float = 0.0
    both: float = 0.0
    through: float = 0.0
    kept: float = 0.0
    weights: float = 0.0
    row: float = 0.0
    norms: float = 0.0


@dataclass(frozen=True)
class Costs:
    """What was timed of a network: its layer groups from stem to head, and what a whole step takes besides them.

    `step` are the seconds of a training step with everything thawed, of which `fed` bring the batch to the device and
    normalise it, and `update` are its optimizer's. `draw` and `plain` are a core's seconds to draw an image to learn
    from and to measure on. `least` and `most` are the MB of memory in use with everything frozen and thawed.
    """

    parts: dict[str, Part]
    step: float
    fed: float
    update: float
    draw: float
    plain: float
    least: float
    most: float


@dataclass(frozen=True)
class Estimate:
    """Seconds of an epoch, of the first one on each of `anew` views where what is frozen is kept, and MB of memory."""

    seconds: float
    first: float
    anew: int
    memory: float


def summary(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What a measurement's records tell, as `Costs` has it; what is missing is left out.

    Of what was repeated the median, and of memory the most.
    """
    alone: dict[str, list[float]] = defaultdict(list)
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["kind"] == "timing":
            place = groups[row["group"]] if row.get("group") else alone
            place[row["what"]].append(row["seconds"] or row.get("mb", 0.0))
    found: dict[str, Any] = {
        name: (max if name in _MEMORY else median)(values) for name, values in alone.items() if name in _ALONE
    }
    if groups:
        found["parts"] = {
            name: Part(**{what: median(values) for what, values in part.items()}) for name, part in groups.items()
        }
    return found


def scaled(costs: Costs) -> Costs:
    """The same, with layer groups that together take as long as a whole step: they were timed one by one."""
    factor = max(0.0, costs.step - costs.fed - costs.update) / max(1e-9, _whole(costs))
    ways = ("forward", "own", "through", "both")
    parts = {
        name: replace(part, **{way: getattr(part, way) * factor for way in ways}) for name, part in costs.parts.items()
    }
    return replace(costs, parts=parts)


def keep(recipe: Recipe, found: Mapping[str, Any]) -> None:
    """Remember what was found for a recipe; where the disk is full it is measured again."""
    tree = plain(found)
    for file, wanted in _files(recipe):
        some = {name: tree[name] for name in wanted if name in found}
        if len(some) == len(wanted):
            with suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                places.write_whole(file, json.dumps(some))


def known(recipe: Recipe) -> Costs | None:
    """What was measured before of a recipe's network at its sizes on this machine; None where anything is missing."""
    found: dict[str, Any] = {}
    for file, _ in _files(recipe):
        found |= _read(file)
    return made(found) if found.keys() >= {each.name for each in fields(Costs)} else None


def plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, as plain data."""
    return {**found, "parts": {name: asdict(part) for name, part in found.get("parts", {}).items()}}


def made(tree: Mapping[str, Any]) -> Costs:
    """The costs from plain data. A way back for less takes no longer than one for more, whatever the clock has said."""
    parts = {name: Part(**part) for name, part in tree["parts"].items()}
    parts = {
        name: replace(part, own=min(part.own, part.both), through=min(part.through, part.forward + part.both))
        for name, part in parts.items()
    }
    return scaled(Costs(**{**tree, "parts": parts}))


def key(recipe: Recipe) -> tuple[str, ...]:
    """Stands for all that the timings depend on."""
    return tuple(file.stem for file, _ in _files(recipe))


def missing(recipe: Recipe) -> tuple[bool, bool]:
    """Whether the network's timings are missing, and those of drawing its images."""
    network, drawing = (not _read(file).keys() >= {*wanted} for file, wanted in _files(recipe))
    return network, drawing


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # a cache: what cannot be read is measured anew
        return {}
    return found


_MEMORY = ("least", "most")
_OF_NETWORK, _OF_DRAWING = ("parts", "step", "fed", "update", *_MEMORY), ("draw", "plain")
_ALONE = (*_OF_NETWORK, *_OF_DRAWING)


def _files(recipe: Recipe) -> tuple[tuple[Path, tuple[str, ...]], ...]:
    """Where the timings of the network and of drawing lie, and their names: by all that they depend on."""
    data, training, here = recipe.data, recipe.training, machine.facts()
    model = recipe.model.replace(backbone=recipe.model.backbone.replace(weights=RandomWeights()))
    numbers = (training.batch_size, training.precision, training.tf32, training.fold, training.optimizer.kind)
    device = here.device_words(machine.device_of(here, training.device))
    network = (model.model_dump_json(), data.image_size, data.channels, numbers, device)
    augment = [part.model_dump_json() for part in recipe.augment if part.active]
    drawing = (augment, data.image_size, data.side, data.channels, here.cores)
    return (_file(network), _OF_NETWORK), (_file(drawing), _OF_DRAWING)


def _file(about: tuple[Any, ...]) -> Path:
    digest = hashlib.sha256(repr((VERSION, about)).encode()).hexdigest()[:32]
    return places.cache_dir() / "costs" / f"{digest}.json"


def estimate(costs: Costs, recipe: Recipe, phase: Phase, thawed: Collection[str], images: tuple[int, int]) -> Estimate:
    """What an epoch costs with these layer groups thawed, on so many images to learn from and to measure on."""
    training, names = recipe.training, list(costs.parts)
    first = next((place for place, name in enumerate(names) if name in thawed), len(names))
    front, rest = names[:first], names[first:]
    learned, measured = (number / training.batch_size for number in images)  # in batches
    before = costs.fed + sum(costs.parts[name].still for name in front)
    step = sum(_learning(costs, name, rest, thawed) for name in rest)
    besides = _evaluation(costs, recipe, front, rest, thawed, measured)
    besides += count_steps(images[0], training.batch_size) * _update(costs, thawed)
    anew = learned * _together(before + step, training.batch_size * costs.draw) + besides
    reuses = bool(front) and phase.views > 0 and training.mix == Unmixed()
    again = learned * step + besides if reuses else anew
    seen = min(phase.views, -(-phase.epochs // turn(thawed)))
    return Estimate(again, anew, seen if reuses else 0, _memory(costs, recipe, rest, thawed))


def _evaluation(
    costs: Costs, recipe: Recipe, front: Sequence[str], rest: Sequence[str], thawed: Collection[str], batches: float
) -> float:
    """Seconds to measure on so many batches, where what frozen layers give is kept if it may be.

    What norm layers that learn have to do with it is found by one batch more, both ways.
    """
    before, after = (sum(costs.parts[name].still for name in names) for names in (front, rest))
    size, before = recipe.training.batch_size, before + costs.fed
    kept = bool(front) and not recipe.training.ema and costs.parts[front[-1]].row <= KEPT
    seconds = batches * (after if kept else _together(before + after, size * costs.plain))
    norms = sum(costs.parts[name].norms for name in thawed if name in costs.parts)
    return seconds + (2 * (before + after) + size * costs.draw if norms else 0.0)


def _whole(costs: Costs) -> float:
    """A step through all layer groups, all thawed."""
    names = list(costs.parts)
    return sum(_learning(costs, name, names, names) for name in names)


def _learning(costs: Costs, name: str, rest: Sequence[str], thawed: Collection[str]) -> float:
    """A layer group forward and back, of those from the first thawed one on."""
    part = costs.parts[name]
    if name == rest[0]:  # the first one is thawed
        return part.forward + part.own
    return part.forward + part.both if name in thawed else part.through


def _update(costs: Costs, thawed: Collection[str]) -> float:
    """The optimizer's seconds, by the share of the weights that it moves."""
    total = sum(part.weights for part in costs.parts.values())
    return costs.update * sum(costs.parts[name].weights for name in thawed if name in costs.parts) / max(1e-9, total)


def _together(working: float, drawing: float) -> float:
    """A step with the images that it needs: drawn by itself, or ahead by other processes."""
    workers = default_workers()
    return max(working, drawing / workers) if workers else working + drawing


def _memory(costs: Costs, recipe: Recipe, rest: Sequence[str], thawed: Collection[str]) -> float:
    """MB in use: between what was measured with nothing and with everything thawed, by what has to be kept."""

    def kept(names: Sequence[str], learning: Collection[str], parts: int) -> float:
        weights = sum(costs.parts[name].weights for name in learning if name in costs.parts)
        own = weights * (1 + recipe.training.optimizer.memory())  # a gradient, and what the optimizer remembers
        return own + sum(costs.parts[name].kept for name in names) / parts

    names = list(costs.parts)
    share = kept(rest, thawed, recipe.training.accumulate) / max(1e-9, kept(names, names, 1))
    return costs.least + (max(costs.most, costs.least) - costs.least) * share
