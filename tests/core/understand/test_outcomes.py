"""What is wrong, and how sure it was: against torchmetrics, torch and formulas."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from finetune_core.errors import UserError
from finetune_core.parts.tasks import Targets, single_label
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.states.predictions import Predictions
from finetune_core.runs.work.worker import work
from finetune_core.understand.outcomes import Outcomes, from_kept, outcomes

CLASSES, IMAGES = 7, 400


@pytest.fixture
def found() -> Outcomes:
    """A model that is right more often than not, and far too sure of it."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES - 1, IMAGES)  # the last class has no image
    outputs = rng.normal(0, 3, (IMAGES, CLASSES)).astype(np.float32)
    outputs[np.arange(IMAGES), truth] += 4
    names = tuple(f"class {place}" for place in range(CLASSES))
    kept = Predictions(tuple(f"{place}.png" for place in range(IMAGES)), truth, outputs, 3)
    return from_kept(kept, single_label([1] * CLASSES, names))


def both(found: Outcomes) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(found.outputs.astype(np.float64)), torch.from_numpy(found.truth)


def test_confusions_are_torchmetrics(found: Outcomes) -> None:
    assert np.array_equal(found.confusion(), MulticlassConfusionMatrix(CLASSES)(*both(found)).numpy())
    for truth in range(CLASSES):
        for guess in range(CLASSES):
            cell = found.cell(truth, guess)
            assert len(cell) == found.confusion()[truth, guess]
            assert (np.diff(found.sure[cell]) <= 0).all()


def test_scores_of_each_class_are_torchmetrics_and_lie_in_their_intervals(found: Outcomes) -> None:
    metrics = {"precision": MulticlassPrecision, "recall": MulticlassRecall, "f1": MulticlassF1Score}
    for name, metric in metrics.items():
        theirs = metric(CLASSES, average="none")(*both(found)).numpy()
        for place, each in enumerate(found.by_class()[:-1]):
            ours = getattr(each, name)
            assert ours.value == pytest.approx(theirs[place], abs=1e-6)
            assert ours.low < ours.value < ours.high
    last = found.by_class()[-1]
    assert last.images == 0
    assert np.isnan(last.recall.value)


def test_losses_are_torchs(found: Outcomes) -> None:
    theirs = torch.nn.functional.cross_entropy(*both(found), reduction="none").numpy()
    assert np.allclose(found.loss, theirs, rtol=1e-9)
    assert np.allclose(found.loss[found.hardest()], np.sort(theirs)[::-1], rtol=1e-9)


def test_calibration_is_torchmetrics_and_the_temperature_is_at_a_minimum(found: Outcomes) -> None:
    made, (outputs, truth) = found.calibration(), both(found)
    shares = outputs.softmax(1)
    theirs = MulticlassCalibrationError(CLASSES, n_bins=15, norm="l1")
    assert made.error == pytest.approx(float(theirs(shares, truth)), abs=1e-6)
    log = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log], max_iter=200, tolerance_grad=1e-12)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(outputs / log.exp(), truth)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert made.temperature == pytest.approx(float(log.exp()), rel=1e-4)
    theirs.reset()
    assert made.error_after == pytest.approx(float(theirs((outputs / made.temperature).softmax(1), truth)), abs=1e-6)
    assert made.error_after < made.error
    assert sum(each.images for each in made.bins) == IMAGES
    assert all(each.low < each.sure <= each.high for each in made.bins)


def test_lists_hold_what_they_say(found: Outcomes) -> None:
    wrong = found.mistakes()
    assert len(wrong) == (~found.right).sum()
    assert (np.diff(found.sure[wrong]) <= 0).all()
    first = found.shares[found.unsure()[0]]
    gaps = np.sort(found.shares, 1)
    assert np.sort(first)[-1] - np.sort(first)[-2] == pytest.approx((gaps[:, -1] - gaps[:, -2]).min())


def test_what_a_run_kept_is_what_it_scored(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 2))
    assert work(run) == 0
    found = outcomes(run)
    assert found.right.mean() == pytest.approx(run.status.best_score, abs=1e-7), "which is told in float32"
    assert len(found.images) == len(run.begun.valid)


def test_other_answers_and_other_tasks_are_told(found: Outcomes) -> None:
    kept = Predictions(found.images, found.truth, found.outputs, 1)
    with pytest.raises(UserError, match="not of its classes"):
        from_kept(kept, single_label([1, 1]))
    with pytest.raises(UserError, match="Only classes"):
        from_kept(kept, Targets("multi_label", found.names))


def test_outputs_beyond_reason_do_no_harm() -> None:
    outputs = np.array([[1e30, 0.0], [0.0, 1e30], [1e30, 1e30]], np.float32)
    kept = Predictions(("a", "b", "c"), np.array([0, 0, 1]), outputs, 1)
    found = from_kept(kept, single_label([2, 1]))
    assert np.isfinite(found.loss).all()
    assert np.isfinite(found.calibration().temperature)
