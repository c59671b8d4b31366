"""Timing a network on this machine: one image, whole training steps, and its layer groups, on random pixels."""

from __future__ import annotations

import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finetune_core.data.loader import Batches
from finetune_core.data.pipeline import eval_pipeline, train_pipeline
from finetune_core.data.preview import pace
from finetune_core.network import build, freezing
from finetune_core.network.network import LayerGroup, Network
from finetune_core.recipe import Recipe
from finetune_core.recipe.names import HEAD
from finetune_core.records import Timing
from finetune_core.training import cut, fold
from finetune_core.training.gauges import length, memory_mb
from finetune_core.training.session import autocast, choose_device, set_tf32

OUTPUTS = 10
REPEATS = {"answer": 20, "still": 6, "step": 6, "parts": 4}
WARM_UPS = 2  # the first calls choose algorithms and fetch memory
SECONDS = 10.0  # for each of these, whatever has been repeated by then
QUICKLY = 2.0  # where many networks are timed
WIDE = 4 / 3  # width of a photo over its height

Found = list[Timing]


def timings(recipe: Recipe, network: bool = True, drawing: bool = True) -> Iterator[Found]:
    """Each repetition as it is done; those to warm up are left out.

    Memory that a process has had stays with it: so what needs least comes first.
    """
    if network:
        bench = _Bench(recipe)
        for what in REPEATS:
            yield from _repeated(getattr(bench, what)(), REPEATS[what])
    if drawing:
        yield _drawing(recipe)


def answers(recipe: Recipe) -> Iterator[Found]:
    """One image alone, quickly."""
    yield from _repeated(_Bench(recipe).answer(), REPEATS["answer"], QUICKLY)


def count(network: bool = True, drawing: bool = True) -> int:
    """How many repetitions that is at most."""
    return network * sum(REPEATS.values()) + drawing


def _repeated(work: Callable[[], Found], times: int, seconds: float = SECONDS) -> Iterator[Found]:
    until = time.monotonic() + seconds
    for number in range(WARM_UPS + times):
        found = work()
        late = time.monotonic() > until
        if number >= WARM_UPS or late:
            yield found
        if late:
            return


def _drawing(recipe: Recipe) -> Found:
    """An image to learn from and one to measure on, drawn by one core as in training."""
    data, size = recipe.data, recipe.training.batch_size
    shape = (data.side, round(data.side * WIDE), data.channels)
    images: Any = [np.random.default_rng(0).integers(0, 256, shape, np.uint8)]
    labels, indices = np.zeros(1, np.int64), np.zeros(size, np.int64)
    found = []
    for what, pipeline in {"draw": train_pipeline(recipe.augment, data), "plain": eval_pipeline(data)}.items():
        batches = Batches(images, labels, indices, pipeline, size, 0, shuffle=False, augment=what == "draw")
        found.append(Timing(what, 1 / size / pace(lambda turn, done: batches.one((turn, indices)))))  # noqa: B023
    return found


