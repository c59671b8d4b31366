r"""The learning-rate finder against fastai's `lr_find` and torch-lr-finder's: the same losses, step by step.

    python benchmarks/finder_vs_peers.py PEERS_FOLDER

All three sweep the same tiny network from the same weights over the same batches, with SGD and with AdamW. The peers
are no dependencies of Thaw. They are put into a folder of their own, beside the torch that is there:

    pip install --no-deps --target PEERS_FOLDER fastai==2.8.12 "plum-dispatch<2.10" python-fasthtml fastcore \
        fastprogress fasttransform fastdownload beartype torch-lr-finder==0.2.2 matplotlib contourpy cycler fonttools \
        kiwisolver pyparsing scipy scikit-learn joblib threadpoolctl cloudpickle

Prints the largest difference between losses (it must stay below 1e-4) and each one's suggestions; exit code 1 if not.
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from finetune_core.finder import range_test, sweep  # noqa: E402
from finetune_core.finder.suggest import suggest  # noqa: E402
from finetune_core.recipe import Recipe, parse  # noqa: E402
from finetune_core.training import session  # noqa: E402

STEPS = 100
TOLERANCE = 1e-4
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.0}),
    "adamw": (torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
}


def recipe(images: Path, optimizer: str) -> Recipe:
    """A tiny network, all of it thawed, on tiny images."""
    return parse(
        {
            "data": {"source": {"kind": "folder", "path": str(images)}, "image_size": 32, "valid_share": 0.25},
            "model": {"backbone": {"kind": "timm", "architecture": "test_resnet", "weights": {"kind": "random"}}},
            "phases": [{"thaw": ["*"]}],
            "training": {
                "batch_size": 16,
                "device": "cpu",
                "optimizer": {"kind": optimizer, "weight_decay": 0.0},
            },
        }
    )


def paint(folder: Path, classes: int = 4, each: int = 60) -> None:
    """Noisy images whose classes differ by colour and brightness."""
    random = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class_{label}").mkdir(parents=True)
        for number in range(each):
            pixels = random.integers(0, 160, (40, 40, 3), dtype=np.uint8)
            pixels[..., label % 3] += 40 + 15 * (label // 3)
            Image.fromarray(pixels).save(folder / f"class_{label}" / f"{number}.png")


def batches(made: session.Session, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What our finder trains on, step by step: normalised images and labels."""
    return [(made.normalised(images), labels) for images, labels in itertools.islice(made.train.epoch(0), count)]


def ours(made: session.Session, steps: int) -> tuple[list[float], list[float]]:
    """Rates and raw losses of Thaw's finder."""
    found = list(range_test.range_test(made, sweep=sweep.Sweep(steps=steps)))
    return [record.lr for record in found], [record.loss for record in found]


def fastai(made: session.Session, optimizer: str) -> tuple[list[float], list[float], str]:
    """The same from fastai, and its suggestions. Its rates stop one step short of the end."""
    from fastai.callback.core import Callback
    from fastai.callback.schedule import minimum, slide, steep, valley
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    rates: list[float] = []
    losses: list[float] = []

    class Listen(Callback):
        """Notes the losses before fastai smooths them."""

        def after_loss(self) -> None:
            """Called after the forward pass."""
            rates.append(self.learn.opt.hypers[-1]["lr"])
            losses.append(float(self.learn.loss_grad.detach()))

    loader = DataLoader(batches(made, STEPS), batch_size=None)  # type: ignore[arg-type]
    kind, options = OPTIMIZERS[optimizer]
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(loader, loader),
            copy.deepcopy(made.network.module),
            loss_func=made.loss,
            opt_func=partial(OptimWrapper, opt=kind, **options),
            cbs=[Listen()],
            path=folder,
        )
        with learner.no_bar(), learner.no_logging():
            functions = (steep, minimum, valley, slide)
            said = learner.lr_find(num_it=STEPS, stop_div=True, show_plot=False, suggest_funcs=functions)
    return rates, losses, ", ".join(f"{name} {rate:.2g}" for name, rate in zip(said._fields, said, strict=True))


def lr_finder(made: session.Session, optimizer: str) -> tuple[list[float], list[float]]:
    """The same from torch-lr-finder."""
    from torch_lr_finder import LRFinder

    module = copy.deepcopy(made.network.module)
    kind, options = OPTIMIZERS[optimizer]
    finder = LRFinder(module, kind(module.parameters(), lr=sweep.LOW, **options), made.loss, device="cpu")
    loader = DataLoader(batches(made, STEPS), batch_size=None)  # type: ignore[arg-type]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder.range_test(loader, end_lr=sweep.HIGH, num_iter=STEPS, smooth_f=0, diverge_th=float("inf"))
    return finder.history["lr"], finder.history["loss"]


def difference(name: str, mine: tuple[list[float], list[float]], theirs: tuple[Any, Any]) -> float:
    """Print and return the largest difference over the steps that both took."""
    steps = min(len(mine[0]), len(theirs[0]))
    rates, losses = (np.abs(np.array(m[:steps]) - np.array(t[:steps])) for m, t in zip(mine, theirs, strict=True))
    relative = float((rates / np.array(mine[0][:steps])).max())
    print(f"  {name:16} {steps} steps   rates differ by {relative:.1e} (relative)   losses by {losses.max():.1e}")
    return float(losses.max())


def compare(images: Path, optimizer: str) -> float:
    """Run all three with one optimizer; returns the largest difference."""
    made = session.prepare(recipe(images, optimizer))
    print(f"{optimizer}:")
    whole = ours(made, STEPS)
    *curve, said = fastai(made, optimizer)
    # fastai reaches the highest rate one step after the last
    found = difference("fastai", ours(made, STEPS + 1), (curve[0], curve[1]))
    found = max(found, difference("torch-lr-finder", whole, lr_finder(made, optimizer)))
    mine = suggest(*whole, batches=made.train.steps)
    picks = {"steep": mine.steepest, "minimum": mine.minimum_tenth, "valley": mine.valley, "slide": mine.slide}
    print("  Thaw suggests    " + ", ".join(f"{name} {rate:.2g}" for name, rate in picks.items() if rate))
    print(f"  {'':16} {mine.confidence} confidence. {mine.why} {mine.note}")
    print(f"  fastai suggests  {said}")
    return found


def main() -> int:
    """Compare with both optimizers."""
    sys.path.append(sys.argv[1])
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        paint(images)
        worst = max(compare(images, optimizer) for optimizer in OPTIMIZERS)
    print(f"largest difference {worst:.1e}; allowed {TOLERANCE:.0e}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
