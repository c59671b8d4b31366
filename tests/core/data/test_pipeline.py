"""Drawing augmented views: the same from any place, and nothing else is disturbed; the preview shows just these."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from finetune_core.data.cache import decoded
from finetune_core.data.image import read_image
from finetune_core.data.loader import Batches
from finetune_core.data.pipeline import Pipeline, as_tensor, draw, eval_pipeline, mixed, train_pipeline
from finetune_core.data.preview import ladder, picture, preview
from finetune_core.errors import UserError
from finetune_core.parts import Call, Transform
from finetune_core.parts.sources.folders import list_folder
from finetune_core.parts.transforms import STANDARD
from finetune_core.recipe import Data, Recipe

ALL = tuple(part.replace(active=True) for part in STANDARD)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (37, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("transforms", [STANDARD, ALL], ids=["standard", "all"])
def test_a_draw_depends_on_seed_epoch_and_index_alone(transforms: tuple[Transform, ...]) -> None:
    first = draw(image(), train_pipeline(transforms, Data(image_size=32)), 1, 2, 3)
    torch.manual_seed(99)
    pipeline = train_pipeline(transforms, Data(image_size=32))
    draw(image(5), pipeline, 0, 0, 0)
    assert torch.equal(draw(image(), pipeline, 1, 2, 3), first)
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0), (2, 1, 3)):
        assert not torch.equal(draw(image(), pipeline, *other), first)


def test_a_draw_leaves_the_random_state_and_the_threads_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    draw(image(), train_pipeline(ALL, Data(image_size=32)), 0, 0, 0)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_a_draw_is_the_same_with_any_number_of_threads() -> None:
    large = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    pipeline = train_pipeline(ALL, Data(image_size=256))
    before = torch.get_num_threads()
    views = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        views.append(draw(large, pipeline, 0, 0, 0))
    torch.set_num_threads(before)
    assert torch.equal(*views)


def test_an_array_and_a_tensor_give_the_same_draw() -> None:
    pipeline = train_pipeline(STANDARD, Data(image_size=32))
    tensor = torch.from_numpy(image()).permute(2, 0, 1).contiguous()
    assert torch.equal(draw(image(), pipeline, 0, 0, 0), draw(tensor, pipeline, 0, 0, 0))


def test_the_cached_image_is_not_touched() -> None:
    pixels = image()
    for index in range(20):
        draw(pixels, train_pipeline(ALL, Data(image_size=32)), 0, 0, index)
    assert np.array_equal(pixels, image())


def test_neighbours_get_unlike_seeds() -> None:
    seeds = {mixed(seed, epoch, index) for seed in range(10) for epoch in range(10) for index in range(100)}
    assert len(seeds) > 9990
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize("size", [32, 64, 97, 128, 160, 224])
def test_evaluation_sees_the_middle_of_the_kept_image(size: int) -> None:
    side = Data(image_size=size).side
    pixels = np.random.default_rng(0).integers(0, 255, (side, side + 40, 3), dtype=np.uint8)
    view = eval_pipeline(Data(image_size=size))(torch.from_numpy(pixels).permute(2, 0, 1))
    top, left = round((side - size) / 2), round((side + 40 - size) / 2)
    assert np.array_equal(view.permute(1, 2, 0).numpy(), pixels[top : top + size, left : left + size])


def test_presizing_keeps_more_than_is_measured_on(images: Path) -> None:
    """Seed 003: decoded large, cropped from there; and the part that is measured on is one's own choice."""
    data = Data(image_size=32, crop_share=0.5, keep_side=100)
    assert (data.measured_side, data.side) == (64, 100)
    assert Data(image_size=32, crop_share=0.5, keep_side=40).side == 64, "no less than measuring needs"
    kept = decoded(list_folder(images), data.side)[0]
    assert min(kept.shape[:2]) == 100
    view = eval_pipeline(data)(as_tensor(kept))
    scaled = v2.functional.resize(as_tensor(kept), [64], antialias=True)
    assert torch.equal(view, v2.functional.center_crop(scaled, [32, 32]))
    crop = train_pipeline((STANDARD[0].replace(min_scale=0.05),), data)
    assert draw(kept, crop, 0, 0, 0).shape == (3, 32, 32)


def test_a_pipeline_of_the_wrong_size_is_a_bug_and_says_so() -> None:
    pipeline = Pipeline([Call("torchvision.transforms.v2.CenterCrop", (16,))], 32)
    with pytest.raises(ValueError, match="instead of size 32"):
        draw(image(), pipeline, 0, 0, 0)


def test_a_pipeline_can_be_sent_to_a_process() -> None:
    pipeline = train_pipeline(ALL, Data(image_size=32))
    copy = pickle.loads(pickle.dumps(pipeline))  # noqa: S301 - our own bytes
    assert torch.equal(draw(image(), copy, 0, 0, 0), draw(image(), pipeline, 0, 0, 0))


def test_the_preview_shows_the_very_pixels_of_training(tiny: Recipe, images: Path) -> None:
    recipe = tiny.model_copy(update={"augment": ALL})
    samples = list_folder(images)
    size, indices = recipe.data.image_size, [4, 17, 9]
    cached = decoded(samples, Data(image_size=size).side)
    pipeline = train_pipeline(recipe.augment, Data(image_size=size))
    batches = Batches(
        cached, np.asarray(samples.labels), indices, pipeline, 2, recipe.training.seed, shuffle=True, workers=0
    )
    rows = preview(recipe, indices, draws=2, epoch=3)
    for number in range(2):
        trained = {}
        for (views, _), order in zip(batches.epoch(3 + number), batches.order(3 + number), strict=True):
            trained.update(zip(order.tolist(), views, strict=True))
        for row, index in zip(rows, indices, strict=True):
            assert np.array_equal(np.asarray(row[1 + number]), np.asarray(picture(trained[index])))
    plain = eval_pipeline(Data(image_size=size))(torch.from_numpy(cached[4].copy()).permute(2, 0, 1))
    assert np.array_equal(np.asarray(rows[0][0]), np.asarray(picture(plain)))


def test_a_ladder_climbs_from_nothing_to_the_end(tiny: Recipe, images: Path) -> None:
    samples = list_folder(images)
    position = [part.kind for part in tiny.augment].index("hue_shift")
    rungs = ladder(tiny, 2, position, steps=3, samples=samples)
    assert [strength for strength, _ in rungs] == [0.0, 0.25, 0.5]
    framed = draw(read_image(samples.paths[2], Data(image_size=32).side), eval_pipeline(Data(image_size=32)), 0, 0, 2)
    changes = [np.abs(np.asarray(view, int) - np.asarray(picture(framed), int)).mean() for _, view in rungs]
    assert changes[0] < 1.5
    assert changes[1] > 2


@pytest.mark.parametrize("position", range(len(STANDARD)))
def test_every_transform_has_a_ladder(tiny: Recipe, position: int) -> None:
    least, most = STANDARD[position].ends()
    rungs = ladder(tiny, 0, position, steps=4)
    assert [rungs[0][0], rungs[-1][0]] == [least, most]
    assert all(view.size == (32, 32) for _, view in rungs)


def test_an_unreadable_image_in_the_preview_is_a_user_error(tiny: Recipe, images: Path) -> None:
    (images / "class_0" / "0.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"0\.png"):
        preview(tiny, [0], draws=1)
