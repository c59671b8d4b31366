"""How far off numbers are: against scikit-learn and formulas."""

import numpy as np
import pytest
from sklearn import metrics

from finetune_core.errors import UserError
from finetune_core.parts.tasks import single_label, targets_from
from finetune_core.runs.states.predictions import Predictions
from finetune_core.understand.residuals import Residuals, from_kept

IMAGES = 250


@pytest.fixture
def found() -> Residuals:
    """Ages guessed four years too high, weights without a bias; both far from zero and in their own units."""
    rng = np.random.default_rng(2)
    truth = np.stack([rng.uniform(20, 60, IMAGES), rng.normal(70_000, 4_000, IMAGES)], 1)
    guess = truth + np.stack([rng.normal(4, 3, IMAGES), rng.normal(0, 900, IMAGES)], 1)
    targets = targets_from("regression", ("age", "weight"), truth.tolist())
    wanted, outputs = (targets.encoded(each.tolist()) for each in (truth, guess))
    return from_kept(Predictions(tuple(map(str, range(IMAGES))), wanted, outputs, 1), targets)


def test_misses_are_those_of_scikit_learn(found: Residuals) -> None:
    for name in range(2):
        made, truth, guess = found.of(name), found.truth[:, name], found.guess[:, name]
        assert made.mean.value == pytest.approx(metrics.mean_absolute_error(truth, guess), rel=1e-9)
        assert made.explained == pytest.approx(metrics.r2_score(truth, guess), rel=1e-9)
        assert made.half == pytest.approx(metrics.median_absolute_error(truth, guess), rel=1e-9)
        assert made.mean.low < made.mean.value < made.mean.high
        assert (abs(guess - truth) <= made.most).mean() == pytest.approx(0.9, abs=0.01)


def test_a_bias_is_told_from_chance(found: Residuals) -> None:
    age, weight = found.of(0), found.of(1)
    assert age.lopsided
    assert age.bias.value == pytest.approx(4, abs=0.5)
    assert not weight.lopsided


def test_images_come_by_how_far_off_they_are(found: Residuals) -> None:
    missed = found.missed[:, 0]
    assert (np.diff(abs(missed[found.worst(0)])) <= 0).all()
    assert (missed[found.highest(0)] > 0).all()
    assert (missed[found.lowest(0)] < 0).all()
    assert len(found.highest(0)) + len(found.lowest(0)) == IMAGES


def test_a_number_that_never_changes_explains_nothing() -> None:
    same = np.full((5, 1), 3.0)
    targets = targets_from("regression", ("n",), same.tolist())
    kept = Predictions(tuple("abcde"), targets.encoded(same.tolist()), np.ones((5, 1), np.float32), 1)
    assert np.isnan(from_kept(kept, targets).of(0).explained)


def test_other_answers_are_refused() -> None:
    kept = Predictions(("1.png",), np.zeros(1), np.zeros((1, 2), np.float32), 1)
    with pytest.raises(UserError, match="Only numbers"):
        from_kept(kept, single_label([1, 1], ("a", "b")))
    with pytest.raises(UserError, match="not of its numbers"):
        from_kept(kept, targets_from("regression", ("n", "m"), [[1.0, 2.0], [2.0, 3.0]]))
