"""Every head and every loss in a whole run: it trains, its rates and losses are numbers, its best model predicts."""

import math

import pytest

from finetune_core import predict, store
from finetune_core.parts import Head, Loss
from finetune_core.recipe import Recipe
from finetune_core.worker import work

CHOICES = [
    *(("model.head", {"kind": kind}) for kind in Head.kinds()),
    *(("training.loss", {"kind": kind}) for kind in Loss.kinds()),
    ("model.head", {"kind": "linear", "bias": "priors"}),
    ("model.head", {"kind": "concat_pool", "hidden": 16}),
    ("training.loss", {"kind": "focal", "balance": "inverse", "divide": "images"}),
    ("model.backbone.drop_path_rate", 0.2),
]


@pytest.mark.parametrize(("path", "value"), CHOICES, ids=lambda each: str(each).replace("'", ""))
def test_it_trains_and_its_model_comes_back(tiny: Recipe, path: str, value: object) -> None:
    recipe = tiny.with_value(path, value)
    run = store.create(recipe)
    assert work(run) == 0, run.status.error
    steps = [record for record in run.records()[0] if record["kind"] == "step"]
    assert steps
    assert all(math.isfinite(step["loss"]) and step["group_grad_norm"]["head"] > 0 for step in steps)
    assert all(step["lr"]["stem"] == pytest.approx(step["lr"]["head"] / 10) for step in steps)
    paths = recipe.data.source.samples().paths[:2]
    for shares in predict.load(run)(paths):
        assert sum(share for _, share in shares) == pytest.approx(1, abs=1e-4)
