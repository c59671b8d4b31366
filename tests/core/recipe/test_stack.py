"""Arranging transforms: what runs when, and tuples with one added, moved or removed."""

import pytest

from finetune_core.data.pipeline import train_calls
from finetune_core.parts.transforms import PRESETS, STANDARD, HorizontalFlip, Light, RandomResizedCrop, Rotation
from finetune_core.recipe import Data, Recipe, stack

CROP, FLIP, LIGHT = RandomResizedCrop(), HorizontalFlip(), Light()
OFF = Rotation(active=False)


def test_what_frames_runs_first_and_what_is_off_does_not() -> None:
    transforms = (LIGHT, OFF, CROP, FLIP)
    assert stack.working(transforms) == [2, 0, 3]
    assert stack.resting(transforms) == [1]
    assert train_calls(transforms, Data(image_size=32)) == [part.call(32) for part in (CROP, LIGHT, FLIP)]
    assert stack.working(()) == stack.resting(()) == []


def test_a_neighbour_is_who_runs_before_or_after() -> None:
    transforms = (LIGHT, OFF, CROP, FLIP)
    assert stack.neighbour(transforms, 3, -1) == 0
    assert stack.neighbour(transforms, 0, 1) == 3
    assert stack.neighbour(transforms, 3, 1) is None, "nothing runs after it"
    assert stack.neighbour(transforms, 0, -1) is None, "a crop always comes first"
    assert stack.neighbour(transforms, 2, 1) is None, "and cannot be put later"
    assert stack.neighbour(transforms, 1, 1) is None, "what is off runs nowhere"


def test_two_that_frame_change_places() -> None:
    assert stack.neighbour((CROP, FLIP, CROP), 2, -1) == 0
    assert stack.neighbour((CROP, FLIP, CROP), 0, 1) == 2


@pytest.mark.parametrize(("place", "step"), [(3, -1), (0, 1)])
def test_moving_to_a_neighbours_place_passes_it(place: int, step: int) -> None:
    transforms = (LIGHT, OFF, CROP, FLIP)
    to = stack.neighbour(transforms, place, step)
    assert to is not None
    order = [stack.moved(transforms, place, to)[at] for at in stack.working(stack.moved(transforms, place, to))]
    assert order == [CROP, FLIP, LIGHT]


def test_edits_keep_the_rest_in_order() -> None:
    assert stack.moved(tuple("abcde"), 3, 1) == tuple("adbce")
    assert stack.moved(tuple("abcde"), 1, 3) == tuple("acdbe")
    assert stack.removed(tuple("abc"), 1) == tuple("ac")
    assert stack.removed(tuple("a"), 0) == ()
    assert stack.added(tuple("ab"), "c") == tuple("abc")


def test_two_of_a_kind_are_numbered_as_they_run() -> None:
    off = LIGHT.replace(active=False)
    assert stack.titles((off, LIGHT, FLIP, LIGHT)) == [
        "Light and colour 3",
        "Light and colour",
        "Mirror",
        "Light and colour 2",
    ]
    assert len(set(stack.titles(STANDARD))) == len(STANDARD)


def test_after_one_edit_each_is_recognised_and_after_a_swap_none() -> None:
    weak, strong = LIGHT.replace(amount=0.1), LIGHT.replace(amount=0.8)
    assert stack.recognised((weak, strong), (weak, strong))
    assert stack.recognised((weak, strong), (weak, strong.replace(amount=0.5)))
    assert not stack.recognised((weak, strong), (strong, weak))
    assert not stack.recognised((weak, strong), (weak,))
    assert not stack.recognised((weak, FLIP), (weak, OFF))


@pytest.mark.parametrize("key", PRESETS)
def test_a_preset_is_known_again(key: str) -> None:
    assert stack.current_preset(PRESETS[key].transforms) == key


def test_what_does_the_same_is_the_same_preset() -> None:
    assert stack.current_preset(Recipe().augment) == "standard"
    assert stack.current_preset((FLIP, OFF, LIGHT, RandomResizedCrop(min_scale=0.6))) == "standard", "a crop runs first"
    assert stack.current_preset((OFF,)) == "none"
    assert stack.current_preset((LIGHT, FLIP, RandomResizedCrop(min_scale=0.6))) is None, "in another order"
    assert stack.current_preset((FLIP, RandomResizedCrop(min_scale=0.61), LIGHT)) is None
