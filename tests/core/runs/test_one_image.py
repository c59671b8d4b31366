"""A batch of one image where batch norm trains: foretold before launch exactly where torch would stop, and in words."""

from pathlib import Path
from typing import Any

import pytest

from finetune_core.cli import main
from finetune_core.errors import Mend
from finetune_core.findings import Finding
from finetune_core.parts.heads import MLP, ConcatPool, Linear
from finetune_core.recipe import Recipe
from finetune_core.runs import preflight, store
from finetune_core.runs.jobs import Measure
from finetune_core.runs.work.worker import work
from tests.conftest import paint

CONCAT = {"kind": "concat_pool", "hidden": 8}
UPDATE = {"thaw": ["head"], "norm_statistics": "update"}
RESNET = "resnet10t"
# image size, what else differs from everything thawed, whether torch stops
NETWORKS: dict[str, tuple[str, int, dict[str, Any], bool]] = {
    "a map of one place": (RESNET, 32, {}, True),
    "a map of four places": (RESNET, 64, {}, False),
    "its group is frozen": (RESNET, 32, {"phases": [{"thaw": ["layer3", "head"]}]}, False),
    "frozen, but its statistics are updated": (RESNET, 32, {"phases": [UPDATE]}, True),
    "in the second phase": (RESNET, 32, {"phases": [{"thaw": ["head"]}, {"thaw": ["layer4"]}]}, True),
    "in a piece of a group": (RESNET, 32, {"model.split": ["layer4"], "phases": [{"thaw": ["layer4.0.conv2"]}]}, True),
    "in the head": (RESNET, 64, {"model.head": CONCAT}, True),
    "in a head that is frozen": (RESNET, 64, {"model.head": CONCAT, "phases": [{"thaw": ["layer4"]}]}, False),
    "where features are pooled": ("mobilenetv4_conv_small", 96, {}, True),
    "inside of the blocks": ("resnest14d", 64, {"phases": [{"thaw": ["layer1"]}]}, True),
    "none: layer norm": ("test_vit", 160, {}, False),
    "none: layer norm over maps": ("test_convnext", 32, {}, False),
}


@pytest.fixture
def lone(tiny: Recipe, tmp_path: Path) -> Recipe:
    """One image per step, of four."""
    images = paint(tmp_path / "few", per_class=3, classes=2)
    made = tiny.with_value("data.source.path", str(images)).with_value("data.valid_share", 0.3)
    return made.with_value("training.batch_size", 1)


def told(recipe: Recipe) -> list[Finding]:
    return [finding for finding in preflight.findings(recipe) if finding.title == "Batch norm"]


def changed(recipe: Recipe, architecture: str, size: int, changes: dict[str, Any]) -> Recipe:
    recipe = recipe.with_value("model.backbone.architecture", architecture).with_value("data.image_size", size)
    for path, value in {"phases": [{"thaw": ["*"]}], **changes}.items():
        recipe = recipe.with_value(path, [{"epochs": 1, **phase} for phase in value] if path == "phases" else value)
    return recipe


@pytest.mark.parametrize("name", NETWORKS)
def test_preflight_says_what_torch_does(lone: Recipe, name: str) -> None:
    architecture, size, changes, stops = NETWORKS[name]
    recipe = changed(lone, architecture, size, changes)
    found = told(recipe)
    assert [finding.level for finding in found] == ["error"] * stops
    run = store.create(recipe)
    assert work(run) == (2 if stops else 0), run.status.message
    if stops:
        assert run.status.error
        assert run.status.error["what"] == "Batch norm cannot learn from a single image."
        assert found[0].mend == Mend("Use 2", "training.batch_size", 2)
        mended = recipe.with_value(found[0].mend.path, found[0].mend.value)
        assert not told(mended)
        assert work(store.create(mended)) == 0


def test_what_is_held_is_known_only_once_the_network_is_there(lone: Recipe) -> None:
    """So it is a warning: with all norm layers held nothing stops."""
    recipe = changed(lone, RESNET, 32, {"phases": [{"thaw": ["*"], "hold": ["type:BatchNorm2d"]}]})
    assert [finding.level for finding in told(recipe)] == ["warn"]
    assert work(store.create(recipe)) == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_a_single_image_to_train_on(tiny: Recipe, tmp_path: Path, processes: int) -> None:
    """Whatever the batch size."""
    paint(tmp_path / "few", per_class=2, classes=2)
    rows = ["file,number,split", "class_0/0.png,1,train", *[f"class_{c}/1.png,{c},valid" for c in (0, 1)]]
    (tmp_path / "few" / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    table = {"kind": "table", "path": str(tmp_path / "few" / "table.csv"), "task": "regression", "labels": "number"}
    own = {"data.source": {**table, "split": "split"}, "training.loss": {"kind": "mse"}}
    recipe = changed(tiny, RESNET, 32, {**own, "training.processes": processes})
    [finding] = told(recipe)
    assert finding.level == "error"
    assert finding.mend is None, "no batch size gives it company"
    run = store.create(recipe)
    assert work(run) == 2
    assert "single image" in run.status.message


@pytest.mark.parametrize("command", [["train"], ["lr-find", "--steps", "3"], ["race", "--rates", "1e-3"]])
def test_the_command_line_stops_before_it_starts(
    lone: Recipe, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture
) -> None:
    changed(lone, RESNET, 32, {}).save(tmp_path / "recipe.yaml")
    assert main([command[0], str(tmp_path / "recipe.yaml"), *command[1:]]) == 2
    said = capsys.readouterr().err
    assert "Batch norm cannot learn from one image at a time (layer4)" in said
    assert not store.list_runs()


def test_speed_is_measured_nevertheless(lone: Recipe) -> None:
    measure = Measure()
    run = store.create(measure.prepared(changed(lone, RESNET, 32, {})), measure)
    assert work(run) == 0, run.status.message


def test_heads_say_whether_they_normalise() -> None:
    assert [head.batch_norm for head in (Linear(), MLP(), ConcatPool())] == [False, False, True]
