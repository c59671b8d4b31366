"""torch-lr-finder's range test on the same network and loader."""

from __future__ import annotations

import contextlib
import os
import warnings

from torch import nn
from torch_lr_finder import LRFinder

from benchmarks.peers.sides import shared
from benchmarks.peers.task import cpu_seconds, given, say


def main() -> None:
    """To its end, whatever the loss does."""
    warnings.filterwarnings("ignore")
    task = given()
    module = shared.network(task)
    optimizer = shared.optimizer(module)
    optimizer.param_groups[0]["lr"] = 1e-7

    def test() -> None:
        finder = LRFinder(module, optimizer, nn.CrossEntropyLoss(), device=task.device)
        loader = shared.loader(task, keep=False)
        finder.range_test(loader, end_lr=10, num_iter=task.rates, diverge_th=float("inf"))

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        used = cpu_seconds(test)
    say(value=used * 100 / task.rates)


if __name__ == "__main__":
    main()
