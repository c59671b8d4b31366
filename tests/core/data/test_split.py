"""The split: fair to every class, the same every time."""

from pathlib import Path

import numpy as np
import pytest

from finetune_core.data.split import split
from finetune_core.errors import UserError
from finetune_core.parts.sources.samples import Samples
from finetune_core.recipe import Data


def samples(*counts: int, fixed: tuple[str, ...] | None = None) -> Samples:
    labels = tuple(label for label, count in enumerate(counts) for _ in range(count))
    paths = tuple(Path(f"{label}/{number}.png") for number, label in enumerate(labels))
    return Samples(paths, labels, tuple(f"class {label}" for label in range(len(counts))), fixed)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_each_class_is_on_both_sides(share: float) -> None:
    data = samples(2, 3, 10, 101)
    parts = split(data, Data(valid_share=share, split_seed=0))
    labels = np.asarray(data.labels)
    assert sorted([*parts.train, *parts.valid]) == list(range(len(data)))
    assert set(labels[parts.train]) == set(labels[parts.valid]) == {0, 1, 2, 3}
    assert np.sum(labels[parts.valid] == 3) == max(round(101 * share), 1)


def test_the_seed_alone_decides() -> None:
    data = samples(20, 20)
    assert np.array_equal(
        split(data, Data(valid_share=0.2, split_seed=3)).valid, split(data, Data(valid_share=0.2, split_seed=3)).valid
    )
    assert not np.array_equal(
        split(data, Data(valid_share=0.2, split_seed=3)).valid, split(data, Data(valid_share=0.2, split_seed=4)).valid
    )
    assert np.all(np.diff(split(data, Data(valid_share=0.2, split_seed=3)).train) > 0)


def test_another_class_does_not_reshuffle_the_others() -> None:
    assert set(split(samples(20, 20), Data(valid_share=0.2, split_seed=0)).valid) <= set(
        split(samples(20, 20, 7), Data(valid_share=0.2, split_seed=0)).valid
    )


def test_the_split_of_the_folder_is_kept() -> None:
    parts = split(samples(2, 2, fixed=("train", "valid", "valid", "train")), Data(valid_share=0.9, split_seed=0))
    assert parts.train.tolist() == [0, 3]
    assert parts.valid.tolist() == [1, 2]


def test_a_class_with_one_image_is_named() -> None:
    data = samples(5, 1, 5)
    with pytest.raises(UserError, match="class 1") as caught:
        split(data, Data(valid_share=0.2, split_seed=0))
    assert caught.value.hint
    [mend] = caught.value.mends
    assert mend.path == "data.fixes"
    assert [each["images"] for each in mend.value] == [[data.place(5)]]


def test_unreadable_images_leave_the_rest_in_place() -> None:
    parts = split(samples(10, 10), Data(valid_share=0.2, split_seed=0))
    bad = {int(parts.train[0]), int(parts.valid[0])}
    fewer = parts.without(bad)
    assert fewer.train.tolist() == parts.train[1:].tolist()
    assert fewer.valid.tolist() == parts.valid[1:].tolist()


def test_folds_share_no_image_and_cover_all_of_them() -> None:
    data = samples(10, 25)
    folds = [split(data, Data(valid_share=0.2, fold=fold)).valid for fold in range(5)]
    assert sorted(np.concatenate(folds)) == list(range(len(data)))
    assert np.array_equal(folds[0], split(data, Data(valid_share=0.2)).valid), "the first is the split as ever"


def test_a_fold_that_is_not_there_is_told() -> None:
    with pytest.raises(UserError, match="no fold 5"):
        split(samples(10, 25), Data(valid_share=0.2, fold=5))


def test_folds_of_few_groups_differ() -> None:
    data = grouped({"a": [2] * 4, "b": [2] * 4})
    pattern = r"(g\d+)_"
    folds = {tuple(split(data, Data(valid_share=0.1, fold=fold, group=pattern)).valid) for fold in range(4)}
    assert len(folds) == 4


def test_a_test_share_is_put_aside_before_all_else() -> None:
    data = samples(10, 40, 2)
    parts = [split(data, Data(test_share=0.2, fold=fold)) for fold in range(5)]
    tested = parts[0].test
    assert np.bincount(np.asarray(data.labels)[tested], minlength=3).tolist() == [2, 8, 0]
    for each in parts:
        assert np.array_equal(each.test, tested)
        assert sorted(np.concatenate(each.sides)) == list(range(len(data)))


def grouped(sizes: dict[str, list[int]]) -> Samples:
    """Per class the sizes of its groups, whose images are called so."""
    rows = [
        (f"{name}/g{number}_{image}.png", label)
        for label, (name, groups) in enumerate(sizes.items())
        for number, size in enumerate(groups)
        for image in range(size)
    ]
    paths, labels = zip(*rows, strict=True)
    return Samples(tuple(map(Path, paths)), labels, tuple(sizes))


GROUP = r"(.*_)\d+\.png"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("test_share", [0.0, 0.2])
def test_groups_stay_together_and_classes_have_about_their_share(seed: int, test_share: float) -> None:
    data = grouped({"a": [4] * 25, "b": [1, 2, 3] * 10, "c": [30, 1, 1, 1]})
    parts = split(data, Data(valid_share=0.2, test_share=test_share, split_seed=seed, group=GROUP))
    sides = [{data.place(index).rpartition("_")[0] for index in side} for side in parts.sides]
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    assert sorted(np.concatenate(parts.sides)) == list(range(len(data)))
    labels = np.asarray(data.labels)
    counts = np.array([np.bincount(labels[side], minlength=3) for side in parts.sides])
    assert counts[0].min() > 0
    for label, total in enumerate([100, 60]):
        rest = total - counts[2, label]
        assert abs(counts[1, label] / rest - 0.2) < 0.06
        assert abs(counts[2, label] / total - test_share) < 0.06


def test_a_group_across_classes_stays_together() -> None:
    data = Samples(tuple(Path(f"{'ab'[i % 2]}/p{i // 4}_{i}.png") for i in range(40)), (0, 1) * 20, ("a", "b"))
    parts = split(data, Data(group=r"(p\d+)_"))
    names = [{data.place(index).split("/")[1].split("_")[0] for index in side} for side in parts.sides]
    assert names[1]
    assert not names[0] & names[1]


@pytest.mark.parametrize("pattern", ["(a|b)/", "x?"])
def test_groups_that_cannot_be_split_are_told(pattern: str) -> None:
    with pytest.raises(UserError, match="group"):
        split(grouped({"a": [3], "b": [3]}), Data(group=pattern))


def test_a_pattern_that_never_ends_is_cut_off() -> None:
    data = Samples((Path("a" * 60 + "!.png"), Path("b")) * 2, (0, 0, 1, 1), ("a", "b"))
    with pytest.raises(UserError, match="takes too long"):
        split(data, Data(group=r"(a|aa)+$"))
