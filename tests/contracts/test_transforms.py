"""What every transform promises: its size, its kind, its code, its strength; looped over the registry."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from finetune_core.data.pipeline import draw, one_thread, train_calls, train_pipeline
from finetune_core.parts import Transform
from finetune_core.parts.transforms import PRESETS, STANDARD
from finetune_core.recipe import Data

KINDS = [pytest.param(part, id=kind) for kind, part in Transform.kinds().items()]
SIZE = 32


def photo(height: int = 40, width: int = 60) -> Tensor:
    """Soft shapes and some grain, away from black and white, as photos have them."""
    y, x = np.mgrid[0:height, 0:width] / 10
    channels = [128 + 60 * np.sin(x + phase) * np.cos(y * (1 + phase)) for phase in (0.0, 0.7, 1.9)]
    grain = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return torch.from_numpy((np.stack(channels, -1) + grain).clip(20, 235).astype(np.uint8)).permute(2, 0, 1)


def settings(part: type[Transform]) -> list[Transform]:
    """The defaults, everything at its lowest and at its highest, and a step inside."""
    knobs = [knob for knob in part.knobs() if knob.low is not None and knob.high is not None]
    low = {knob.name: int(knob.low) if knob.type == "int" else knob.low for knob in knobs if knob.low is not None}
    high = {knob.name: int(knob.high) if knob.type == "int" else knob.high for knob in knobs if knob.high is not None}
    return [part(), part.model_validate(low), part.model_validate(high)]


@pytest.mark.parametrize("part", KINDS)
@pytest.mark.parametrize("size", [32, 97])
def test_the_image_keeps_its_size_and_kind_at_any_setting(part: type[Transform], size: int) -> None:
    for made in settings(part):
        pipeline = train_pipeline((made,), Data(image_size=size))
        for index, shape in enumerate([(40, 60), (60, 40), (130, 130), (37, 37 * 4)]):
            view = draw(photo(*shape), pipeline, 0, 0, index)
            assert view.shape == (3, size, size)
            assert view.dtype == torch.uint8


@pytest.mark.parametrize("part", KINDS)
def test_the_code_does_what_the_transform_does(part: type[Transform]) -> None:
    image = photo() if part.frames else photo(SIZE, SIZE)
    for made in settings(part):
        call = made.call(SIZE)
        shown = eval(call.code(), {"torch": torch, "nn": nn, "v2": v2})
        for seed in range(5):
            views = []
            for transform in (call.build(), shown):
                torch.manual_seed(seed)
                views.append(transform(image))
            assert torch.equal(*views)


@pytest.mark.parametrize("part", KINDS)
def test_one_knob_is_the_strength(part: type[Transform]) -> None:
    knob = next(knob for knob in part.knobs() if knob.name == part.strength)
    least, most = part.ends()
    assert {least, most} == {knob.low, knob.high}
    assert not knob.more
    assert 2 <= len(part.knobs()) <= 4, "on or off, and one to three more"


def change(part: type[Transform], strength: float) -> float:
    """The mean change of a pixel, over some draws, against the image that was only framed."""
    knob = next(knob for knob in part.knobs() if knob.name == part.strength)
    made = part.model_validate({part.strength: int(strength) if knob.type == "int" else strength})
    if "chance" in part.model_fields and part.strength != "chance":
        made = made.replace(chance=1.0)
    image = photo(64, 64)
    plain = v2.Resize((SIZE, SIZE), antialias=True)(image)
    small = image if part.frames else plain
    pipeline = made.call(SIZE).build()
    views = [draw(small, pipeline, 0, 0, index) for index in range(16)]
    return float(torch.stack([(view.float() - plain.float()).abs().mean() for view in views]).mean())


@pytest.mark.parametrize("part", KINDS)
def test_the_strength_goes_from_hardly_anything_to_much(part: type[Transform]) -> None:
    least, most = part.ends()
    weakest, strongest = change(part, least), change(part, most)
    # Some changes of the automatic lists know no strength, and JPEG thins out colour at any quality
    if part.kind not in ("rand_augment", "aug_mix", "jpeg"):
        assert weakest < (8 if part.frames else 1.5)
    assert strongest > weakest + 1


@pytest.mark.parametrize("kind", ["rotation", "perspective"])
def test_no_black_corner_shows(kind: str) -> None:
    bright = torch.full((3, SIZE, SIZE), 200, dtype=torch.uint8)
    for made in settings(Transform.kinds()[kind]):
        pipeline = train_pipeline((made,), Data(image_size=SIZE))
        for index in range(20):
            assert draw(bright, pipeline, 0, 0, index).min() >= 198


@pytest.mark.parametrize("part", KINDS)
def test_every_transform_says_what_it_teaches(part: type[Transform]) -> None:
    assert "teaches" in part.about()
    assert len((part.__doc__ or "").split("\n\n")) > 1, "and when it harms"


@pytest.mark.parametrize("part", KINDS)
def test_nonsense_is_refused(part: type[Transform]) -> None:
    for knob in part.knobs():
        if knob.type in ("float", "int") and knob.low is not None and knob.high is not None:
            for value in (knob.low - 1, knob.high + 1, float("nan"), float("inf"), "much"):
                with pytest.raises(ValueError, match=knob.name):
                    part.model_validate({knob.name: value})


def test_the_standard_stack_offers_a_dozen_and_begins_moderately() -> None:
    """Exactly these: a new transform is added by who wants it, and does not change what a fresh recipe is."""
    assert [(part.kind, part.active) for part in STANDARD] == [
        ("random_resized_crop", True),
        ("horizontal_flip", True),
        ("vertical_flip", False),
        ("rotation", False),
        ("perspective", False),
        ("light", True),
        ("hue_shift", False),
        ("grayscale", False),
        ("auto_contrast", False),
        ("gaussian_blur", False),
        ("rand_augment", False),
        ("random_erasing", False),
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_make_pictures_of_the_right_size(name: str) -> None:
    preset = PRESETS[name]
    pipeline = train_pipeline(preset.transforms, Data(image_size=SIZE))
    assert draw(photo(), pipeline, 0, 0, 0).shape == (3, SIZE, SIZE)
    assert preset.help.endswith(".")
    assert all(part.active for part in preset.transforms) or name == "standard"


def test_framing_comes_first_and_is_there_without_a_crop() -> None:
    crop, flip = STANDARD[0], STANDARD[1]
    assert train_calls((flip, crop), Data(image_size=SIZE)) == train_calls((crop, flip), Data(image_size=SIZE))
    framed = [call.code() for call in train_calls((flip, crop.replace(active=False)), Data(image_size=SIZE))]
    assert framed == ["v2.Resize(37, antialias=True)", "v2.CenterCrop(32)", "v2.RandomHorizontalFlip(p=0.5)"]
    with one_thread():
        assert train_pipeline((), Data(image_size=SIZE))(photo()).shape == (3, SIZE, SIZE)
