"""What is divergence and what is not, by losses alone."""

import math

import numpy as np
import pytest

from finetune_core.training.divergence import FAR, HOPELESS, WINDOW, Diverged, check, check_end, sound, window

RANDOM = np.random.default_rng(0)
FALL = 2.3 * np.exp(-np.arange(200) / 60)


def noisy(losses: np.ndarray, spread: float = 0.5) -> np.ndarray:
    return losses * np.exp(spread * RANDOM.standard_normal(len(losses)))


HEALTHY = {
    "a noisy fall": noisy(FALL),
    "batches of one": noisy(FALL, 1.5),
    "warm restarts": noisy(FALL * (1.2 + np.sin(np.arange(200) / 8))),
    "a bump where layers thaw": noisy(FALL + 4.0 * np.exp(-((np.arange(200) - 100) ** 2) / 50)),
    "from weights that know the images": noisy(np.full(200, 0.03) + 0.5 * np.exp(-np.arange(200) / 20)),
    "nothing learned": noisy(np.full(200, 2.3), 0.2),
    "a few batches out of the ordinary": np.where(np.arange(200) % 7 == 0, 500.0, noisy(FALL)),
    "mixed images": noisy(2.3 - 0.004 * np.arange(200), 0.1),
}
SICK = {
    "at once": np.r_[2.3, 50.0, 900.0, 1e5 * np.ones(100)],
    "after a while": np.r_[noisy(FALL[:100]), noisy(np.full(60, 4000.0))],
    "beyond all numbers": np.r_[noisy(FALL[:50]), math.inf],
    "no number": np.r_[noisy(FALL[:50]), math.nan],
}


def went(losses: np.ndarray, start: float = 2.3) -> None:
    """As the loop looks at them."""
    seen: tuple[float, ...] = ()
    for step, loss in enumerate(losses.tolist()):
        seen = window(seen, loss)
        check(seen, start, step, 0.1)
    check_end(seen, start, len(losses))


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_runs_pass(name: str) -> None:
    went(HEALTHY[name])


@pytest.mark.parametrize("name", SICK)
def test_sick_runs_are_ended(name: str) -> None:
    with pytest.raises(Diverged) as told:
        went(SICK[name])
    assert told.value.step < len(SICK[name])
    assert "(0.1 there)" in told.value.why


def test_what_ends_far_above_its_start_has_not_finished() -> None:
    risen = np.r_[FALL[:50], np.full(WINDOW, 2.3 * (FAR + 1))]
    assert HOPELESS > FAR + 1
    with pytest.raises(Diverged, match=r"ended at step 70.* far above the 2.3"):
        went(risen)
    went(risen[:55])
    went(np.r_[risen, FALL[:WINDOW]])


def test_a_run_shorter_than_the_window_is_judged_too() -> None:
    assert not sound([1.1, 50.0, 1e3], 1.1)
    assert sound([1.1, 50.0, 1.0], 1.1)
    assert sound([5.0], 0.0), "nothing to measure by"
    assert sound([], 1.0)
