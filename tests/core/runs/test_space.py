"""Before a launch: whether the checkpoints fit on the disk."""

import shutil
from typing import Any

import pytest
import torch

from finetune_core.cli import main
from finetune_core.parts import Optimizer
from finetune_core.recipe import Recipe
from finetune_core.runs import preflight, space, store
from finetune_core.runs.work.worker import work

GB = 10**9


@pytest.mark.parametrize("momentum", [None, 0.0])
@pytest.mark.parametrize("kind", Optimizer.kinds())
def test_what_an_optimizer_remembers_is_what_it_says(kind: str, momentum: float | None) -> None:
    has = momentum is not None and any(knob.name == "momentum" for knob in Optimizer.kinds()[kind].knobs())
    optimizer = Optimizer.kinds()[kind](**({"momentum": momentum} if has else {}))
    weight = torch.nn.Parameter(torch.ones(1000))
    made = optimizer.call().build([{"params": [weight], "lr": 1e-3, "weight_decay": 0.0}])
    for _ in range(2):
        weight.grad = torch.ones(1000)
        made.step()
    kept = sum(value.numel() for value in made.state[weight].values() if torch.is_tensor(value)) // 1000
    assert kept == optimizer.memory()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"training.ema": 0.9},
        {"phases.0.patience": 1},
        {"training.optimizer": "lion", "training.checkpoints": 1},
        {"phases.0.thaw": ["head"]},
    ],
)
def test_a_run_takes_what_was_foretold(tiny: Recipe, values: dict[str, Any]) -> None:
    """A little more, for names and statistics, and a little less, since the last state has gone."""
    recipe = tiny.with_value("phases.0.epochs", 3)
    recipe = recipe.with_value("phases", [recipe.phases[0].model_dump()] * 2)
    for path, value in values.items():
        recipe = recipe.with_value(path, value)
    run = store.create(recipe)
    assert work(run) == 0
    sizes = {path.name: path.stat().st_size for path in run.checkpoints.iterdir()}
    one_state = max(size for name, size in sizes.items() if name.startswith("step-"))
    assert sum(sizes.values()) + one_state == pytest.approx(space.needed(recipe), rel=0.35)


def test_no_room_is_an_error_and_little_room_a_warning(tiny: Recipe) -> None:
    recipe = tiny.with_value("model.backbone.architecture", "resnet50").with_value("training.checkpoints", 5)
    wanted = space.needed(recipe)
    assert 1.9 * GB < wanted < 2.5 * GB, "24 M weights, AdamW, six states and three files of weights"
    assert list(space.finding(recipe, 2 * wanted, "runs")) == []
    (close,) = space.finding(recipe, int(1.1 * wanted), "runs")
    assert close.level == "warn"
    (full,) = space.finding(recipe, wanted - 1, "/the/runs")
    assert full.level == "error"
    assert full.mend
    assert (full.mend.path, full.mend.value) == ("training.checkpoints", 1)
    assert "are free in /the/runs" in str(full.error)
    (hopeless,) = space.finding(recipe, 1000, "runs")
    assert hopeless.mend is None


def test_a_full_disk_is_seen_before_a_launch(
    tiny: Recipe, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert [finding.title for finding in preflight.findings(tiny) if finding.error] == ["Disk"]
    assert not [finding for finding in preflight.findings(tiny, saves=False) if finding.error]
    tiny.save(tmp_path / "recipe.yaml")
    assert main(["train", str(tmp_path / "recipe.yaml")]) == 2
    assert "The disk has no room for this run." in capsys.readouterr().err
    assert not store.list_runs()
