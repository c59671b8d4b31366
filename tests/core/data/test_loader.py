"""Batches: seeded order, resuming, leftovers, and the same batches whoever makes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from finetune_core.data.cache import Decoded, decoded
from finetune_core.data.loader import Batches, Views, count_steps, default_workers
from finetune_core.data.pipeline import eval_pipeline, train_pipeline
from finetune_core.errors import UserError
from finetune_core.parts.sampling import Balanced, InGroups
from finetune_core.parts.sources.folders import list_folder
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.transforms import STANDARD
from finetune_core.recipe import Data

Made = list[tuple[Tensor, Tensor]]


@pytest.fixture
def samples(images: Path) -> Samples:
    return list_folder(images)


@pytest.fixture
def cached(samples: Samples) -> Decoded:
    return decoded(samples, Data(image_size=32).side)


def training(cached: Decoded, samples: Samples, count: int = 24, batch_size: int = 5, **options: object) -> Batches:
    pipeline = train_pipeline(STANDARD, Data(image_size=32))
    given: dict[str, object] = {"seed": 1, "shuffle": True, "workers": 0, **options}
    return Batches(cached, np.asarray(samples.labels), range(count), pipeline, batch_size, **given)  # type: ignore[arg-type]


def same(one: Made, other: Made) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(one, other, strict=True)
    )


def test_rare_classes_come_as_often_as_others_each_time_anew(cached: Decoded, samples: Samples) -> None:
    labels = np.asarray(samples.labels)
    few = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:2]])
    made = training(cached, samples, sampling=Balanced()).over(few)
    order = np.concatenate(made.order(0))
    assert len(order) == len(few)
    seen = np.bincount(labels[order % len(labels)])
    assert abs(int(seen[0]) - int(seen[1])) <= 1
    rare = order[labels[order % len(labels)] == 1]
    assert len({*rare.tolist()}) == len(rare) > 2, "each time is another draw"
    assert {*(rare % len(labels)).tolist()} == {*few[-2:].tolist()}
    batches = list(made.epoch(0))
    images = np.concatenate([images for images, _ in batches])
    said = np.concatenate([each for _, each in batches])
    assert np.array_equal(said, labels[order % len(labels)])
    again = [images[place] for place, index in enumerate(order) if index % len(labels) == few[-1]]
    assert not np.array_equal(again[0], again[1]), "no view comes twice in an epoch"
    assert all(index < len(labels) for batch, _ in made.shares(0, views=Views(3)) for index in batch), (
        "but views are kept"
    )
    assert np.array_equal(order, np.concatenate(training(cached, samples, sampling=Balanced()).over(few).order(0)))


def test_batches_in_groups_hold_several_images_of_few_classes(cached: Decoded, samples: Samples) -> None:
    labels = np.asarray(samples.labels)
    made = training(cached, samples, batch_size=6, sampling=InGroups(together=3))
    orders = [made.order(epoch) for epoch in range(3)]
    for batches in orders:
        assert sorted(np.concatenate(batches)) == list(range(24)), "each image once"
    counts = {label: int((labels == label).sum()) // 3 * 3 for label in np.unique(labels)}
    whole = sum(counts.values()) // 6
    for batch in orders[0][:whole]:
        assert all(number % 3 == 0 for number in np.bincount(labels[batch]))
    assert not np.array_equal(orders[0][0], orders[1][0])
    assert all(np.array_equal(a, b) for a, b in zip(orders[0], made.order(0), strict=True))
    with pytest.raises(UserError, match="does not fit the data"):
        InGroups().check("multi_label")


def test_a_batch_is_bytes_and_class_numbers(cached: Decoded, samples: Samples) -> None:
    batches = training(cached, samples)
    images, labels = next(iter(batches.epoch(0)))
    assert images.shape == (5, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [samples.labels[index] for index in batches.order(0)[0]]


def test_each_epoch_sees_every_image_once_in_its_own_order(cached: Decoded, samples: Samples) -> None:
    batches = training(cached, samples)
    first, second = (np.concatenate(batches.order(epoch)) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(24))
    assert first.tolist() != second.tolist()
    assert np.array_equal(first, np.concatenate(training(cached, samples).order(0)))
    assert first.tolist() != np.concatenate(training(cached, samples, seed=2).order(0)).tolist()


def test_an_epoch_can_start_in_the_middle(cached: Decoded, samples: Samples) -> None:
    batches = training(cached, samples)
    assert same(list(batches.epoch(1))[3:], list(batches.epoch(1, start=3)))
    assert list(batches.epoch(1, start=batches.steps)) == []


def test_the_views_change_from_epoch_to_epoch(cached: Decoded, samples: Samples) -> None:
    batches = training(cached, samples, count=2, shuffle=False)
    assert not same(list(batches.epoch(0)), list(batches.epoch(1)))
    assert same(list(batches.epoch(0)), list(batches.epoch(0)))


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes", "dropped"),
    [
        (10, 5, [5, 5], [5, 5]),
        (12, 5, [5, 5, 2], [5, 5]),
        (11, 5, [5, 6], [5, 5]),
        (6, 5, [6], [5]),
        (3, 5, [3], [3]),
        (1, 5, [1], [1]),
        (3, 1, [1, 1, 1], [1, 1, 1]),
    ],
)
def test_a_single_leftover_joins_the_batch_before(
    cached: Decoded, samples: Samples, count: int, batch_size: int, sizes: list[int], dropped: list[int]
) -> None:
    for drop_last, expected in ((False, sizes), (True, dropped)):
        batches = training(cached, samples, count, batch_size, drop_last=drop_last)
        assert [len(labels) for _, labels in batches.epoch(0)] == expected
        assert batches.steps == count_steps(count, batch_size, drop_last) == len(expected)


def test_evaluation_keeps_the_order_and_is_always_the_same(cached: Decoded, samples: Samples) -> None:
    batches = Batches(
        cached,
        np.asarray(samples.labels),
        [5, 3, 20],
        eval_pipeline(Data(image_size=32)),
        2,
        seed=0,
        shuffle=False,
        augment=False,
        workers=0,
    )
    assert [index for batch in batches.order(4) for index in batch] == [5, 3, 20]
    assert len(batches) == 3
    assert same(list(batches.epoch(0)), list(batches.epoch(9)))


@pytest.mark.parametrize("augment", [True, False])
def test_worker_processes_make_the_very_same_batches(cached: Decoded, samples: Samples, augment: bool) -> None:
    alone = training(cached, samples, augment=augment)
    helped = training(cached, samples, augment=augment, workers=2)
    if not augment:
        alone._maker.pipeline = helped._maker.pipeline = eval_pipeline(Data(image_size=32))
    assert same(list(alone.epoch(0)), list(helped.epoch(0)))
    interrupted = helped.epoch(1)
    next(interrupted)
    interrupted.close()
    assert same(list(alone.epoch(2, start=1)), list(helped.epoch(2, start=1)))


def test_worker_processes_leave_the_random_state_alone(cached: Decoded, samples: Samples) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert len(list(training(cached, samples, workers=1).epoch(0))) == 5
    assert torch.equal(torch.rand(2), expected)


def test_no_images_at_all_is_told(cached: Decoded, samples: Samples) -> None:
    with pytest.raises(UserError, match="No images are left"):
        training(cached, samples, count=0)


def test_workers_only_where_there_are_cores_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, workers in ((1, 0), (2, 0), (4, 3), (64, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert default_workers() == workers
