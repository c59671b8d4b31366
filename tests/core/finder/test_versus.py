"""What an experiment has shown: against scipy, and in words."""

import math

import numpy as np
import pytest
from scipy import stats

from finetune_core.finder import versus
from finetune_core.finder.versus import SURE, Result
from finetune_core.parts.tasks import ONE_CLASS, Score
from finetune_core.records import Trial

ACCURACY, LOSS = ONE_CLASS.score, Score("loss", "Loss", "", share=False, lower_is_better=True)


def result(name: str, *values: float) -> Result:
    return Result(name, dict(enumerate(values)))


@pytest.mark.parametrize("seeds", range(2, 11))
def test_the_bars_are_students(seeds: int) -> None:
    assert SURE[seeds] == pytest.approx(stats.t.ppf(0.975, seeds - 1), abs=6e-4)


@pytest.mark.parametrize("seed", range(20))
def test_intervals_are_those_of_a_paired_t_test(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 11))
    one, other = random.normal(0.8, 0.02, count), random.normal(0.79, 0.02, count)
    made = versus.apart(result("a", *one), result("b", *other), ACCURACY)
    theirs = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (made.low, made.high) == pytest.approx((theirs.low, theirs.high), rel=1e-3, abs=1e-5)
    assert made.sure == (stats.ttest_rel(one, other).pvalue < 0.05)
    turned = versus.apart(result("b", *other), result("a", *one), ACCURACY)
    assert (turned.low, turned.high) == pytest.approx((-made.high, -made.low))


def test_seeds_are_compared_with_themselves() -> None:
    one, other = result("a", 0.5, 0.7, 0.9), result("b", 0.49, 0.69, 0.89)
    assert versus.apart(one, other, ACCURACY).sure, "each seed is a hundredth better, however far seeds lie apart"
    missing = Result("b", {5: 0.1, 6: 0.1})
    assert not versus.apart(one, missing, ACCURACY).sure


def test_of_a_loss_less_is_better() -> None:
    one, other = result("a", 0.5, 0.51, 0.52), result("b", 0.9, 0.92, 0.95)
    assert versus.apart(one, other, LOSS).better > 0
    assert versus.pair(other, one, LOSS).startswith("“a” is better than “b”")
    assert [each.name for each in versus.ranked([other, one], LOSS)] == ["a", "b"]


def test_what_broke_down_in_every_try_is_worse() -> None:
    good, broken = result("a", 0.5, 0.6), Result("b", {}, ("no number",) * 2)
    assert versus.apart(good, broken, ACCURACY).sure
    assert "“b”, which broke down in every try" in versus.pair(broken, good, ACCURACY)
    assert versus.verdict([broken], ACCURACY) == "Every try broke down."
    assert versus.claim([("b", "a")], [good, broken], ACCURACY) == "opposite"
    assert math.isnan(broken.mean)


def test_one_seed_says_nothing_about_chance() -> None:
    made = versus.pair(result("a", 0.9), result("b", 0.1), ACCURACY)
    assert "not distinguishable" in made
    assert "One seed each" in made


def test_winners_are_all_that_cannot_be_told_from_the_best() -> None:
    found = [result("a", 0.9, 0.8, 0.7), result("b", 0.7, 0.9, 0.8), result("c", 0.1, 0.12, 0.11)]
    assert set(versus.winners(found, ACCURACY)) == {"a", "b"}
    assert versus.winners([Result("a", {})], ACCURACY) == []


def test_results_are_read_from_records() -> None:
    made = [
        Trial(0, 0, {"score": 0.5}, [], [], [], 2.0),
        Trial(1, 0, {}, [], [], [], 3.0, "broke"),
        Trial(0, 1, {"score": 0.7}, [], [], [], 2.0),
    ]
    rows = [{"kind": each.kind, **vars(each)} for each in made]
    one, other = versus.results(rows, ["a", "b"], "score")
    assert (one.mean, one.spread, one.seconds) == pytest.approx((0.6, np.std([0.5, 0.7], ddof=1), 4.0))
    assert other.failed == ("broke",)
    assert one.said(ACCURACY) == "60.0 ± 14.1 %"
