"""What the finder suggests, on curves whose right answer is known."""

import numpy as np
import pytest
import torch

from finetune_core.errors import UserError
from finetune_core.finder import range_test
from finetune_core.finder.suggest import band, middle, slide, suggest, together, trend, valley
from finetune_core.finder.sweep import Sweep
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.jobs import RangeTest
from finetune_core.runs.work.worker import work
from finetune_core.training.session import prepare

LRS = np.geomspace(1e-7, 10, 100)


def sigmoid_valley(steepest: float = 1e-3, diverges: float = 0.3) -> np.ndarray:
    """A loss that falls fastest at `steepest` and shoots up past `diverges` (both learning rates)."""
    x = np.log10(LRS)
    return 2.5 - 2 / (1 + np.exp(-3 * (x - np.log10(steepest)))) + np.exp(6 * (x - np.log10(diverges)))


def noise(seed: int, strength: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, strength, len(LRS))


def share_found(truth: float, curves: list[np.ndarray]) -> float:
    """In how many curves the steepest suggestion lies within a factor of three of the truth."""
    rates = [suggest(LRS, curve).steepest for curve in curves]
    return float(np.mean([rate is not None and truth / 3 <= rate <= truth * 3 for rate in rates]))


@pytest.mark.parametrize("truth", [1e-4, 1e-3, 1e-2])
def test_the_steepest_point_is_found_over_log_rates(truth: float) -> None:
    assert suggest(LRS, sigmoid_valley(truth)).steepest == pytest.approx(truth, rel=0.25)


