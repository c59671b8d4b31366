"""Images of more than 8 bits: one range for a data set, and the same picture wherever it is looked at."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from finetune_core.data import cache, sheet
from finetune_core.data.depth import Depth, extent, fitting, kind_of
from finetune_core.data.image import is_deep, read_image
from finetune_core.data.pipeline import as_tensor, eval_pipeline
from finetune_core.data.preview import preview
from finetune_core.parts.sources.folders import list_folder
from finetune_core.recipe import Data, Recipe
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict

SIDE = 64
RAMP = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) / (SIDE * SIDE - 1)
GREY = np.round(RAMP * 255).astype(int)


def saved(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    ("least", "largest", "expected"),
    [
        (0, 4095, (0, 4095)),
        (0, 65520, (0, 65535)),
        (0, 255, (0, 255)),
        (0, 256, (0, 256)),  # more than 8 bits, and far less than half of 10
        (0, 600, (0, 1023)),
        (0, 70000, (0, 70000)),
        (0.0, 0.99, (0, 1)),
        (0.0, 1.01, (0, 1.01)),
        (0.0, 0.2, (0, 0.2)),
        (-1.0, 0.8, (-1, 1)),
        (-1e-4, 0.9, (-1e-4, 1)),
        (-1024, 3071, (-1024, 4095)),
        (0, 0, (0, 1)),
        (-5, -5, (-5, -4)),
        (np.inf, -np.inf, (0, 1)),
    ],
)
def test_the_smallest_usual_range_of_which_more_than_half_is_used(
    least: float, largest: float, expected: tuple[float, float]
) -> None:
    assert fitting(least, largest) == expected


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("16 of 16.png", (RAMP * 65535).astype(np.uint16)),
        ("12 of 16.png", (RAMP * 4095).astype(np.uint16)),
        ("12 of 16.tif", (RAMP * 4095).astype(np.uint16)),
        ("8 of 32.tif", (RAMP * 255).round().astype(np.int32)),
        ("9 of 32.tif", (RAMP * 256).astype(np.int32)),
        ("0 to 1.tif", RAMP.astype(np.float32)),
        ("-1 to 1.tif", (RAMP * 2 - 1).astype(np.float32)),
    ],
)
def test_all_levels_arrive_on_the_page_and_in_the_model(tmp_path: Path, name: str, values: np.ndarray) -> None:
    path = saved(tmp_path / name, values)
    assert is_deep(path)
    pixels = read_image(path, SIDE)
    assert len(np.unique(pixels)) == 256
    assert np.abs(pixels[..., 0] - GREY).max() <= 1
    assert np.array_equal(pixels, np.asarray(sheet.thumbnail(path, SIDE)))
    grey = np.asarray(sheet.thumbnail(path, SIDE, channels=1))
    assert np.array_equal(read_image(path, SIDE, 1)[..., 0], grey)


def test_what_is_no_number_does_not_count(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    path = saved(tmp_path / "x.tif", values)
    with Image.open(path) as image:
        assert extent(image) == (pytest.approx(3 / (SIDE * SIDE - 1)), 1)
    assert read_image(path, SIDE)[0, :3, 0].tolist() == [0, 255, 0]
    blank = saved(tmp_path / "blank.tif", np.full((8, 8), np.nan, np.float32))
    assert read_image(blank, 8).max() == 0


def test_modes_of_8_bits_are_not_deep(tmp_path: Path) -> None:
    assert [kind_of(mode) for mode in ("I;16B", "I", "F")] == ["int16", "int32", "float32"]
    assert not any(kind_of(mode) for mode in ("1", "L", "RGB", "P", "LA", "CMYK"))
    colours = (np.stack([RAMP] * 3, 2) * 255).astype(np.uint8)
    for name in ("a.png", "a.jpg", "a.tif", "a.webp", "a.gif", "a.bmp"):
        assert not is_deep(saved(tmp_path / name, colours))
    (tmp_path / "no.png").write_bytes(b"no")
    assert not is_deep(tmp_path / "no.png")
    assert not is_deep(tmp_path / "gone.png")


@pytest.fixture
def dim(tmp_path: Path) -> Path:
    """12 bits in 16: one class uses all of them, the other one the lower half; and a float image in each."""
    random = np.random.default_rng(0)
    for name, most in (("bright", 4095), ("dim", 2000)):
        for number in range(6):
            noise = random.integers(0, most + 1, (40, 44))
            noise[0, 0] = most
            saved(tmp_path / "deep" / name / f"{number}.png", noise.astype(np.uint16))
        saved(tmp_path / "deep" / name / "float.tif", (noise / 4095).astype(np.float32))
    return tmp_path / "deep"


def test_one_range_for_all_images_of_a_set(dim: Path) -> None:
    samples = list_folder(dim)
    assert cache.known_depth(samples) is None
    depth = cache.depth_of(samples)
    assert depth == Depth(int16=(0, 4095), float32=(0, 1)) == cache.known_depth(samples)
    made = cache.decoded(samples, 40)
    assert made.depth == depth
    for index, path in enumerate(samples.paths):
        assert np.array_equal(made[index], read_image(path, 40, depth=depth))
        assert np.array_equal(made[index][:, 2:42], np.asarray(sheet.thumbnail(path, 40, depth=depth)))
    means = {path.parent.name: made[index].mean() for index, path in enumerate(samples.paths)}
    assert means["dim"] < 0.6 * means["bright"], "which a range for each image would hide"
    saved(dim / "dim" / "more.png", np.full((40, 40), 60000, np.uint16))
    assert cache.depth_of(list_folder(dim)).int16 == (0, 65535), "measured anew"


def test_the_range_is_that_of_the_run_wherever_its_network_looks(tiny: Recipe, dim: Path, tmp_path: Path) -> None:
    recipe = tiny.with_value("data.source.path", str(dim)).with_value("phases.0.epochs", 1)
    run = store.create(recipe)
    assert work(run) == 0
    assert run.depth == Depth(int16=(0, 4095), float32=(0, 1))
    predictor = predict.load(run)
    new = saved(tmp_path / "new.png", np.full((40, 40), 500, np.uint16))  # alone it would be white
    seen: list[torch.Tensor] = []
    predictor.network.module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    predictor([new])
    mean, std = torch.tensor(predictor.network.mean), torch.tensor(predictor.network.std)
    brightest = (seen[0][0].amax((1, 2)) * std + mean).tolist()
    assert brightest == pytest.approx([round(500 / 4095 * 255) / 255] * 3, abs=1e-5)
    [row] = preview(recipe, [1], 0)
    plain = read_image(list_folder(dim).paths[1], Data(image_size=32).side, depth=run.depth)
    assert np.array_equal(row[0], eval_pipeline(Data(image_size=32))(as_tensor(plain)).permute(1, 2, 0))


def test_ordinary_images_have_no_range_and_earlier_runs_that_of_all_16_bits(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    assert run.depth == Depth()
    run.depth_file.unlink()
    assert run.depth == Depth(int16=(0.0, 65535.0))
