"""What chance does to scores: the same scores as torchmetrics counts, and tests compared with their formulas."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from finetune_core.parts.tasks import TASKS, Targets, targets_from
from finetune_core.training.metrics import Meter
from finetune_core.understand import resampled as chance

Answers = tuple[Targets, np.ndarray, np.ndarray]


def one_class(images: int = 60, classes: int = 7, seed: int = 0) -> Answers:
    random = np.random.default_rng(seed)
    wanted = random.integers(0, classes, images)
    outputs = random.normal(0, 1, (images, classes)).astype(np.float32)
    outputs[np.arange(images), wanted] += 1.5
    return targets_from("single_label", [str(n) for n in range(classes)], wanted), outputs, wanted


def tags(images: int = 60, seed: int = 0) -> Answers:
    random = np.random.default_rng(seed)
    wanted = (random.random((images, 4)) < (0.1, 0.5, 0.9, 0.0)).astype(np.float32)  # one that never occurs
    outputs = (random.normal(0, 1, wanted.shape) + wanted).round(1).astype(np.float32)  # with equals among them
    return targets_from("multi_label", list("abcd"), wanted), outputs, wanted


def numbers(images: int = 60, seed: int = 0) -> Answers:
    random = np.random.default_rng(seed)
    labels = random.normal(50, 10, (images, 2))
    targets = targets_from("regression", ["age", "weight"], labels)
    wanted = targets.encoded(labels)
    return targets, (wanted + random.normal(0, 0.3, wanted.shape)).astype(np.float32), wanted


TASK = pytest.mark.parametrize("make", [one_class, tags, numbers])


@TASK
def test_the_scores_are_those_that_training_counts(make: Callable[..., Answers]) -> None:
    targets, outputs, wanted = make()
    for weights in (np.ones(60), *chance.draws(60, 4, rounds=3).astype(float)):
        again = np.repeat(np.arange(60), weights.astype(int))
        meter = Meter(targets, torch.device("cpu"), everything=True)
        meter.update(torch.tensor(outputs[again]), torch.tensor(wanted[again]))
        found = chance.weighted(targets, outputs, wanted)(weights)
        assert found == pytest.approx(meter.scores(), abs=2e-6)


def test_five_classes_need_no_top_five() -> None:
    assert "top5" not in chance.weighted(*one_class(classes=5))(np.ones(60))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [  # scipy 1.17.1: binomtest(min(one, other), one + other, 0.5).pvalue
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 5, 2 / 2**5),
        (1, 7, 2 * (1 + 8) / 2**8),
        (59, 121, 4.4344492637551645e-06),
        (12, 26, 0.03355243967962451),
    ],
)
def test_mcnemar_is_the_exact_test_of_the_binomial_distribution(one: int, other: int, expected: float) -> None:
    assert chance.mcnemar(one, other) == pytest.approx(expected, rel=1e-12)
    assert chance.mcnemar(other, one) == chance.mcnemar(one, other)
    thrown, fewer = one + other, min(one, other)
    tail = sum(math.comb(thrown, heads) for heads in range(fewer + 1))
    assert chance.mcnemar(one, other) == min(1.0, 2 * tail / 2**thrown)


def test_mcnemar_of_many_images_is_near_the_normal_distribution() -> None:
    by_normal = math.erfc((5_200 - 4_800 - 1) / math.sqrt(10_000) / math.sqrt(2))
    assert chance.mcnemar(4_800, 5_200) == pytest.approx(by_normal, rel=0.01)


def test_holm_is_the_step_down_of_1979() -> None:
    assert chance.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert chance.holm([0.9, 0.8]) == [1.0, 1.0]
    assert chance.holm([]) == []


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution() -> None:
    random = np.random.default_rng(1)
    wanted = np.zeros(400, np.int64)
    outputs = np.where(random.random(400) < 0.8, 1.0, -1.0)[:, None] * np.array([1.0, -1.0])
    score = chance.weighted(targets_from("single_label", ["a", "b"], wanted), outputs, wanted)
    value = score(np.ones(400))["accuracy"]
    found = chance.interval(value, chance.resampled(score, chance.draws(400, 2))["accuracy"])
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(value * (1 - value) / 400), rel=0.08)


def test_intervals_hold_what_they_promise() -> None:
    """Of 100 sets of images about 95 have an interval that holds the truth."""
    held = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        missed = random.normal(0, 1, 80)
        drawn = chance.draws(80, 1, rounds=300, seed=seed)
        found = chance.interval(missed.mean(), drawn @ missed / 80)
        held += found.low <= 0 <= found.high
    assert 86 <= held < 100


def test_models_that_are_alike_are_rarely_told_apart() -> None:
    """At a doubt of 5 % about 5 of 100 pairs of equally good models are called different, by either test."""
    called = {"mcnemar": 0, "bootstrap": 0}
    for seed in range(100):
        random = np.random.default_rng(seed)
        one, other = (random.random((2, 100)) < 0.8).astype(float)
        called["mcnemar"] += chance.mcnemar(int((one > other).sum()), int((other > one).sum())) < 0.05
        drawn = chance.draws(100, 1, rounds=300, seed=seed)
        apart = chance.difference(one.mean() - other.mean(), drawn @ one / 100, drawn @ other / 100)
        called["bootstrap"] += apart.chance < 0.05
    assert called["mcnemar"] <= 8
    assert called["bootstrap"] <= 12


def test_what_is_not_there_to_measure_is_left_out() -> None:
    found = chance.interval(math.nan, np.array([math.nan, math.nan]))
    assert math.isnan(found.low)
    assert chance.interval(0.5, np.array([0.5, math.nan])).low == 0.5


def test_the_same_numbers_draw_the_same_images() -> None:
    assert (chance.draws(50, 3) == chance.draws(50, 3)).all()
    assert (chance.draws(50, 3).sum(1) == 50).all()
    assert len(chance.draws(50_000, 100_000_000)) == 200, "of very many there are fewer rounds"


def test_every_task_has_its_scores() -> None:
    assert {*chance._WEIGHTED} == {*TASKS}
