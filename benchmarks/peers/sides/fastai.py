"""fastai: its data block, Learner, finder and fine-tuning, with its own habits.

Frozen layers' norms go on learning, which is its habit; asked for "norms held", they stand still as everybody else's.
"""

from __future__ import annotations

import warnings

import torch
from fastai.vision.all import (
    Callback,
    CategoryBlock,
    DataBlock,
    DataLoaders,
    FlipItem,
    ImageBlock,
    IndexSplitter,
    Learner,
    Normalize,
    RandomResizedCrop,
    accuracy,
    vision_learner,
)
from torch import nn

from benchmarks.peers.sides import shared
from benchmarks.peers.task import ARCHITECTURE, LEAST_SCALE, RATE, Pace, Task, cpu_seconds, given, say


def main() -> None:
    """Do what is asked for."""
    warnings.filterwarnings("ignore")
    task = given()
    {"speed": speed, "finder": finder, "accuracy": accuracies}[task.work](task)


def data(task: Task) -> DataLoaders:
    """The same images, cropped and flipped by fastai."""
    images = [*task.train, *task.valid]
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(range(task.classes)))),
        get_x=lambda index: images[index][0],
        get_y=lambda index: images[index][1],
        splitter=IndexSplitter(range(len(task.train), len(images))),
        item_tfms=[RandomResizedCrop(task.size, min_scale=LEAST_SCALE), FlipItem()],
        batch_tfms=[Normalize.from_stats(shared.MEAN, shared.STD)],
    )
    device = torch.device(task.device)
    return block.dataloaders(
        range(len(images)), path=task.scratch, bs=task.batch, num_workers=task.workers, device=device
    )


def learner(task: Task) -> Learner:
    """The same network as everybody's, frozen by fastai."""
    module, held = shared.network(task), "norms held" in task.options

    def groups(module: nn.Module) -> list[list[nn.Parameter]]:
        named = list(module.named_parameters())
        return [[each for name, each in named if task.learning(name) == learns] for learns in (False, True)]

    if not held:
        for layer in module.modules():
            layer.__dict__.pop("train", None)
    made = Learner(data(task), module, splitter=groups, train_bn=not held, lr=RATE, path=task.scratch)
    if task.learns == "all":
        made.unfreeze()
    else:
        made.freeze_to(-1)
    return made


def speed(task: Task) -> None:
    """Training steps alone."""
    pace = Pace(task.epochs)

    class Tick(Callback):
        """Listens for the ends of steps."""

        def before_train(self) -> None:
            """Called before the loader starts."""
            pace.begin()

        def after_batch(self) -> None:
            """Called after each step, the last ones of validation too."""
            if self.training:
                float(self.learn.loss)
                pace.tick(self.epoch, len(self.xb[0]))

        def before_validate(self) -> None:
            """Not measured here."""
            from fastai.callback.core import CancelValidException

            raise CancelValidException

    made = learner(task)
    with made.no_bar(), made.no_logging():
        made.fit_one_cycle(task.epochs, RATE, cbs=[Tick()])
    pace.tell()


def finder(task: Task) -> None:
    """`lr_find`, to its end."""
    made = learner(task)
    with made.no_bar(), made.no_logging():
        used = cpu_seconds(lambda: made.lr_find(num_it=task.rates, stop_div=False, show_plot=False))
    say(value=used * 100 / task.rates)


def accuracies(task: Task) -> None:
    """A learner as its documents make one, after each epoch: `fine_tune`, or the head alone."""

    class Tell(Callback):
        """Tells of each epoch."""

        order = 60  # after the recorder

        def after_epoch(self) -> None:
            """Called after validation."""
            say(accuracy=float(self.recorder.values[-1][-1]))

    weights, held = {"file": task.weights}, "norms held" in task.options
    made = vision_learner(
        data(task),
        ARCHITECTURE,
        normalize=False,
        train_bn=not held,
        metrics=accuracy,
        path=task.scratch,
        pretrained_cfg_overlay=weights,
    )
    if held:
        shared.hold(made.model)
    with made.no_bar(), made.no_logging():
        if "fine_tune" in task.options:
            made.fine_tune(task.epochs - 1, cbs=[Tell()])
        else:
            made.fit_one_cycle(task.epochs, 2e-3, cbs=[Tell()])


if __name__ == "__main__":
    main()
