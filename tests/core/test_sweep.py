"""What the finder suggests, on curves whose right answer is known."""

import numpy as np
import pytest

from finetune_core.sweep import suggest

LRS = np.geomspace(1e-7, 10, 100)


def sigmoid_valley(steepest: float = 1e-3, diverges: float = 0.3) -> np.ndarray:
    """A loss that falls fastest at `steepest` and shoots up past `diverges` (both learning rates)."""
    x = np.log10(LRS)
    return 2.5 - 2 / (1 + np.exp(-3 * (x - np.log10(steepest)))) + np.exp(6 * (x - np.log10(diverges)))


@pytest.mark.parametrize("truth", [1e-4, 1e-3, 1e-2])
def test_the_steepest_point_is_found_over_log_rates(truth: float) -> None:
    assert suggest(LRS, sigmoid_valley(truth)).steepest == pytest.approx(truth, rel=0.25)


def test_the_other_suggestions_lie_where_their_names_say() -> None:
    curve = sigmoid_valley()
    found = suggest(LRS, curve)
    assert found.minimum_tenth == pytest.approx(LRS[np.argmin(curve)] / 10)
    assert found.valley == pytest.approx(LRS[fastai_valley(curve)])


def fastai_valley(losses: np.ndarray) -> int:
    """The loop of fastai's `valley` (callback/schedule.py), as it stands there."""
    n = len(losses)
    max_start, max_end = 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and lds[i] < lds[j] + 1:
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return max_start + int(sections) + int(sections / 2)


def test_the_valley_is_fastais_on_noisy_curves_too() -> None:
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.05, 100)
        curve = sigmoid_valley() + noise
        if (found := suggest(LRS, curve)).valley is not None:
            assert found.valley == pytest.approx(LRS[fastai_valley(curve)])


def test_a_flat_curve_suggests_nothing_and_says_so() -> None:
    found = suggest(LRS, np.full(100, 2.3))
    assert (found.steepest, found.minimum_tenth, found.valley) == (None, None, None)
    assert "flat" in found.note


def test_a_curve_that_only_rises_suggests_nothing() -> None:
    assert suggest(LRS, 2.3 + np.linspace(0, 3, 100)).steepest is None


def test_a_short_or_broken_curve_suggests_nothing_and_says_so() -> None:
    assert "short" in suggest(LRS[:5], sigmoid_valley()[:5]).note
    assert "short" in suggest(LRS, np.full(100, np.nan)).note
