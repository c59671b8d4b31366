"""Alarms on made-up records: each is raised by what it is about, once, and not by what a healthy run does."""

import math

import numpy as np
import pytest

from finetune_core.network.freezing import in_phase
from finetune_core.recipe import Recipe, parse
from finetune_core.runs import alarms
from finetune_core.training import session

GROUPS = ("stem", "layer4", "head")
RECIPE = parse(
    {
        "phases": [
            {"epochs": 10, "thaw": ["head"], "learning_rate": 3e-3},
            {"epochs": 10, "thaw": ["layer4", "head"], "learning_rate": 1e-3},
        ]
    }
)


def course(losses, *, first=0, phase=0, thawed=("head",), rate=1e-3, norms=1.0, waiting=0.1, seconds=0.1):
    """Step records with these losses; `rate` and `norms` may be a value for each step."""
    rates, lengths = (np.broadcast_to(values, len(losses)) for values in (rate, norms))
    return [
        {
            "kind": "step",
            "step": first + number,
            "epoch": 0,
            "phase": phase,
            "loss": None if loss is None else float(loss),
            "lr": {name: float(rates[number]) if name in thawed else 0.0 for name in GROUPS},
            "grad_norm": 1.0,
            "group_grad_norm": {name: float(lengths[number]) for name in thawed},
            "waiting": waiting,
            "seconds": (first + number + 1) * seconds,
        }
        for number, loss in enumerate(losses)
    ]


def falling(steps=200, start=2.5, end=0.2, noise=0.15, seed=0):
    random = np.random.default_rng(seed)
    ideal = end + (start - end) * np.exp(-np.arange(steps) / (steps / 4))
    return ideal * (1 + noise * random.standard_normal(steps))


def epoch(number, train, valid, best=False, phase=0, steps=10):
    row = {"kind": "epoch", "epoch": number, "phase": phase, "step": steps * (number + 1), "best": best}
    return {**row, "train_loss": train, "valid_loss": valid, "valid_score": 0.5}


def event(step, name="overflow"):
    return {"kind": "event", "name": name, "step": step, "text": "…"}


def raised(rows, recipe: Recipe = RECIPE):
    """What stands in the end, newest first."""
    said = alarms.Watch(recipe).hear(rows)
    last = alarms.standing([event(0, "stopped"), *(vars(alarm) for alarm in said)])
    return [next(alarm for alarm in said if vars(alarm) == row) for row in last]


def titles(rows, recipe: Recipe = RECIPE):
    return [alarm.title for alarm in raised(rows, recipe)]


def test_healthy_runs_raise_nothing():
    for seed in range(30):
        rates = 3e-3 * np.sin(np.linspace(0.05, math.pi, 200))
        rows = course(falling(noise=0.3, seed=seed), rate=rates)
        rows += [epoch(n, 2 / (n + 1), 2.1 / (n + 1) + 0.02 * (n % 2), best=n < 8) for n in range(10)]
        rows += course(falling(end=0.15, start=0.22, noise=0.3, seed=seed), first=200, phase=1, thawed=GROUPS[1:])
        assert titles(rows) == []


def test_a_loss_that_is_no_number():
    (alarm,) = raised([*course([1.0] * 15), *course([None] * 20, first=15)], RECIPE)
    assert (alarm.step, alarm.level) == (19, "error")
    assert alarm.title == "The loss is no longer a number"
    assert (alarm.mend.path, alarm.mend.value) == ("phases.0.learning_rate", 3e-4)
    assert titles([epoch(0, 1.0, None)]) == ["The validation loss is no longer a number"]
    rows = course([1.0] * 20)
    rows[19]["grad_norm"] = None
    assert titles(rows) == ["The gradient is no longer a number"]
    assert titles(rows, RECIPE.with_value("training.precision", "fp16")) == []