class _Bench:
    """A recipe's network on its device, and what is timed of it."""

    def __init__(self, recipe: Recipe) -> None:
        importlib.import_module("finetune_core.training.loop")  # which takes memory, too, where one trains
        self.recipe, self.device = recipe, choose_device(recipe.training.device)
        set_tf32(recipe.training.tf32)
        data = recipe.data
        self.network = build.build(recipe.model, OUTPUTS, image_size=data.image_size, channels=data.channels)
        self.module = self.network.module.to(self.device).to(memory_format=torch.channels_last)
        self.names = [group.name for group in self.network.groups]
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def answer(self) -> Callable[[], Found]:
        """One image forward."""
        image = self._images(1)
        self.module.eval()

        def look() -> None:
            with torch.inference_mode(), self._autocast():
                self.module(image)

        return lambda: [Timing("answer", self._timed(look))]

    def still(self) -> Callable[[], Found]:
        """A batch forward with everything frozen, by layer groups; and the memory of a batch that is measured on."""
        module, images = self._frozen(), self._images(self.recipe.training.batch_size)
        with torch.inference_mode(), self._autocast():
            module(self._images(2 * self.recipe.training.batch_size))
        least = Timing("least", 0.0, mb=memory_mb(self.device))

        def work() -> Found:
            watch = _Watch(self.network, module, self._now)
            with torch.inference_mode(), self._autocast():
                watch.along(images)
            rows = watch.sizes(len(images))
            seconds = [Timing("still", seconds, name) for name, seconds in watch.seconds.items()]
            return [least, *seconds, *(Timing("row", 0.0, name, mb) for name, mb in rows.items())]

        return work

    def step(self) -> Callable[[], Found]:
        """A whole training step, everything thawed."""
        batch = self.recipe.training.batch_size
        pixels = self._images(batch).mul_(255).to("cpu", torch.uint8)
        labels = torch.zeros(batch, dtype=torch.long, device=self.device)
        rates = dict.fromkeys(self.names, 1e-6)
        groups = freezing.param_groups(self.network, dict.fromkeys(self.names, 0.0), rates)
        optimizer = self.recipe.training.optimizer.call().build(groups)
        self._thaw()

        def feed() -> Tensor:
            images = pixels.to(self.device, torch.float32, memory_format=torch.channels_last, copy=True)
            return images.div_(255).sub_(0.5).div_(0.5)

        def learn() -> None:
            optimizer.zero_grad(set_to_none=True)
            images = feed()
            with self._autocast():
                loss = nn.functional.cross_entropy(self.module(images).float(), labels)
            loss.backward()

        def update() -> None:
            length([weight.grad for weight in self.module.parameters() if weight.grad is not None])
            optimizer.step()

        def work() -> Found:
            fed, learned, updated = map(self._timed, (feed, learn, update))
            most = Timing("most", 0.0, mb=memory_mb(self.device))
            return [Timing("step", learned + updated), Timing("fed", fed), Timing("update", updated), most]

        return work

    def parts(self) -> Callable[[], Found]:
        """A batch through all layer groups one by one, forward and back."""
        self.module.zero_grad(set_to_none=True)
        self._thaw()
        images = self._images(self.recipe.training.batch_size)
        sizes = self._sizes(images)

        def work() -> Found:
            watch = _Watch(self.network, self.module, self._now)
            with self._autocast():
                answer = watch.along(images)
            found = [Timing("forward", seconds, name) for name, seconds in watch.seconds.items()]
            found += self._back(watch, answer)
            return [*found, *self._through(images), *sizes]

        return work

    def _through(self, images: Tensor) -> Found:
        """Both ways through each layer group while it is frozen, for what lies before it."""
        self.module.eval()
        watch = _Watch(self.network, self.module, self._now)
        with self._autocast():
            ends = watch.along(images)
        found = []
        for group in reversed(self.network.groups):
            if (begins := self._begins(watch, group)) is not None:
                back = self._gradients(ends, [begins])
                found.append(Timing("through", watch.seconds[group.name] + back, group.name))
                ends = begins
        self._thaw()
        return found

    def _sizes(self, images: Tensor) -> Found:
        """What each layer group keeps of a batch for the way back, and its weights."""
        watch = _Watch(self.network, self.module, self._now)
        known = {weight.untyped_storage().data_ptr() for weight in self.module.parameters()}

        def pack(value: Tensor) -> Tensor:
            storage = value.untyped_storage()
            if storage.data_ptr() not in known:
                known.add(storage.data_ptr())
                watch.kept[watch.at] += storage.nbytes() / 1e6
            return value.detach()

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value), self._autocast():
            watch.along(images)
        weights = [Timing("weights", 0.0, group.name, 4e-6 * group.count) for group in self.network.groups]
        layers = {group.name: freezing.norm_layers(self.network, group) for group in self.network.groups}
        norms = [Timing("norms", 0.0, name, len(list(found))) for name, found in layers.items()]
        return [*weights, *norms, *(Timing("kept", 0.0, name, mb) for name, mb in watch.kept.items())]

    def _back(self, watch: _Watch, answer: Tensor) -> Found:
        """The way back through each layer group, from what the next one is given to what it is given itself."""
        found, ends = [], answer
        for group in reversed(self.network.groups):
            weights: list[Tensor] = [self.module.get_parameter(name) for name in group.parameters]
            begins = self._begins(watch, group)
            found.append(Timing("own", self._gradients(ends, weights), group.name))
            found.append(
                Timing("both", self._gradients(ends, [*weights, *([] if begins is None else [begins])]), group.name)
            )
            ends = ends if begins is None else begins
        return found

    def _begins(self, watch: _Watch, group: LayerGroup) -> Tensor | None:
        """What a layer group is given, if something before it could learn from that."""
        begins = watch.given.get(group.name)
        return begins if begins is not None and begins.requires_grad else None

    def _gradients(self, ends: Tensor, wanted: Sequence[Tensor]) -> float:
        if not wanted or not ends.requires_grad:
            return 0.0
        given = torch.ones_like(ends)
        back = partial(torch.autograd.grad, ends, wanted, given, retain_graph=True, allow_unused=True)
        return self._timed(back)

    def _frozen(self) -> nn.Module:
        """The network as it is where everything is frozen, with norms folded where the recipe folds them."""
        division = freezing.divide(self.network, [HEAD])
        division.freeze()
        division.train_mode()
        module = self.module
        if self.recipe.training.fold:
            learns = {name for group in division.learning for name in group.parameters}
            size = self.recipe.data.image_size
            with self._autocast():
                found = cut.find(self.module, learns, (self.recipe.data.channels, size, size))
                module = fold.folded(self.module, found)[0] if found else module
        return module.eval()

    def _thaw(self) -> None:
        division = freezing.divide(self.network, ["*"])
        division.freeze()
        division.train_mode()
        if self.recipe.training.batch_size == 1:  # batch norm cannot train on one image; that takes no longer
            self.module.eval()

    def _images(self, many: int) -> Tensor:
        side = self.recipe.data.image_size
        shape = (many, self.recipe.data.channels, side, side)
        return torch.rand(shape, device=self.device).to(memory_format=torch.channels_last)

    def _autocast(self) -> Any:
        return autocast(self.device, self.recipe.training.precision)

    def _now(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter()

    def _timed(self, work: Callable[[], object]) -> float:
        started = self._now()
        work()
        return self._now() - started


class _Watch:
    """Goes along with a forward pass: which layer group is at work, how long each is, and what it is given first.

    What lies between two groups counts to the one before.
    """

    def __init__(self, network: Network, module: nn.Module, now: Callable[[], float]) -> None:
        self.module, self.now = module, now
        self.groups = {group.name: group.modules for group in network.groups}
        self.at = next(iter(self.groups))
        self.seconds: dict[str, float] = dict.fromkeys(self.groups, 0.0)
        self.kept: dict[str, float] = defaultdict(float)
        self.given: dict[str, Tensor] = {}

    def along(self, images: Tensor) -> Tensor:
        """The network's answer."""
        with ExitStack() as hooks:
            for name, places in self.groups.items():
                for place in places:
                    hook = self.module.get_submodule(place).register_forward_pre_hook(partial(self._begins, name))
                    hooks.callback(hook.remove)
            self.since = self.now()
            answer: Tensor = self.module(images)
            self._count()
        return answer

    def sizes(self, images: int) -> dict[str, float]:
        """MB that each layer group gives for an image: what the next one is given."""
        after = pairwise(self.groups)
        return {name: self.given[last].nbytes / images / 1e6 for name, last in after if last in self.given}

    def _begins(self, name: str, layer: nn.Module, given: tuple[Any, ...]) -> None:
        if name != self.at:
            self._count()
            self.at = name
        if name not in self.given and given and isinstance(given[0], Tensor):
            self.given[name] = given[0]

    def _count(self) -> None:
        now = self.now()
        self.seconds[self.at] += now - self.since
        self.since = now