@pytest.mark.parametrize("truth", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("strength", [0.02, 0.05])
def test_noise_does_not_move_the_steepest_point(truth: float, strength: float, monkeypatch) -> None:
    monkeypatch.setattr(
        "finetune_core.finder.suggest.REDRAWS", 1
    )  # the confidence is not asked for, and takes its time
    clean = sigmoid_valley(truth)
    assert share_found(truth, [clean + noise(seed, strength) for seed in range(200)]) >= 0.95


def test_outliers_do_not_move_it_either(monkeypatch) -> None:
    monkeypatch.setattr("finetune_core.finder.suggest.REDRAWS", 1)
    curves = []
    for seed in range(50):
        random = np.random.default_rng(seed)
        curve = sigmoid_valley() + noise(seed, 0.05)
        curve[random.choice(100, 4, replace=False)] += random.choice([-1, 1], 4)
        curves.append(curve)
    assert share_found(1e-3, curves) >= 0.95


def test_the_trend_has_no_lag() -> None:
    smooth, slope = trend(LRS, np.log10(LRS))
    assert smooth == pytest.approx(np.log10(LRS), abs=1e-6)
    assert slope == pytest.approx(np.ones(100), abs=1e-6)


def test_the_other_suggestions_lie_where_their_names_say() -> None:
    curve = sigmoid_valley()
    found = suggest(LRS, curve)
    assert found.minimum_tenth == pytest.approx(LRS[np.argmin(curve)] / 10, rel=0.5)
    assert 1e-5 < found.valley < 1e-3
    assert 1e-4 < found.slide < 1e-3


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


def fastai_slide(lrs: np.ndarray, losses: np.ndarray, lr_diff: int = 15, thresh: float = 0.005) -> float:
    """fastai's `slide`, as it stands there."""
    loss_grad = np.gradient(losses)
    r_idx = -1
    l_idx = r_idx - lr_diff
    local_min_lr = lrs[l_idx]
    while (l_idx >= -len(losses)) and (abs(loss_grad[r_idx] - loss_grad[l_idx]) > thresh):
        local_min_lr = lrs[l_idx]
        r_idx -= 1
        l_idx -= 1
    return float(local_min_lr)


def test_valley_and_slide_are_fastais() -> None:
    for seed in range(20):
        curve = sigmoid_valley() + noise(seed, 0.05)
        assert valley(curve) == fastai_valley(curve)
        assert LRS[slide(curve)] == fastai_slide(LRS, curve)
    assert LRS[slide(sigmoid_valley())] == fastai_slide(LRS, sigmoid_valley())


# How sure it is


def test_a_clear_curve_is_trusted() -> None:
    found = suggest(LRS, sigmoid_valley() + noise(1, 0.02))
    assert found.confidence == "high"
    assert found.between[0] <= found.steepest <= found.between[1]
    assert "factor of" in found.why


def test_high_confidence_is_deserved_and_gets_rare_with_noise() -> None:
    trusted = {}
    for strength in (0.1, 0.6):
        curves = [sigmoid_valley() + noise(seed, strength) for seed in range(30)]
        trusted[strength] = [curve for curve in curves if suggest(LRS, curve).confidence == "high"]
    assert len(trusted[0.1]) >= 27
    assert len(trusted[0.6]) <= 6
    assert share_found(1e-3, trusted[0.1]) >= 0.95


def test_a_test_that_ended_while_the_loss_fell_ever_faster_is_not_trusted() -> None:
    ended = int(np.searchsorted(LRS, 6e-4))  # before the steepest place
    curve = sigmoid_valley() + noise(1, 0.01)
    found = suggest(LRS[:ended], curve[:ended])
    assert found.confidence == "low"
    assert "ended too early" in found.note
    assert suggest(LRS, curve).note == ""


def test_a_valley_far_from_the_steepest_place_is_explained() -> None:
    found = [suggest(LRS, sigmoid_valley() + noise(seed, 0.02)) for seed in range(5)]
    for each in found:
        far = not 1 / 3 <= each.valley / each.steepest <= 3
        assert ("The valley, which" in each.why) == far
    assert any("The valley, which" in each.why for each in found)


def test_tries_that_disagree_are_not_trusted() -> None:
    agreeing = np.stack([sigmoid_valley() + noise(seed, 0.02) for seed in range(3)])
    scattered = np.stack([sigmoid_valley(truth) + noise(3, 0.02) for truth in (1e-5, 1e-3, 1e-1)])
    assert suggest(LRS, agreeing).confidence == "high"
    found = suggest(LRS, scattered)
    assert found.confidence == "low"
    assert found.between[0] < 1e-4 < 1e-2 < found.between[1]
    assert "(3)" in found.why


def test_several_tries_withstand_more_noise() -> None:
    def off(tries: int) -> float:
        rates = [
            suggest(LRS, np.stack([sigmoid_valley() + noise(10 * seed + one, 0.25) for one in range(tries)])).steepest
            for seed in range(12)
        ]
        return float(np.mean([abs(np.log10(rate or 10) + 3) for rate in rates]))

    assert off(5) < off(1)


def test_too_few_batches_are_named() -> None:
    found = suggest(LRS, sigmoid_valley(), batches=4)
    assert "Too few batches: an epoch has only 4" in found.note
    assert (found.confidence, found.steepest is None) == ("low", False)
    assert suggest(LRS, sigmoid_valley(), batches=30).note == ""


def test_a_flat_curve_suggests_nothing_and_says_so() -> None:
    found = suggest(LRS, np.full(100, 2.3))
    assert (found.steepest, found.minimum_tenth, found.valley, found.slide) == (None, None, None, None)
    assert "flat" in found.note
    fooled = [suggest(LRS, 2.3 + noise(seed, 0.1)) for seed in range(60)]
    assert sum(found.steepest is not None for found in fooled) <= 3


def test_a_curve_that_only_rises_suggests_nothing_and_says_so() -> None:
    for seed in range(5):
        found = suggest(LRS, 2.3 + noise(seed, 0.05) + np.exp(6 * (np.log10(LRS) + 2)))
        assert found.steepest is None
        assert "diverged at once" in found.note


def test_a_short_or_broken_curve_suggests_nothing_and_says_so() -> None:
    assert "short" in suggest(LRS[:5], sigmoid_valley()[:5]).note
    assert "short" in suggest(LRS, np.full(100, np.nan)).note
    assert "short" in suggest([], np.empty((0, 0))).note


# Down, and in tries


def test_a_sweep_goes_up_or_down_between_the_same_rates() -> None:
    up, down = Sweep(), Sweep(down=True)
    assert [up.rate(step) for step in range(100)] == pytest.approx(list(LRS))
    assert [down.rate(step) for step in range(100)] == pytest.approx(list(LRS[::-1]))
    with pytest.raises(UserError, match="make no test"):
        Sweep(low=1, high=0.1)


def test_going_down_the_steepest_fall_in_time_is_found() -> None:
    x = -np.log10(LRS[::-1])  # a wild start, then a fall around 1e-2
    curve = 2.5 + 20 / (1 + np.exp(8 * (x - 1))) - 2 / (1 + np.exp(-3 * (x - 2)))
    curve[0] = 2.5
    found = suggest(LRS[::-1], curve + noise(0, 0.02))
    assert found.steepest == pytest.approx(1e-2, rel=1)
    assert (found.minimum_tenth, found.slide) == (None, None)


def records(trial: int, steps: int, loss: float | None = 2.0) -> list[dict]:
    return [{"step": step, "lr": LRS[step], "loss": loss, "trial": trial} for step in range(steps)]


def test_tries_are_laid_side_by_side_as_far_as_half_of_them_went() -> None:
    rows = [*records(0, 20, 1.0), *records(1, 30, 2.0), *records(2, 10, 6.0)]
    lrs, losses = together(rows)
    assert losses.shape == (3, 20)
    assert lrs == pytest.approx(LRS[:20])
    assert (middle(losses)[0], middle(losses)[15]) == (2.0, 1.5)
    low, high = band(losses)
    assert (low[0], high[0], high[15]) == (1.0, 6.0, 2.0)


def test_records_of_one_try_and_lost_losses_are_read_too() -> None:
    lrs, losses = together([{"step": 0, "lr": 1e-3, "loss": 2.0}, {"step": 1, "lr": 1e-2, "loss": None}])
    assert (len(lrs), losses.shape) == (2, (1, 2))
    assert np.isnan(middle(losses)[1])
    assert together([])[1].shape == (0, 0)


def test_the_test_proves_that_it_has_left_no_trace(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(tiny, RangeTest(steps=12))
    assert work(run) == 0
    [found] = [row for row in run.records()[0] if row["kind"] == "suggestions"]
    session = prepare(run.job.prepared(tiny))
    assert "bit by bit as before" in found["proof"]
    before = range_test.fingerprint(session)
    assert range_test.fingerprint(session) == before
    with torch.no_grad():
        next(session.network.module.parameters())[0] += 1e-6
    changed = range_test.fingerprint(session)
    assert changed != before
    torch.rand(1)
    assert range_test.fingerprint(session) != changed
    digests = iter("ab")
    monkeypatch.setattr(range_test, "fingerprint", lambda session: next(digests))
    run = store.create(tiny, RangeTest(steps=12))
    assert work(run) == 0
    assert "has changed the network" in run.job.lines(run.records()[0], tiny)[-1]
