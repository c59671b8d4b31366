"""Tags at every threshold: against scikit-learn, and by counting."""

import numpy as np
import pytest
from sklearn import metrics

from finetune_core.errors import UserError
from finetune_core.parts.tasks import Targets, single_label
from finetune_core.runs.states.predictions import Predictions
from finetune_core.understand.tags import Tagged, from_kept

IMAGES, NAMES = 300, ("a", "b", "never")


@pytest.fixture
def found() -> Tagged:
    """Two tags, of which one is told well, with equal probabilities among them; and one that no image has."""
    rng = np.random.default_rng(1)
    wanted = (rng.random((IMAGES, 3)) < [0.3, 0.1, 0.0]).astype(np.float32)
    outputs = (rng.normal(-2.5, 1.5, (IMAGES, 3)) + wanted * [3, 2, 0]).round(1).astype(np.float32)
    kept = Predictions(tuple(f"{place}.png" for place in range(IMAGES)), wanted, outputs, 1)
    return from_kept(kept, Targets("multi_label", NAMES, (90, 30, 0), IMAGES))


def test_curves_and_areas_are_those_of_scikit_learn(found: Tagged) -> None:
    for tag in range(2):
        curve, truth, shares = found.curve(tag), found.wanted[:, tag], found.shares[:, tag]
        precision, recall, thresholds = metrics.precision_recall_curve(truth, shares)
        kept = np.isin(curve.thresholds, thresholds)
        assert curve.precision[kept] == pytest.approx(precision[:-1][::-1], abs=1e-12)
        assert curve.recall[kept] == pytest.approx(recall[:-1][::-1], abs=1e-12)
        alarms, recall, thresholds = metrics.roc_curve(truth, shares, drop_intermediate=False)
        assert curve.thresholds == pytest.approx(thresholds[1:])
        assert curve.alarms == pytest.approx(alarms[1:], abs=1e-12)
        assert curve.recall == pytest.approx(recall[1:], abs=1e-12)
        assert curve.average_precision == pytest.approx(metrics.average_precision_score(truth, shares), abs=1e-9)
        assert curve.area == pytest.approx(metrics.roc_auc_score(truth, shares), abs=1e-9)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.8, 1.1])
def test_counts_are_those_of_scikit_learn(found: Tagged, threshold: float) -> None:
    for tag in range(2):
        counts, truth = found.counts(tag, threshold), found.wanted[:, tag]
        said = found.shares[:, tag] >= threshold
        left, alarms, missed, hits = metrics.confusion_matrix(truth, said).ravel()
        assert (counts.found, counts.missed, counts.alarms, counts.left) == (hits, missed, alarms, left)
        assert counts.f1 == pytest.approx(metrics.f1_score(truth, said, zero_division=0))
        assert len(found.missed(tag, threshold)) == missed
        assert len(found.alarms(tag, threshold)) == alarms


def test_no_threshold_has_a_better_f1(found: Tagged) -> None:
    for tag in range(2):
        best = found.counts(tag, found.best(tag)).f1
        tried = [found.counts(tag, each).f1 for each in np.linspace(0.001, 0.999, 999)]
        assert best >= max(tried)
        assert best > found.counts(tag, 0.5).f1, "the example would show nothing"


def test_a_tag_that_no_image_has_keeps_the_usual_threshold(found: Tagged) -> None:
    assert found.best(2) == 0.5
    assert np.isnan(found.counts(2, 0.5).f1)
    assert np.isnan(found.curve(2).recall).all()


def test_pictures_come_by_how_wrong_they_are(found: Tagged) -> None:
    shares = found.shares[:, 0]
    assert (np.diff(shares[found.missed(0, 0.5)]) >= 0).all()
    assert (np.diff(shares[found.alarms(0, 0.5)]) <= 0).all()
    assert (np.diff(abs(shares[found.near(0, 0.3)] - 0.3)) >= 0).all()


def test_a_click_beside_the_curve_takes_the_nearest_threshold(found: Tagged) -> None:
    curve = found.curve(0)
    place = len(curve.thresholds) // 2
    point = curve.recall[place] + 1e-6, curve.precision, curve.precision[place] - 1e-6
    assert curve.near(*point) == curve.thresholds[place]


def test_other_answers_are_refused(found: Tagged) -> None:
    kept = Predictions(("1.png",), np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), 1)
    with pytest.raises(UserError, match="not of its tags"):
        from_kept(kept, Targets("multi_label", NAMES))
    with pytest.raises(UserError, match="Only tags"):
        from_kept(kept, single_label([1, 1], ("a", "b")))
