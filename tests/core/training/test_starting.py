"""Starting from what a run has learned: its whole network, the head where it fits, in training, finder and race."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.network.build import build, description
from finetune_core.network.network import Network
from finetune_core.parts.backbones import Backbone, Checkpoint, Timm, Torchvision
from finetune_core.parts.heads import MLP, ConcatPool, Head, Linear
from finetune_core.recipe import Model, Phase, Recipe
from finetune_core.runs import preflight, store
from finetune_core.runs.work.worker import work

TINY = Timm(architecture="test_resnet")


def trained(folder: Path, backbone: Backbone = TINY, head: Head | None = None) -> tuple[Network, Model]:
    """A network for 5 classes with weights of its own, and the model that starts from its checkpoint."""
    model = Model(backbone=backbone.replace(weights={"kind": "random"}), head=head or Linear())
    network = build(model, 5)
    for value in network.module.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    path = folder / "best.safetensors"
    save_file(network.module.state_dict(), path, description(model, network, 5))
    return network, model.replace(backbone=backbone.replace(weights=Checkpoint(path=str(path))))


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    return {name for name, value in one.items() if not torch.equal(value, other[name])}


@pytest.mark.parametrize("head", [Linear(), MLP(hidden=8), ConcatPool()], ids=lambda head: head.kind)
@pytest.mark.parametrize("backbone", [TINY, Torchvision(architecture="squeezenet1_1")], ids=lambda b: b.kind)
def test_a_checkpoint_brings_body_and_head(backbone: Backbone, head: Head, tmp_path: Path) -> None:
    network, model = trained(tmp_path, backbone, head)
    again = build(model, 5, image_size=64)
    assert not differing(again.module.state_dict(), network.module.state_dict())
    assert again.groups == network.groups


@pytest.mark.parametrize(("head", "outputs"), [(Linear(), 4), (MLP(hidden=8), 5)], ids=["classes", "kind"])
def test_a_head_of_another_shape_stays_new_and_says_so(head: Head, outputs: int, tmp_path: Path) -> None:
    network, model = trained(tmp_path)
    said: list[str] = []
    again = build(model.replace(head=head), outputs, said.append)
    theirs = network.module.state_dict()
    body = {name: value for name, value in again.module.state_dict().items() if not name.startswith("fc")}
    assert not differing(body, theirs)
    assert any("head is new" in text for text in said)


def test_a_checkpoint_of_another_network_is_told_in_words(tmp_path: Path) -> None:
    _, model = trained(tmp_path)
    other = model.replace(backbone=model.backbone.replace(architecture="test_resnet2"))
    with pytest.raises(UserError, match="do not fit timm test_resnet2"):
        build(other, 5)
    assert "5 classes" in model.backbone.weights.facts(model.backbone)


def test_only_a_new_head_must_thaw(tmp_path: Path) -> None:
    _, model = trained(tmp_path)
    phases = (Phase(thaw=("layer4",)),)
    new = model.replace(backbone=model.backbone.replace(weights={"kind": "file", "path": "x"}))
    said = [[finding.text for finding in preflight.layers(Recipe(model=each, phases=phases))] for each in (model, new)]
    assert ["it is new" in " ".join(texts) for texts in said] == [False, True]


def test_finder_race_and_training_start_from_a_run(tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    tiny.save(tmp_path / "recipe.yaml")
    done = store.create(tiny.with_value("phases.0.epochs", 12).with_value("phases.0.learning_rate", 3e-3))
    assert work(done) == 0
    reached = [r["train_loss"] for r in done.records()[0] if r["kind"] == "epoch"][-1]

    def first_loss(command: str, *options: str) -> float:
        arguments = [command, str(tmp_path / "recipe.yaml"), *options]
        assert main([*arguments, "--from", done.id]) == 0
        printed = capsys.readouterr().out
        folder = json.loads(printed)["run"] if "--json" in options else printed.strip().splitlines()[-1]
        run = store.open_run(folder)
        assert run.recipe.model.backbone.weights == Checkpoint(path=str(done.best))
        return next(r["loss"] for r in run.records()[0] if "loss" in r)

    losses = [
        first_loss("lr-find", "--json", "--steps", "2"),
        first_loss("race", "--json", "--steps", "1", "--rates", "1e-3"),
        first_loss("train", "--set", "phases.0.epochs=1"),
    ]
    assert max(losses) < 2 * reached < torch.tensor(3.0).log().item() / 2
    assert len(set(losses)) == 1, "the same step from the same weights"


def test_from_takes_a_file_too_and_says_what_is_missing(tiny: Recipe) -> None:
    run = store.create(tiny)
    with pytest.raises(UserError, match="no weights yet"):
        store.checkpoint(run.id)
    assert work(run) == 0
    assert store.checkpoint(run.id) == run.best
    assert store.checkpoint(f"{run.id}/checkpoints/last.safetensors") == run.last
    with pytest.raises(UserError, match="no run nothing"):
        store.checkpoint("nothing")


def test_each_phase_leaves_its_weights(tiny: Recipe) -> None:
    phases = [{"epochs": 1, "thaw": ["head"]}, {"epochs": 1, "thaw": ["*"]}]
    run = store.create(tiny.with_value("phases", phases))
    assert work(run) == 0
    assert list(run.weights) == ["best", "end of phase 1", "end"]
    alone = store.create(tiny.with_value("phases", phases[:1]))
    assert work(alone) == 0
    assert list(alone.weights) == ["best", "end"]
    after_first = load_file(run.weights["end of phase 1"])
    assert not differing(after_first, load_file(alone.last))
    assert differing(after_first, load_file(run.last))
