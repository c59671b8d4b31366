"""What an experiment has shown: against scipy, and in words."""

import math

import numpy as np
import pytest
from scipy import stats

from finetune_core.finder import versus
from finetune_core.finder.versus import Result, student
from finetune_core.parts.tasks import ONE_CLASS, Score
from finetune_core.records import Trial

ACCURACY, LOSS = ONE_CLASS.score, Score("loss", "Loss", "", share=False, lower_is_better=True)


def result(name: str, *values: float) -> Result:
    return Result(name, dict(enumerate(values)))


@pytest.mark.parametrize("freedom", range(1, 10))
@pytest.mark.parametrize("doubt", [0.05, 0.05 / 3, 0.05 / 45])
def test_the_bars_are_students(freedom: int, doubt: float) -> None:
    assert student(freedom, doubt) == pytest.approx(stats.t.ppf(1 - doubt / 2, freedom), rel=1e-4)


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
    one, other = result("a", 0.5, 0.7, 0.9), result("b", 0.49, 0.688, 0.889)
    assert versus.apart(one, other, ACCURACY).sure, "each seed is a hundredth better, however far seeds lie apart"
    missing = Result("b", {5: 0.1, 6: 0.1})
    assert not versus.apart(one, missing, ACCURACY).sure


def test_of_a_loss_less_is_better() -> None:
    one, other = result("a", 0.5, 0.51, 0.52), result("b", 0.9, 0.92, 0.95)
    assert versus.apart(one, other, LOSS).better > 0
    assert versus.pair(other, one, LOSS).startswith("“a” is better than “b”")
    assert [each.name for each in versus.ranked([other, one], LOSS)] == ["a", "b"]


def test_what_failed_in_every_try_is_worse() -> None:
    good, broken = result("a", 0.5, 0.6), Result("b", {}, ("no number.",) * 2)
    assert versus.apart(good, broken, ACCURACY).sure
    assert "“b”, which failed in every try (no number)" in versus.pair(broken, good, ACCURACY)
    assert versus.verdict([broken], ACCURACY) == "Every try failed."
    assert versus.claim([("b", "a")], [good, broken], ACCURACY) == "opposite"
    assert math.isnan(broken.mean)
    assert not versus.apart(good, Result("b", {}, ("no number",)), ACCURACY).sure, "one try tells nothing"
    assert "have not been measured" in versus.pair(broken, Result("c", {}), ACCURACY)


def test_who_fails_now_and_then_is_not_surely_better() -> None:
    shaky, other = Result("a", {0: 0.9, 1: 0.91}, ("no number",)), result("b", 0.5, 0.51, 0.52)
    assert not versus.apart(shaky, other, ACCURACY).sure
    assert "1 of 3 tries failed" in shaky.said(ACCURACY)
    third = Result("a", {0: 0.5, 1: 0.5, 2: 0.51}, ("x",))
    assert versus.apart(result("b", 0.9, 0.92, 0.91), third, ACCURACY).sure


def test_values_that_happen_to_agree_are_no_surer_than_their_grain() -> None:
    same = [Result(name, dict.fromkeys(range(2), value), images=20) for name, value in (("a", 0.55), ("b", 0.5))]
    assert not versus.apart(*same, ACCURACY).sure
    assert not versus.apart(result("a", 2.0, 2.0), result("b", 1.0, 1.0), LOSS).sure
    many = [Result(name, dict.fromkeys(range(5), value), images=1000) for name, value in (("a", 0.55), ("b", 0.5))]
    assert versus.apart(*many, ACCURACY).sure


@pytest.mark.parametrize("arms", [2, 4, 8])
def test_arms_that_are_alike_are_seldom_called_different(arms: int) -> None:
    random, told = np.random.default_rng(0), 0
    for _ in range(400):
        found = [result(str(arm), *random.normal(0.8, 0.02, 4)) for arm in range(arms)]
        told += "is better than" in versus.verdict(found, ACCURACY)
    assert told / 400 < 0.08


def test_one_seed_says_nothing_about_chance() -> None:
    made = versus.pair(result("a", 0.9), result("b", 0.1), ACCURACY)
    assert "not distinguishable" in made
    assert "One seed each" in made


def test_winners_are_all_that_cannot_be_told_from_the_best() -> None:
    found = [result("a", 0.9, 0.8, 0.7), result("b", 0.7, 0.9, 0.8), result("c", 0.1, 0.12, 0.11)]
    assert set(versus.winners(found, ACCURACY)) == {"a", "b"}
    assert versus.winners([Result("a", {})], ACCURACY) == []
    found = [result("a", 0.810, 0.814, 0.803), result("b", 0.803, 0.806, 0.799), result("c", 0.70, 0.90, 0.65)]
    said = versus.pair(found[0], found[1], ACCURACY)
    assert "is better than" in said, "as was claimed of this pair alone"
    assert versus.winners(found, ACCURACY, [("b", "a")]) == ["a", "c"], "what is said to be worse is no best"
    assert versus.winners(found, ACCURACY) == ["a", "b", "c"]


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
    assert versus.results([{"kind": "trial"}, {"kind": "trial", "values": None}], ["a"], "score")[0].values == {}
    assert one.said(ACCURACY) == "60.0 ± 14.1 %"
