"""Images of one and four channels: read, augmented, learned from, saved and predicted; weights adapted as timm does."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from finetune_core.data.cache import decoded
from finetune_core.data.image import read_image
from finetune_core.data.preview import preview
from finetune_core.errors import UserError
from finetune_core.network import build
from finetune_core.parts import Transform
from finetune_core.parts.modules import (
    AugMixAlpha,
    AutoAugmentAlpha,
    RandAugmentAlpha,
    TrivialAugmentAlpha,
    with_channels,
)
from finetune_core.parts.sources.folders import list_folder
from finetune_core.recipe import Model, Recipe
from finetune_core.runs import preflight, store
from finetune_core.runs.work.worker import work
from finetune_core.training import session
from finetune_core.understand import predict

AUTOMATIC = {
    "rand_augment": RandAugmentAlpha,
    "trivial_augment": TrivialAugmentAlpha,
    "auto_augment": AutoAugmentAlpha,
    "aug_mix": AugMixAlpha,
}
GLASS = (200, 40, 10, 64)  # a colour that lets a lot through


@pytest.fixture
def clear(tmp_path: Path) -> Path:
    """Discs of a colour per class on nothing."""
    for label, colour in enumerate(((255, 0, 0), (0, 0, 255))):
        folder = tmp_path / "clear" / f"class_{label}"
        folder.mkdir(parents=True)
        for number in range(6):
            pixels = np.zeros((48, 48, 4), np.uint8)
            pixels[8 : 30 + number, 8:40] = (*colour, 255)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "clear"


def with_images(recipe: Recipe, folder: Path, channels: int) -> Recipe:
    return recipe.with_value("data.source.path", str(folder)).with_value("data.channels", channels)


class TestReading:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_what_each_number_of_channels_means(self, channels: int) -> None:
        glass = Image.new("RGBA", (40, 30), GLASS)
        on_white = [round(value * 64 / 255 + 255 * (1 - 64 / 255)) for value in GLASS[:3]]
        grey = round(np.dot(on_white, (0.299, 0.587, 0.114)))
        expected = {1: [grey], 3: on_white, 4: GLASS}[channels]
        pixels = read_image(glass, 15, channels)
        assert pixels.shape == (15, 20, channels)
        assert np.abs(pixels.astype(int) - expected).max() <= 2

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "CMYK", "I;16", "F"])
    def test_every_kind_of_file(self, mode: str) -> None:
        image = Image.new("RGB", (20, 20), "white").convert("L" if mode in ("I;16", "F") else mode)
        image = image.convert(mode) if mode == "F" else image
        for channels in (1, 4):
            assert read_image(image, 10, channels).shape == (10, 10, channels)
            assert (read_image(image, 10, channels) == 255).all()

    def test_the_cache_keeps_them_apart(self, clear: Path) -> None:
        samples = list_folder(clear)
        for channels in (1, 3, 4, 3):
            images = decoded(samples, 24, channels=channels)
            for index in (0, 7, 11):
                assert np.array_equal(images[index], read_image(samples.paths[index], 24, channels))


@pytest.mark.parametrize("part", Transform.kinds().values(), ids=Transform.kinds())
class TestTransforms:
    def drawn(self, part: type[Transform], image: torch.Tensor, seed: int) -> torch.Tensor:
        always = {"chance": 1.0} if "chance" in part.model_fields else {}
        made = part(**always).call(32, len(image)).build()
        torch.manual_seed(seed)
        return made(image)

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_it_works_on_any_channels(self, part: type[Transform], channels: int) -> None:
        image = torch.randint(60, 190, (channels, 32, 32), dtype=torch.uint8)
        drawn = [self.drawn(part, image, seed) for seed in range(12)]
        assert {(tuple(view.shape), view.dtype) for view in drawn} == {((channels, 32, 32), torch.uint8)}
        changed = any(not torch.equal(view, image) for view in drawn)
        assert changed != (part.needs_colour and channels == 1), "grey images are only left alone where it says so"

    def test_alpha_follows_what_moves_and_nothing_else(self, part: type[Transform]) -> None:
        """Where alpha is a copy of a grey picture, moving both keeps them equal; a change of colour leaves it."""
        image = torch.randint(60, 190, (1, 32, 32), dtype=torch.uint8).repeat(4, 1, 1)
        for seed in range(12):
            view = self.drawn(part, image, seed)
            moved = torch.equal(view[3], view[0])
            covered = part.kind in ("random_erasing", *AUTOMATIC) and (view[3] > 190).any()  # alpha 255 fills
            covered = covered or part.kind == "aug_mix"  # which mixes what it moved with what it did not: see below
            assert moved or torch.equal(view[3], image[3]) or covered


@pytest.mark.parametrize(("kind", "ours"), AUTOMATIC.items())
def test_automatic_augmentation_does_to_colours_what_torchvisions_does(kind: str, ours: type) -> None:
    image = torch.randint(0, 255, (4, 32, 32), dtype=torch.uint8)
    torchvisions = ours.__mro__[2]
    assert torchvisions.__module__.startswith("torchvision"), kind
    both, alphas = (ours(fill=[1, 2, 3, 255]), torchvisions(fill=[1, 2, 3])), []
    for seed in range(40):
        torch.manual_seed(seed)
        drawn = both[0](image)
        torch.manual_seed(seed)
        assert torch.equal(drawn[:3], both[1](image[:3]))
        alphas.append(torch.equal(drawn[3], image[3]))
    assert {*alphas} == {True, False} or kind == "aug_mix", "it moves with the picture, or stays"


class TestWeights:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), tmp_path / "weights.safetensors")
        return tmp_path / "weights.safetensors"

    @pytest.mark.parametrize("channels", [1, 4])
    def test_they_are_adapted_as_timm_does_it(self, file: Path, channels: int) -> None:
        weights = {"kind": "file", "path": str(file)}
        chosen = Model.model_validate({"backbone": {"architecture": "resnet10t", "kind": "timm", "weights": weights}})
        ours = build.build(chosen, 7, channels=channels)
        overlay = {"file": str(file), "num_classes": 7}
        loading = {"pretrained": True, "pretrained_cfg_overlay": overlay, "num_classes": 7, "in_chans": channels}
        theirs, found = timm.create_model("resnet10t", **loading).state_dict(), ours.module.state_dict()
        assert {name: value.shape for name, value in found.items()} == {n: value.shape for n, value in theirs.items()}
        for name in theirs:
            if not name.startswith("fc."):
                assert torch.equal(found[name], theirs[name]), name

    def test_grey_images_are_seen_as_in_three_equal_channels(self) -> None:
        network = torchvision.models.resnet18().eval()
        grey = torch.randn(2, 1, 64, 64)
        with torch.no_grad():
            before = network(grey.repeat(1, 3, 1, 1))
            torch.testing.assert_close(with_channels(network, 1)(grey), before, rtol=1e-4, atol=1e-4)
        assert network.conv1.in_channels == 1

    def test_normalisation_is_of_each_channel(self) -> None:
        chosen = Model.model_validate({"backbone": {"kind": "torchvision", "weights": {"kind": "random"}}})
        grey, clear = (build.build(chosen, 3, channels=channels) for channels in (1, 4))
        assert grey.mean == pytest.approx((0.449,))
        assert grey.std == pytest.approx((0.226,))
        assert (clear.mean, clear.std) == ((0.485, 0.456, 0.406, 1.0), (0.229, 0.224, 0.225, 0.5))

    @pytest.mark.parametrize(("library", "architecture"), [("torchvision", "googlenet"), ("timm", "csatv2")])
    def test_networks_that_know_colours_by_themselves_say_so(self, library: str, architecture: str) -> None:
        backbone = {"kind": library, "architecture": architecture, "weights": {"kind": "random"}}
        with pytest.raises(UserError, match=f"{architecture} cannot take grey images"):
            build.build(Model.model_validate({"backbone": backbone}), 3, channels=1)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(
    ("library", "architecture", "head"),
    [("timm", "test_resnet", "concat_pool"), ("torchvision", "squeezenet1_1", "linear")],
    ids=["timm", "torchvision"],
)
def test_a_run_on_such_images(
    tiny: Recipe, clear: Path, library: str, architecture: str, head: str, channels: int
) -> None:
    chosen = {"kind": library, "architecture": architecture, "weights": {"kind": "random"}}
    recipe = with_images(tiny, clear, channels).with_value("phases.0.epochs", 1)
    recipe = recipe.with_value("model", {"backbone": chosen, "head": {"kind": head}})
    run = store.create(recipe.replace(augment=tuple(part.replace(active=True) for part in recipe.augment)))
    assert work(run) == 0
    made = session.prepare(run.recipe)
    images, _ = next(made.valid.epoch(0))
    assert images.shape[1] == channels
    assert made.normalised(images).shape == images.shape
    restored = build.restore(recipe.model, 2, run.best)
    assert restored.channels == channels
    made.network.module.load_state_dict(restored.module.state_dict())
    outputs = [network.module.eval()(made.normalised(images)) for network in (made.network, restored)]
    assert torch.equal(*outputs)
    seen = predict.load(run)([made_image(run.recipe, 0), Path(list_folder(clear).paths[0])])
    assert seen[0] == seen[1]
    again = {"kind": "checkpoint", "path": str(run.best)}
    gone_on = build.build(recipe.model.replace(backbone={**chosen, "weights": again}), 2, channels=channels)
    assert torch.equal(gone_on.module.eval()(made.normalised(images)), outputs[1])


def made_image(recipe: Recipe, index: int) -> Image.Image:
    return Image.open(recipe.data.source.samples().paths[index])


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_the_preview_shows_what_the_model_sees(tiny: Recipe, clear: Path, channels: int, mode: str) -> None:
    ((original, *drawn),) = preview(with_images(tiny, clear, channels), [0], 2)
    assert {picture.mode for picture in (original, *drawn)} == {mode}


def test_preflight_names_what_needs_colour(tiny: Recipe) -> None:
    recipe = tiny.replace(augment=tuple(part.replace(active=True) for part in tiny.augment))
    assert not [finding for finding in preflight.findings(recipe) if "grey" in finding.text]
    recipe = recipe.with_value("data.channels", 1)
    found = [finding for finding in preflight.findings(recipe) if "grey" in finding.text]
    assert [finding.text.split()[0] for finding in found] == ["Hue", "Grey"]
    for finding in found:
        assert finding.mend
        recipe = recipe.with_value(finding.mend.path, finding.mend.value)
    assert not [finding for finding in preflight.findings(recipe) if "grey" in finding.text]
