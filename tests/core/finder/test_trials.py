"""Arms of an experiment: trained as any run, from the same start, and measured by what they say they are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.finder.trials import trials
from finetune_core.recipe import Recipe
from finetune_core.recipe.arms import Arm, against, measure
from finetune_core.records import Trial, Tried
from finetune_core.runs import store
from finetune_core.runs.jobs import Experiment
from finetune_core.runs.work.worker import work

Capture = pytest.CaptureFixture[str]


def tried(recipe: Recipe, arms: Sequence[Arm], seeds: int = 1) -> list[Trial]:
    return [each for each in trials(recipe, arms, seeds) if isinstance(each, Trial)]


@pytest.fixture
def short(tiny: Recipe) -> Recipe:
    return tiny.with_value("phases.0.epochs", 2)


def test_a_trial_is_the_run_of_its_recipe(short: Recipe) -> None:
    faster = Arm(name="faster", changes={"phases.0.learning_rate": 0.01})
    made = tried(short, [Arm(name="plain"), faster], seeds=2)
    assert [(each.arm, each.seed) for each in made] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    for each in made:
        recipe = (Arm(name="plain"), faster)[each.arm].of(short)
        run = store.create(recipe.with_value("training.seed", recipe.training.seed + each.seed))
        assert work(run) == 0
        epochs = run.epochs()
        losses = [row["loss"] for row in run.records()[0] if row["kind"] == "step"]
        assert each.losses == pytest.approx(losses)
        assert each.values["score"] == max(row["valid_score"] for row in epochs)
        assert each.values["last"] == epochs[-1]["valid_score"]
        assert each.values["loss"] == pytest.approx(epochs[-1]["valid_loss"])
        assert each.values["first"] == epochs[0]["valid_score"]
        assert each.values["answers"] == pytest.approx(epochs[-1]["valid_score"])


def test_of_numbers_the_best_epoch_is_the_one_with_the_least_error(
    short: Recipe, sources: dict[str, dict[str, str]]
) -> None:
    recipe = short.with_values({"data.source": sources["regression"], "training.loss": {"kind": "l1"}})
    found = list(trials(recipe, [Arm(name="a")], 1))
    epochs, made = found[:-1], found[-1]
    assert made.values["score"] == min(each.valid_score for each in epochs)
    score = measure("last", recipe.task)
    assert (score.lower_is_better, score.share, score.title) == (True, False, "Mean error at the end")
    with pytest.raises(UserError, match="of classes"):
        measure("balanced_accuracy", recipe.task)


def test_the_first_member_is_the_one_alone(short: Recipe) -> None:
    one, both = tried(short, [Arm(name="one"), Arm(name="two", members=2)])
    assert both.losses == one.losses


def test_the_same_seeds_give_the_same(short: Recipe) -> None:
    arms = [Arm(name="a"), Arm(name="b", views=2), Arm(name="c", members=2)]
    one, other = (tried(short, arms, seeds=1) for _ in range(2))
    assert [each.values for each in one] == [each.values for each in other]
    assert [each.losses for each in one] == [each.losses for each in other]


def test_a_rate_is_picked_by_a_range_test_once_or_at_every_phase(short: Recipe) -> None:
    first = short.phases[0]
    two = short.replace(phases=(first.replace(thaw=("head",)), first.replace(thaw=("*",))))
    arms = [Arm(name="once", pick="steepest"), Arm(name="again", pick="steepest", again=True)]
    once, again = tried(two, arms)
    if once.note or again.note:
        pytest.skip("the tiny network's curve is flat here")
    assert once.rates[0] == once.rates[1] == again.rates[0]
    assert again.rates[1] != again.rates[0]
    assert once.starts == [0.5]
    assert "bump" in once.values


def test_what_breaks_down_has_a_note_and_no_values(short: Recipe) -> None:
    [made] = tried(
        short.with_value("training.optimizer", {"kind": "sgd"}),
        [Arm(name="x", changes={"phases.0.learning_rate": 100.0, "phases.0.epochs": 30})],
    )
    assert made.values == {}
    assert "diverged" in made.note or "broke down" in made.note


def test_scaled_gradients_vanish_less(short: Recipe) -> None:
    arms = [Arm(name=form, gradients=form) for form in ("fp32", "fp16", "scaled")]
    whole, half, scaled = (each.values["vanished"] for each in tried(short.with_value("phases.0.thaw", ["*"]), arms))
    assert whole == 0
    assert half >= scaled >= 0


def test_an_experiment_is_a_job_with_a_sentence(short: Recipe, capsys: Capture) -> None:
    job = Experiment(arms=(Arm(name="a"), Arm(name="b", changes={"phases.0.learning_rate": 1e-9})), seeds=2)
    run = store.create(short, job)
    assert work(run) == 0
    rows = run.records()[0]
    assert len([row for row in rows if row["kind"] == Trial.kind]) == 4
    assert len([row for row in rows if row["kind"] == Tried.kind]) == 8
    status = run.status
    assert status.step == status.steps == 8
    said = job.summary(rows, short)
    assert [each["name"] for each in said["arms"]] == ["a", "b"]
    assert said["arms"][0]["mean"] == pytest.approx(np.mean([*said["arms"][0]["values"].values()]))
    assert len(job.lines(rows, short)) == 4


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ([{"name": "a"}], "nothing to compare"),
        ([{"name": "a"}, {"name": "a"}], "nothing to compare"),
        ([{"name": "a"}, {"name": "b", "changes": {"phases.7.epochs": 1}}], "no value at"),
        ([{"name": "a"}, {"name": "b", "changes": {"phases.0.epochs": "many"}}], "does not fit"),
    ],
)
def test_what_cannot_be_tried_is_said_before(tiny: Recipe, arms: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Experiment(arms=tuple(Arm(**each) for each in arms)).prepared(tiny)
    with pytest.raises(UserError, match="Nothing is measured as"):
        Experiment(arms=(Arm(name="a"), Arm(name="b")), measure="beauty").prepared(tiny)


def test_recipes_of_ones_own_are_tried_against_each_other(short: Recipe, tmp_path: Path, capsys: Capture) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    short.replace(name="plain").save(one)
    short.replace(name="slow").with_value("phases.0.learning_rate", 1e-9).save(other)
    assert main(["versus", str(one), str(other), "--seeds", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in said["arms"]] == ["plain", "slow"]
    assert main(["versus", str(one), str(one)]) == 2
    assert "Two of the recipes are the same" in capsys.readouterr().err
    assert main(["versus", str(one)]) == 2
    assert "One recipe was named" in capsys.readouterr().err
    _, arms = against([short.replace(name="x"), short.with_value("training.l1", 0.1).replace(name="x")])
    assert [arm.name for arm in arms] == ["x", "x (2)"]
    with pytest.raises(UserError, match="not measured on the same images"):
        against([short, short.with_value("data.split_seed", 7)])
