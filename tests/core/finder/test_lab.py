"""The lab: what destroys the label is told, what leaves it alone is kept, and a click does what the word says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from finetune_core.cli import main
from finetune_core.data.pipeline import draw, train_pipeline
from finetune_core.errors import UserError
from finetune_core.finder import lab, strains
from finetune_core.parts.transforms import HorizontalFlip, RandomErasing, VerticalFlip
from finetune_core.recipe import Data, Recipe, parse
from finetune_core.runs import store
from finetune_core.training import reuse, session
from tests.conftest import SHARED


@pytest.fixture
def upright(tmp_path: Path, tiny: Recipe) -> Recipe:
    """Two classes that differ by which half is dark: turned upside down one becomes the other."""
    rng = np.random.default_rng(0)
    for name, rows in (("dark above", slice(0, 24)), ("dark below", slice(24, 48))):
        (tmp_path / "halves" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(150, 250, (48, 48, 3))
            pixels[rows] -= 140
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "halves" / name / f"{number}.png")
    recipe = tiny.with_value("data.source.path", str(tmp_path / "halves")).with_value("phases.0.multipliers", {})
    return recipe.replace(model=Recipe().model, augment=(HorizontalFlip(), VerticalFlip(chance=0.5)))


def test_what_turns_a_class_into_another_is_told(upright: Recipe) -> None:
    mirror, upside, together = lab.lab(upright, 100)
    assert (mirror.right, upside.right) == (1.0, 1.0)
    assert mirror.drop < 0.1
    assert upside.drop > 0.9
    assert {(one, other) for one, other, _ in upside.moved} == {
        ("dark above", "dark below"),
        ("dark below", "dark above"),
    }
    assert (together.place, together.title) == (-1, "All together")
    assert 0.2 < together.drop < 0.8, "half of the images are turned"
    assert mirror.shift < upside.shift
    said = strains.verdict(json.loads(upside.line()), upright)
    assert said.word == "remove"
    assert said.mend is not None
    assert not upright.with_value(said.mend.path, said.mend.value).augment[1].active
    assert strains.verdict(json.loads(mirror.line()), upright).word == "keep"


def row(**values: Any) -> dict[str, Any]:
    found = {"place": 0, "title": "x", "images": 100, "drop": 0.0, "margin": 0.02, "shift": 0.5, "moved": []}
    return {**found, **values}


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({}, "keep"),
        ({"drop": 0.1}, "lower"),
        ({"drop": 0.1, "margin": 0.2}, "keep"),
        ({"drop": 0.04}, "keep"),
        ({"drop": 0.6}, "lower"),
        ({"shift": 0.05}, "raise"),
        ({"place": -1, "shift": 0.05}, "keep"),
        ({"place": -1, "drop": 0.5}, "lower"),
    ],
)
def test_words_follow_from_figures(values: dict[str, Any], word: str) -> None:
    recipe = Recipe()
    said = strains.verdict(row(**values), recipe)
    assert said.word == word
    if said.mend:
        part, changed = recipe.augment[0], recipe.with_value(said.mend.path, said.mend.value).augment[0]
        least, most = part.ends()
        before, after = (float(getattr(each, each.strength)) for each in (part, changed))
        assert (abs(after - least) < abs(before - least)) is (word == "lower")
        assert min(least, most) <= after <= max(least, most)


def test_what_is_looked_at_is_what_training_draws(upright: Recipe) -> None:
    made = session.prepare(upright)
    size, part = upright.data.image_size, RandomErasing(chance=1.0)
    pipeline = train_pipeline((part,), Data(image_size=size))
    batches = made.train.over(np.arange(6)).through(pipeline)
    images, labels = next(iter(batches.epoch(0)))
    for place in range(6):
        pixels = made.train._maker.images[place]
        assert torch.equal(images[place], draw(pixels, pipeline, upright.training.seed, 0, place))
    assert labels.tolist() == [0] * 6


def test_asked_again_no_image_is_looked_at(upright: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [each.drop for each in lab.lab(upright, 100)]
    monkeypatch.setattr(reuse.Frozen, "answer", lambda *given: pytest.fail("looked again"))
    assert [each.drop for each in lab.lab(upright, 100)] == first


@pytest.mark.parametrize(
    ("change", "words"), [({"augment": ()}, "No transform is on"), ({"augment": (HorizontalFlip(active=False),)}, "on")]
)
def test_nothing_to_try_is_told(upright: Recipe, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        list(lab.lab(upright.replace(**change), 100))


def test_the_command_says_it_in_lines(upright: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upright.save(tmp_path / "r.yaml")
    assert main(["lab", str(tmp_path / "r.yaml"), "--images", "40"]) == 0
    out = capsys.readouterr().out
    assert "Upside down" in out
    assert "remove" in out
    assert "of dark above become dark below" in out
    assert main(["lab", str(tmp_path / "r.yaml"), "--images", "40", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["word"] for each in told["transforms"]][1] == "remove"
    assert store.list_runs(job="lab")


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the real photos and weights are not on this machine")
def test_upside_down_is_worse_than_mirrored_on_clothes() -> None:
    weights = {"kind": "file", "path": str(SHARED / "weights" / "timm_mobilenetv2_100_imagenet1k.safetensors")}
    recipe = parse(
        {
            "data": {"source": {"kind": "folder", "path": str(SHARED / "data" / "clothing10")}, "image_size": 160},
            "model": {"backbone": {"kind": "timm", "architecture": "mobilenetv2_100", "weights": weights}},
            "phases": [{"thaw": ["head"]}],
        }
    ).replace(augment=(HorizontalFlip(), VerticalFlip()))
    mirrored, upside, _ = lab.lab(recipe, 300)
    assert upside.drop > mirrored.drop + 0.02