def test_a_bump_at_a_thaw_is_expected():
    rows = course(falling()) + course(falling(start=0.8), first=200, phase=1, thawed=GROUPS[1:])
    (alarm,) = raised(rows, RECIPE)
    assert (alarm.level, alarm.step) == ("ok", 209)
    assert "as expected" in alarm.title
    assert "layer4" in alarm.text
    assert "head" not in alarm.text
    assert alarm.mend is None


def test_a_bump_is_expected_too_where_a_running_phase_is_thawed_further():
    rows = course(falling()) + course(falling(start=0.8), first=200, thawed=GROUPS[1:])
    assert titles(rows) == ["The loss rose when layer4 thawed, as expected"]
    assert titles(course(falling()) + course(falling(start=0.8), first=200, phase=1)) == [], "nothing was thawed"


def test_a_loss_that_stays_up_after_a_thaw_is_not():
    rows = course(falling()) + course(falling(start=0.6, end=0.5), first=200, phase=1, thawed=GROUPS[1:])
    rows += [epoch(10, 0.5, 0.5, phase=1, steps=30), epoch(11, 0.5, 0.5, phase=1, steps=30)]
    stays, expected = raised(rows, RECIPE)
    assert "not come back" in stays.title
    assert (stays.mend.path, stays.mend.value) == ("phases.1.learning_rate", 3.3e-4)
    assert expected.level == "ok"


def test_a_group_whose_gradient_is_zero():
    dead = course(falling(40), thawed=GROUPS[1:])
    for row in dead[5:]:
        row["group_grad_norm"]["layer4"] = 0.0
    (alarm,) = raised(dead, RECIPE)
    assert alarm.title == "layer4 learns nothing"
    assert (alarm.mend.path, alarm.mend.value) == ("phases.0.thaw", ["head"])
    fp16 = RECIPE.with_value("training.precision", "fp16")
    assert raised(dead, fp16)[0].mend.value == "fp32"
    assert titles(course(falling(40), thawed=GROUPS[1:], norms=[0.0] * 15 + [1.0] * 25)) == [], "it woke up"
    assert titles(course(falling(40) * 1e-9, norms=1e-9)) == [], "a loss of zero has gradients of zero"


def test_overfitting_and_its_refutation():
    rows = course(falling(20))
    rows += [epoch(n, 1 / (n + 1), loss, best=n < 3) for n, loss in enumerate([1.0, 0.6, 0.5, 0.55, 0.6, 0.7])]
    (alarm,) = raised(rows, RECIPE)
    assert "by heart" in alarm.title
    assert "Since epoch 3" in alarm.text
    assert alarm.mend.path == "phases.0.patience"
    patient = RECIPE.with_value("phases.0.patience", 4)
    assert raised(rows, patient)[0].mend is None
    (over,) = raised([*rows, epoch(6, 0.1, 0.45)])
    assert (over.level, over.title) == ("ok", "The validation loss falls again")
    assert "by heart" in titles([*rows, epoch(6, 0.1, 0.6)])[0], "nothing less refutes it"
    better = [{**row, "best": True} if row["kind"] == "epoch" else row for row in rows]
    assert titles(better) == [], "while the score rises all is well"


@pytest.mark.parametrize("losses", [[2.5, 1.2, 2.4], [6.0, 4.5, 9.0]], ids=["back up", "from the start"])
def test_a_rate_that_is_too_high(losses):
    noisy = np.repeat(losses, 10) * (1 + 0.1 * np.random.default_rng(0).standard_normal(30))
    noisy[0], noisy[25] = 2.5, 1e3
    (alarm,) = raised(course(noisy, rate=np.linspace(1e-4, 1e-1, 30)))
    assert alarm.title == "The learning rate is too high"
    assert alarm.mend.value == 3e-4


def test_a_loss_that_rises_at_a_low_rate_is_not_the_rates_fault():
    noisy = np.repeat([2.5, 1.2, 2.4], 10)
    assert titles(course(noisy, rate=np.repeat([1e-1, 1e-1, 1e-3], 10))) == []
    (high,) = raised(course(falling()) + course([2.0] * 10, first=200, phase=1, thawed=GROUPS[1:]))
    assert high.rule == "ceiling", "at a thaw a rise is expected, but not back to where it began"


