"""Every head and every loss in a whole run: it trains, its rates and losses are numbers, its best model predicts."""

import math

import pytest

from finetune_core.parts import Head, Loss
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict

CHOICES = [
    *(("model.head", {"kind": kind}) for kind in Head.kinds()),
    *(("training.loss", {"kind": kind}) for kind, loss in Loss.kinds().items() if "single_label" in loss.tasks),
    ("model.head", {"kind": "linear", "bias": "priors"}),
    ("model.head", {"kind": "concat_pool", "hidden": 16}),
    ("training.loss", {"kind": "focal", "balance": "inverse", "divide": "images"}),
    ("model.backbone.drop_path_rate", 0.2),
]


@pytest.mark.parametrize(("path", "value"), CHOICES, ids=lambda each: str(each).replace("'", ""))
def test_it_trains_and_its_model_comes_back(tiny: Recipe, path: str, value: object) -> None:
    recipe = tiny.with_value(path, value)
    for shares in guesses(recipe):
        assert sum(share for _, share in shares) == pytest.approx(1, abs=1e-4)


OTHERS = [(loss, task) for loss in Loss.kinds().values() for task in loss.tasks if task != "single_label"]


@pytest.mark.parametrize(("loss", "task"), OTHERS, ids=lambda each: getattr(each, "kind", each))
def test_other_tasks_are_learned_too(tiny: Recipe, sources: dict, loss: type[Loss], task: str) -> None:
    recipe = tiny.with_value("data.source", sources[task]).with_value("training.loss", {"kind": loss.kind})
    names = {"multi_label": {"class_0", "class_1", "class_2", "even"}, "regression": {"number"}}[task]
    for answer in guesses(recipe):
        assert {name for name, _ in answer} == names
        assert task == "regression" or all(0 <= share <= 1 for _, share in answer)


def guesses(recipe: Recipe) -> list[list[tuple[str, float]]]:
    """Train the recipe; what its best model then says of two of its images."""
    run = store.create(recipe)
    assert work(run) == 0, run.status.error
    steps = [record for record in run.records()[0] if record["kind"] == "step"]
    assert steps
    assert all(math.isfinite(step["loss"]) and step["group_grad_norm"]["head"] > 0 for step in steps)
    assert all(step["lr"]["stem"] == pytest.approx(step["lr"]["head"] / 10) for step in steps)
    return predict.load(run)(recipe.data.source.samples().paths[:2])
