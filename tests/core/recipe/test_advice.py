"""How far to thaw, by how many images there are and how like those of the pretraining they are: the table itself."""

import pytest

from finetune_core.recipe.advice import FEW, MANY, WORDS, Word, advice
from finetune_core.recipe.presets import KEYS, presets

NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
THAWS = {preset.key: len(preset.thaw) for preset in presets(NAMES)}
LIKE: tuple[Word, ...] = ("alike", "between", "unlike", "")


@pytest.mark.parametrize(
    ("images", "likeness", "preset", "words"),
    [
        (5, "alike", "head_only", "freezing the whole backbone preserves what it has learned"),
        (5, "unlike", "last_stage", "the lower layers stay frozen"),
        (500, "alike", "tenfold", "early layers slowest"),
        (500, "unlike", "everything", "everything may thaw"),
    ],
)
def test_the_corners_are_those_of_the_article(images: float, likeness: Word, preset: str, words: str) -> None:
    given = advice(images, likeness)
    assert given.preset == preset
    assert words in given.text
    assert f"About {images} training images per class" in given.text
    assert WORDS[likeness] in given.text


@pytest.mark.parametrize("images", [1, FEW - 1, FEW, MANY - 1, MANY, 1e6])
@pytest.mark.parametrize("likeness", LIKE)
def test_there_is_advice_for_all_and_it_is_a_preset_that_there_is(images: float, likeness: Word) -> None:
    assert advice(images, likeness).preset in KEYS


@pytest.mark.parametrize("images", [5, 50, 500])
def test_what_is_less_alike_never_thaws_less(images: float) -> None:
    alike, between, unlike = (THAWS[advice(images, each).preset] for each in LIKE[:3])
    assert alike <= between <= unlike


@pytest.mark.parametrize("likeness", LIKE)
def test_more_images_never_thaw_less(likeness: Word) -> None:
    few, some, many = (THAWS[advice(images, likeness).preset] for images in (5, 50, 500))
    assert few <= some <= many


def test_what_cannot_be_told_is_advised_on_by_the_images_alone() -> None:
    assert "learned from" not in advice(50).text
    assert [advice(images).preset for images in (5, 50, 500)] == ["head_only", "last_stage", "tenfold"]


def test_a_network_that_has_learned_nothing_has_no_preset() -> None:
    given = advice(50, "nothing")
    assert given.preset == ""
    assert "learned nothing" in given.text
