"""The split: fair to every class, the same every time."""

from pathlib import Path

import numpy as np
import pytest

from finetune_core.data.split import split
from finetune_core.errors import UserError
from finetune_core.parts.sources.samples import Samples


def samples(*counts: int, fixed: tuple[str, ...] | None = None) -> Samples:
    labels = tuple(label for label, count in enumerate(counts) for _ in range(count))
    paths = tuple(Path(f"{label}/{number}.png") for number, label in enumerate(labels))
    return Samples(paths, labels, tuple(f"class {label}" for label in range(len(counts))), fixed)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_each_class_is_on_both_sides(share: float) -> None:
    data = samples(2, 3, 10, 101)
    parts = split(data, share, seed=0)
    labels = np.asarray(data.labels)
    assert sorted([*parts.train, *parts.valid]) == list(range(len(data)))
    assert set(labels[parts.train]) == set(labels[parts.valid]) == {0, 1, 2, 3}
    assert np.sum(labels[parts.valid] == 3) == max(round(101 * share), 1)


def test_the_seed_alone_decides() -> None:
    data = samples(20, 20)
    assert np.array_equal(split(data, 0.2, 3).valid, split(data, 0.2, 3).valid)
    assert not np.array_equal(split(data, 0.2, 3).valid, split(data, 0.2, 4).valid)
    assert np.all(np.diff(split(data, 0.2, 3).train) > 0)


def test_another_class_does_not_reshuffle_the_others() -> None:
    assert set(split(samples(20, 20), 0.2, 0).valid) <= set(split(samples(20, 20, 7), 0.2, 0).valid)


def test_the_split_of_the_folder_is_kept() -> None:
    parts = split(samples(2, 2, fixed=("train", "valid", "valid", "train")), 0.9, seed=0)
    assert parts.train.tolist() == [0, 3]
    assert parts.valid.tolist() == [1, 2]


def test_a_class_with_one_image_is_named() -> None:
    with pytest.raises(UserError, match="class 1") as caught:
        split(samples(5, 1, 5), 0.2, 0)
    assert caught.value.hint


def test_unreadable_images_leave_the_rest_in_place() -> None:
    parts = split(samples(10, 10), 0.2, 0)
    bad = {int(parts.train[0]), int(parts.valid[0])}
    fewer = parts.without(bad)
    assert fewer.train.tolist() == parts.train[1:].tolist()
    assert fewer.valid.tolist() == parts.valid[1:].tolist()
