"""Heat maps lie where the class is, in convolutions and transformers, and are drawn from the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import heat
from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand import explain, predict

Capture = pytest.CaptureFixture[str]


def clouds(count: int) -> torch.Tensor:
    """Pictures of soft, dull colours and noise, instead of photos: bright is the square alone."""
    random = torch.Generator().manual_seed(0)
    rough = 64 + 96 * torch.rand(count, 3, 12, 12, generator=random)
    soft = torch.nn.functional.interpolate(rough, size=(heat.SIDE, heat.SIDE), mode="bicubic")
    return (soft + 16 * torch.randn(soft.shape, generator=random)).clamp(0, 255).byte()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_the_heat_lies_on_the_square_that_is_the_class(name: str) -> None:
    predictor, photos = heat.untrained(name), clouds(64)
    heat.learn(predictor, photos, 300, 2e-3)
    images, classes, places = heat.planted(photos, 12, seed=99)
    assert (predictor.answered(images).argmax(1) == classes).float().mean() > 0.9
    assert heat.share(predictor, images, classes, places, "layers") > 0.8, "the square is 9 % of the picture"


def test_tokens_and_channels_last_are_laid_out_as_pictures() -> None:
    picture = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    tokens = picture.flatten(2).transpose(1, 2)
    before = torch.full((2, 5, 3), -1.0)  # a class token and four registers
    for laid in (picture, picture.permute(0, 2, 3, 1), tokens, torch.cat([before, tokens], 1)):
        assert (explain._places(laid) == picture).all()
    even = torch.arange(2 * 4 * 4 * 4.0).reshape(2, 4, 4, 4)
    assert (explain._places(even) == even).all()
    assert (explain._places(even.permute(0, 2, 3, 1), last=True) == even).all()
    assert explain._places(torch.zeros(2, 8, 1, 1)) is None, "pooled: no places are left"
    assert explain._places(torch.zeros(2, 8)) is None


@pytest.fixture
def run(tiny: Recipe) -> Run:
    made = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(made) == 0
    return made


@pytest.mark.parametrize("way", ["layers", "covering"])
def test_maps_reach_from_0_to_1_and_depend_on_the_name(run: Run, images: Path, way: explain.Way) -> None:
    predictor = predict.load(run, "cpu")
    pictures = torch.stack([torch.from_numpy(np.array(Image.open(file).convert("RGB").resize((64, 64)))) for file in
                            sorted(images.rglob("*.png"))[:3]]).permute(0, 3, 1, 2)  # fmt: skip
    one, again, other = (explain.explain(predictor, pictures, [name] * 3, way) for name in (0, 0, 1))
    assert one.shape == (3, 64, 64)
    assert (one.min(), one.max()) == (0, 1)
    assert (one == again).all()
    assert np.abs(one - other).max() > 0.1
    alone = explain.explain(predictor, pictures[1:2], [0], way)
    assert alone[0] == pytest.approx(one[1], abs=1e-4), "whatever stands beside it"


def test_the_command_writes_a_picture_each(run: Run, images: Path, tmp_path: Path, capsys: Capture) -> None:
    (images / "class_0" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    out = tmp_path / "maps" / "of today"
    assert main(["explain", run.id, str(images / "class_0"), "--out", str(out)]) == 0
    assert "damaged.png: it cannot be read." in (said := capsys.readouterr().out)
    files = sorted(out.iterdir())
    assert len(files) == len(said.splitlines()) - 1 == 8
    assert Image.open(files[0]).size == (run.recipe.data.image_size,) * 2
    assert main(["explain", run.id, str(images), "--out", str(out), "--name", "cat"]) == 2
    assert "It knows class_0, class_1, class_2" in capsys.readouterr().err
    assert main(["explain", run.id, str(images), "--out", str(files[0])]) == 2
    assert "It is a file" in capsys.readouterr().err
    assert main(["explain", run.id, str(images / "class_0" / "damaged.png"), "--out", str(out)]) == 2
    assert "None of the images can be read" in capsys.readouterr().err


def test_a_network_without_places_says_what_else_to_ask(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predict.load(run, "cpu")
    monkeypatch.setattr(explain, "_places", lambda output, last=False: None)
    with pytest.raises(UserError, match="Look by covering"):
        explain.explain(predictor, torch.zeros(1, 3, 64, 64, dtype=torch.uint8), [0])
