"""What an exported model sees is what the run's own model sees: compared pixel by pixel with Pillow and torchvision."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from finetune_core.data.image import read_image
from finetune_core.data.pipeline import eval_pipeline
from finetune_core.errors import UserError
from finetune_core.export import deployed, reading
from finetune_core.network import build
from finetune_core.parts.tasks import targets_from
from finetune_core.recipe import Data, Recipe
from finetune_core.understand.predict import Predictor

FAMILIES = {  # the smallest of each, some in one program, since what is before the network takes longest to trace
    "convolutions": (
        "test_resnet",
        "mobilenetv2_035",
        "mobilenetv3_small_050",
        "test_efficientnet",
        "regnetx_002",
        "squeezenet1_1",
    ),
    "others": ("test_convnext", "test_vit", "swin_tiny_patch4_window7_224", "densenet121", "vgg11"),
}
SIZES = ((64, 48), (48, 64), (225, 100), (100, 225), (333, 51), (51, 333), (17, 17), (640, 427), (301, 1), (2, 3))


def _photo(size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Smooth colours with hard edges: what scaling can get wrong."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (9, 7, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.array(small)
    pixels[:: max(2, size[1] // 5)] = random.integers(0, 256, 3, np.uint8)
    return Image.fromarray(pixels).convert(mode)


def _predictor(recipe: Recipe, names: int = 3) -> Predictor:
    torch.manual_seed(0)
    network = build.build(recipe.model, names, image_size=recipe.data.image_size)
    network.module.eval()
    targets = targets_from("single_label", [f"class {number}" for number in range(names)], [*range(names)])
    return Predictor(network, targets, recipe.data, torch.device("cpu"))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "data", [Data(image_size=32), Data(image_size=50, crop_share=0.9, keep_side=120), Data(image_size=64, crop_share=1)]
)
def test_the_pixels_are_those_of_the_run_to_the_last_bit(tmp_path: Path, data: Data, mode: str) -> None:
    channels = len(Image.new(mode, (1, 1)).getbands())
    for number, size in enumerate(SIZES):
        file = tmp_path / f"{number}.png"
        _photo(size, mode, number).save(file)
        pixels = torch.from_numpy(read_image(file, data.side, channels)).permute(2, 0, 1)
        own = eval_pipeline(data)(pixels).double()
        picture = torch.from_numpy(reading.picture(file, channels, data.side)).permute(2, 0, 1).unsqueeze(0).double()
        seen = deployed.middle(deployed.scaled(picture, data.side, data.measured_side), data.image_size)[0]
        if min(size) > 4 * data.side:  # Pillow averages whole blocks first
            assert (seen - own).abs().mean() < 1, size
        else:
            assert torch.equal(seen, own), size


def test_halves_are_rounded_as_python_rounds_them() -> None:
    for value in range(200):
        for by in range(1, 20):
            assert deployed._rounded(value, by) == round(value / by)


def test_turned_transparent_and_palette_pictures_are_seen_as_in_training(odd_photos: list[Path]) -> None:
    data = Data(image_size=32)
    for file in odd_photos:
        own = eval_pipeline(data)(torch.from_numpy(read_image(file, data.side)).permute(2, 0, 1)).double()
        picture = torch.from_numpy(reading.picture(file, 3, data.side)).permute(2, 0, 1).unsqueeze(0).double()
        seen = deployed.middle(deployed.scaled(picture, data.side, data.measured_side), data.image_size)[0]
        assert torch.equal(seen, own), file


def test_a_program_takes_pictures_of_any_size_and_answers_as_the_network(tiny: Recipe) -> None:
    predictor = _predictor(tiny)
    program = deployed.program(predictor).module()
    for size in SIZES[:6]:
        picture = torch.from_numpy(np.array(_photo(size)))
        with torch.no_grad():
            own = deployed.Deployed(predictor)(picture)
            torch.testing.assert_close(program(picture), own, rtol=0, atol=1e-6)
        assert float(own.sum()) == pytest.approx(1)


def test_a_network_that_cannot_be_traced_is_refused_in_words(tiny: Recipe) -> None:
    class Moody(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))

    predictor = _predictor(tiny)
    predictor.network.module = Moody()
    with pytest.raises(UserError, match="cannot be taken away as a program"):
        deployed.program(predictor)


class Several(torch.nn.Module):
    """Networks beside each other on the same images."""

    def __init__(self, networks: list[torch.nn.Module]) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([network(images) for network in self.networks], 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_families_answer_alike_in_onnx(tiny: Recipe, tmp_path: Path, kind: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from finetune_core.export.formats import FORMATS, Making
    from finetune_core.runs.store import Run

    networks = []
    for architecture in FAMILIES[kind]:
        library = "torchvision" if architecture == "squeezenet1_1" else "timm"
        backbone = {"kind": library, "architecture": architecture, "weights": {"kind": "random"}}
        recipe = tiny.with_value("model.backbone", backbone).with_value("data.image_size", 224)
        networks.append(_predictor(recipe).network.module)
    predictor = _predictor(recipe, 3 * len(networks))
    predictor.network.module = Several(networks).eval()
    FORMATS["onnx"].write(Making(Run(tmp_path), predictor, (), weights=""), tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    whole = deployed.Deployed(predictor)
    for number, size in enumerate(((300, 200), (190, 301))):
        picture = np.array(_photo(size, seed=number))
        with torch.no_grad():
            own = whole(torch.from_numpy(picture)).numpy()
        [found] = session.run(None, {"picture": picture})
        assert np.abs(found - own).max() < 1e-5
