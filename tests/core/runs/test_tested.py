"""Before a launch: a rate from where the range test of the same recipe blew up."""

import pytest

from finetune_core.finder.suggest import blow_up, together
from finetune_core.parts import Job
from finetune_core.recipe import Recipe
from finetune_core.records import Find, Suggestions
from finetune_core.runs import store, tested
from finetune_core.runs.jobs import RangeTest
from finetune_core.runs.preflight import findings
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work

WILD = 1.0


def swept(recipe: Recipe, job: Job | None = None, blown_from: int | None = 70, steps: int = 81) -> Run:
    """A test from 1e-7 to 10, ten steps a decade: the loss falls, and from step 70 on (a rate of 1) it blows up."""
    run = store.create(recipe, job or RangeTest())
    for step in range(steps):
        loss = 2.5 - step / 50 + 0.05 * (step % 3)
        loss = 40.0 if blown_from is not None and step >= blown_from else loss
        run.append(Find(step, 1e-7 * 10 ** (step / 10), loss, loss))
    return run


def warned(recipe: Recipe) -> list[str]:
    return [finding.text for finding in tested.rates(recipe)]


def test_a_rate_from_the_blow_up_range_is_warned_of_and_mended(tiny: Recipe) -> None:
    run = swept(tiny)
    wild = tiny.with_value("phases.0.learning_rate", 3.0)
    [found] = [finding for finding in findings(wild) if finding.title == "Learning rate"]
    assert found.level == "warn"
    assert found.text == "The range test of this recipe blew up above 1; the rate is 3."
    assert found.mend
    assert found.mend.value == 0.1, "a tenth, since it suggests nothing"
    run.append(Suggestions(steepest=4.2e-3, minimum_tenth=None, valley=1e-3))
    [found] = tested.rates(wild)
    assert found.mend
    assert (found.mend.title, found.mend.value) == ("Use 0.0042", 4.2e-3), "records that grew are read anew"
    assert warned(wild.with_value(found.mend.path, found.mend.value)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.batch_size", 12),
        ("training.optimizer", {"kind": "sgd"}),
        ("phases.0.thaw", ["head"]),
        ("model.head", {"kind": "mlp"}),
        ("model.backbone.weights", {"kind": "hub"}),
    ],
)
def test_a_test_of_something_else_says_nothing(tiny: Recipe, path: str, value: object) -> None:
    swept(tiny.with_value(path, value))
    assert warned(tiny.with_value("phases.0.learning_rate", 3.0)) == []


def test_tests_downwards_of_one_group_or_that_never_blew_up_say_nothing(tiny: Recipe) -> None:
    swept(tiny, RangeTest(group="layer4"))
    swept(tiny, RangeTest(down=True))
    assert warned(tiny.with_value("phases.0.learning_rate", 3.0)) == []
    swept(tiny)
    assert warned(tiny.with_value("phases.0.learning_rate", 3.0))
    newest = swept(tiny, blown_from=None)
    assert newest.id > store.list_runs(job="find")[1].id
    assert warned(tiny.with_value("phases.0.learning_rate", 3.0)) == [], "the newest one counts"


def test_each_phase_has_its_own_test(tiny: Recipe) -> None:
    second = tiny.phases[0].replace(thaw=("head",), learning_rate=3.0)
    recipe = tiny.replace(phases=(tiny.phases[0], second))
    swept(recipe, RangeTest(phase=2))
    [found] = tested.rates(recipe)
    assert found.title == "Learning rate in phase 2"
    assert found.mend
    assert found.mend.path == "phases.1.learning_rate"


def test_damaged_tests_are_passed_over(tiny: Recipe) -> None:
    run = swept(tiny)
    run.recipe_file.write_text("{")
    assert warned(tiny.with_value("phases.0.learning_rate", 3.0)) == []


def test_the_blow_up_of_a_real_test(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("training.optimizer", {"kind": "sgd"}), RangeTest(high=1e4))
    assert work(run) == 0
    rate = blow_up(*together([row for row in run.records()[0] if row["kind"] == "find"]))
    assert rate is not None
    assert 0.1 < rate < 1e4
