"""Ways to take a run's model away: what each is good for, and how it is written. Importing this needs no torch.

Each carries its preprocessing inside: what is left outside is what makes exported models answer otherwise.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from finetune_core.data.image import DAMAGED
from finetune_core.errors import UserError
from finetune_core.wording import few

if TYPE_CHECKING:
    from finetune_core.records import Count
    from finetune_core.runs.store import Run
    from finetune_core.understand.predict import Predictor

OPSET = 20  # of ONNX: the first that has all that scaling needs; onnxruntime 1.17 (2024) and newer run it
QUANTISED = ["Conv", "MatMul", "Gemm"]  # what takes nearly all time and room; the rest stays as it is


@dataclass(frozen=True)
class Making:
    """What a format is made of: the run, its model on the CPU, and some pictures that it has learned from."""

    run: Run
    predictor: Predictor
    pictures: Sequence[Path]
    weights: str  # which they are: see `checked.weights_of`


class Format(ABC):
    """One way to take a model away."""

    key: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    file: ClassVar[str]  # the model's name in the zip file
    packages: ClassVar[tuple[str, ...]] = ()  # that make it, beside torch
    install: ClassVar[str]  # what runs it elsewhere

    def check_packages(self) -> None:
        """A UserError where something is not installed."""
        if missing := [each for each in self.packages if find_spec(each) is None]:
            raise UserError(
                f"{self.title} cannot be made: {few(missing)} is not installed.",
                hint=f"Install it: pip install {' '.join(missing)}",
            )

    def prepare(self, count: Count) -> None:
        """What comes from elsewhere, before work begins; `count` hears of a download."""
        return

    @abstractmethod
    def write(self, making: Making, folder: Path) -> None:
        """Write the model into the folder. A UserError where the network does not allow it."""

    def finish(self, making: Making, folder: Path) -> None:
        """What is left to do once the model was checked."""
        return

    @property
    def use(self) -> str:
        """How it is used elsewhere, in Markdown."""
        return f"    pip install {self.install}\n    python look.py PICTURE"

    @abstractmethod
    def asking(self, making: Making) -> str:
        """Code that opens the model, which lies in the folder HERE, with a function `answers(file)`: see `looking`."""


class Onnx(Format):
    """The exchange format."""

    key = "onnx"
    title = "ONNX"
    help = "Runs without PyTorch: on servers, phones, in browsers, from many languages."
    file = "model.onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")
    install = "onnxruntime pillow pillow-heif numpy"

    def write(self, making: Making, folder: Path) -> None:
        """By torch.onnx, from the program that torch.export makes."""
        import torch

        from finetune_core.export import deployed

        traced = deployed.program(making.predictor)
        try:
            with deployed.usual_products():
                made: Any = torch.onnx.export(
                    traced, dynamo=True, opset_version=OPSET, output_names=["answers"], verbose=False, optimize=True
                )
        except Exception as error:  # an operator without a translation raises whatever its author chose
            raise _not_said("as ONNX", "Not all that it does can be said in ONNX", error) from error
        targets = making.predictor.targets
        said = {"thresholds": json.dumps(targets.thresholds)} if targets.thresholds else {}
        made.model.metadata_props.update(names=json.dumps(targets.names), task=targets.task, **said)
        made.save(folder / self.file)

    def asking(self, making: Making) -> str:
        """By onnxruntime."""
        from finetune_core.export import looking

        return looking.in_onnx(self.file, making.predictor)


class WebPage(Onnx):
    """The same inside a page."""

    key = "web"
    title = "Web page"
    help = "A folder to open in a browser, without a network: drop a picture, or use the camera, and see the guesses."
    install = "a browser"

    def prepare(self, count: Count) -> None:
        """What runs models in browsers."""
        from finetune_core.export import web

        web.runtime(count)

    def finish(self, making: Making, folder: Path) -> None:
        """The page; a program for Python has no use beside it."""
        from finetune_core.export import play, web

        web.write(folder, folder / self.file, play.known(making.run, making.predictor))
        (folder / "look.py").unlink()

    @property
    def use(self) -> str:
        """By a click."""
        return "Open `index.html` in a browser. Nothing is loaded from elsewhere, and no picture leaves the machine."


class SmallOnnx(Onnx):
    """The same in eight bits."""

    key = "int8"
    title = "ONNX, 8 bits"
    help = "A quarter of the size, often quicker on small machines. It answers a little otherwise: see how much."

    def write(self, making: Making, folder: Path) -> None:
        """Quantised: ranges of activations from training pictures, a range of weights for each channel."""
        from onnxruntime import quantization

        super().write(making, folder)
        whole, ready = folder / "whole.onnx", folder / "ready.onnx"
        (folder / self.file).rename(whole)
        try:
            quantization.quant_pre_process(whole, ready, skip_symbolic_shape=True)
            quantization.quantize_static(
                ready,
                folder / self.file,
                _Pictures(making),
                op_types_to_quantize=QUANTISED,
                per_channel=True,
                reduce_range=True,  # else products overflow on processors without VNNI
            )
        except Exception as error:  # of whatever kind its passes raise
            raise _not_said("in 8 bits", "onnxruntime cannot quantise it", error) from error
        finally:
            for draft in (whole, ready):
                draft.unlink(missing_ok=True)


class TorchProgram(Format):
    """A program of torch.export."""

    key = "torch"
    title = "PyTorch program"
    help = "One file that PyTorch runs without any code of the network: to go on in Python, or to compile further."
    file = "model.pt2"
    install = "torch pillow pillow-heif numpy"

    def write(self, making: Making, folder: Path) -> None:
        """By torch.export."""
        import torch

        from finetune_core.export import deployed

        torch.export.save(deployed.program(making.predictor), folder / self.file)

    def asking(self, making: Making) -> str:
        """By torch alone."""
        from finetune_core.export import looking

        return looking.in_program(self.file, making.predictor)


class Weights(Format):
    """Weights, with code for the network around them."""

    key = "weights"
    title = "Weights and code"
    help = "The weights as safetensors, and the network around them in plain PyTorch: to train on, or to take it apart."
    file = "model.safetensors"
    install = "torch torchvision timm safetensors pillow pillow-heif numpy"

    def write(self, making: Making, folder: Path) -> None:
        """As the run has kept them."""
        (folder / self.file).write_bytes(making.run.best.read_bytes())

    def asking(self, making: Making) -> str:
        """The network by its library's constructor, its preprocessing as functions."""
        from finetune_core.export import looking

        return looking.in_torch(self.file, making.run, making.predictor)


FORMATS: dict[str, Format] = {each.key: each for each in (Onnx(), WebPage(), SmallOnnx(), TorchProgram(), Weights())}


def _not_said(how: str, what: str, error: Exception) -> UserError:
    first = str(error).strip().partition("\n")[0]
    return UserError(
        f"This network cannot be taken away {how}.", f"{what}: {first[:200]}", "Take it as a PyTorch program instead."
    )


class _Pictures:
    """Pictures one after another, as onnxruntime asks for them while it measures ranges."""

    def __init__(self, making: Making) -> None:
        self._next = self._each(making)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._next, None)

    def _each(self, making: Making) -> Iterator[dict[str, Any]]:
        from finetune_core.export import reading

        predictor = making.predictor
        for file in making.pictures:
            with suppress(*DAMAGED):  # training has left it out, too
                yield {"picture": reading.picture(file, predictor.network.channels, predictor.data.side)}