def test_steps_that_change_weights_beyond_recognition():
    def told(*ratios, group="layer4"):
        gauges = [{"kind": "gauges", "step": 10, "update_ratio": {group: ratio}, "distance": {}} for ratio in ratios]
        return titles([*course(falling(15), thawed=GROUPS[1:]), *gauges])

    assert told(0.25, 0.2) == ["The learning rate is too high"]
    assert told(0.25, 0.01) == told(0.01, 0.01) == told(0.2) == []
    assert told(2.0, 2.0, group="head") == [], "a new head starts small"


def test_norms_that_leave_two_networks():
    def told(*pairs):
        rows = course(falling(20 * len(pairs)))
        for number, pair in enumerate(pairs):
            rows.insert(21 * number + 20, epoch(number, 1.0, 1.0, best=True) | {"norm_losses": pair})
        return titles(rows, RECIPE.with_value("phases.0.norm_statistics", "batch"))

    assert told([0.5, 2.6], [0.4, 2.5]) == ["It is measured otherwise than it trains"]
    assert told([0.5, 2.6]) == told([0.5, 2.6], [0.5, 0.6]) == told([0.01, 0.05], [0.01, 0.05]) == []
    assert told(None, None) == []
    assert told([0.5, None], [0.4, None]) == ["It is measured otherwise than it trains"], "null is no number in a file"
    assert told([None, None], [None, 2.5]) == []


def test_what_mends_norms_that_leave_two_networks_holds_those_of_thawed_groups_too(tiny: Recipe):
    recipe = tiny.with_value("phases.0.norm_statistics", "hold")
    rows = course(falling(40))
    for number in range(2):
        rows.insert(21 * number + 20, epoch(number, 1.0, 1.0, best=True) | {"norm_losses": [0.5, 2.6]})
    (alarm,) = alarms.Watch(recipe).hear(rows)
    made = session.prepare(recipe.with_value(alarm.mend.path, alarm.mend.value))
    assert not list(in_phase(made.network, made.recipe.phases[0]).by_batch())


def test_fp16_that_overflows_again_and_again():
    fp16 = RECIPE.with_value("training.precision", "fp16")
    rows = course(falling(300))

    def told(*steps):
        return titles(sorted([*rows, *map(event, steps)], key=lambda row: row["step"]), fp16)

    assert told(*range(12)) == [], "a scale is being found"
    assert told(50, 150, 250, 290) == [], "now and then is normal"
    assert told(50, 60, 70, 80) == ["fp16 is too narrow for these gradients"]


def test_steps_that_wait_for_images_once_that_has_cost_a_minute():
    slow = {"waiting": 0.8, "seconds": 0.5}
    assert titles(course(falling(100), **slow)) == []
    (alarm,) = raised(course(falling(400), **slow), RECIPE)
    assert alarm.title == "Training waits for its images"
    assert "80%" in alarm.text
    assert titles(course(falling(400), waiting=None, seconds=5.0)) == [], "earlier runs do not say"


def test_newest_first_and_the_same_however_the_records_come():
    rows = course(falling()) + course(falling(start=0.6, end=0.5), first=200, phase=1, thawed=GROUPS[1:])
    rows += [epoch(10, 0.5, 0.5, phase=1, steps=30), epoch(11, 0.5, 0.5, phase=1, steps=30)]
    watch = alarms.Watch(RECIPE)
    said = [alarm for row in rows for alarm in watch.hear([row])]
    assert said == alarms.Watch(RECIPE).hear(rows)
    assert [alarm.step for alarm in raised(rows)] == sorted((alarm.step for alarm in said), reverse=True)
    again = course(falling(end=0.5, start=0.51), first=400, phase=1, thawed=GROUPS[1:])
    assert watch.hear(again) == [], "it is said once"
