"""Lightning's Trainer around the same network and loader."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.peers.sides import shared
from benchmarks.peers.task import Pace, Task, given


class Module(LightningModule):
    """The network as Lightning wants it."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.net, self.pace = shared.network(task), Pace(task.epochs)

    def on_fit_start(self) -> None:
        """Called before the loader starts."""
        self.pace.begin()

    def on_train_epoch_start(self) -> None:
        """Called before every epoch, in the first once images are being made."""
        if self.current_epoch:
            self.pace.begin()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """The loss of a batch."""
        images, labels = batch
        return cross_entropy(self.net(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """As everybody's."""
        return shared.optimizer(self.net)

    def on_train_batch_end(self, outputs: Any, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Called after the step; its loss is read, as one does who wants to see it."""
        float(outputs["loss"])
        self.pace.tick(self.current_epoch, len(batch[0]))


def main() -> None:
    """Training steps alone."""
    task = given()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = Module(task)
    module.train()
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    device = "gpu" if task.device == "cuda" else "cpu"
    trainer = Trainer(
        accelerator=device,
        devices=1,
        max_epochs=task.epochs,
        enable_model_summary=False,
        default_root_dir=task.scratch,
        **quiet,
    )
    trainer.fit(module, shared.loader(task))
    module.pace.tell()


if __name__ == "__main__":
    main()
