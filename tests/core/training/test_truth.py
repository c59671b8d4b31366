"""The truth check sees every way in which a frozen group can move or a thawed one stand still, and changes nothing."""

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from finetune_core.finder import range_test
from finetune_core.network import freezing
from finetune_core.network.freezing import Division, divide, in_phase, param_groups
from finetune_core.network.network import Network
from finetune_core.recipe import Phase, Recipe
from finetune_core.records import Record
from finetune_core.runs import preflight, store
from finetune_core.runs.work import worker
from finetune_core.runs.work.worker import work
from finetune_core.training import session
from finetune_core.training.loop import Trainer
from finetune_core.training.truth import Witness

PHASES = [
    {"epochs": 1, "thaw": ["layer4", "head"], "learning_rate": 1e-2, "schedule": {"kind": "constant"}},
    {"epochs": 1, "thaw": ["head"], "learning_rate": 1e-2},
]


@pytest.fixture
def recipe(tiny: Recipe) -> Recipe:
    return tiny.with_value("phases", PHASES)


def checks(records: Sequence[Record]) -> list[str]:
    return [record.text for record in records if record.kind == "event" and record.name.startswith("truth")]


def trained(recipe: Recipe) -> list[Record]:
    return list(Trainer(session.prepare(recipe)).run())


def test_a_true_run_is_told_once_per_phase(recipe: Recipe) -> None:
    records = trained(recipe)
    assert checks(records) == [
        "Truth check: stem, layer1, layer2, layer3 stand still; layer4, head learn.",
        "Truth check: stem, layer1, layer2, layer3, layer4 stand still; head learns.",
    ]
    marks = [(record.name, record.step) for record in records if record.kind == "event"]
    assert marks == [("phase", 0), ("truth", 0), ("phase", 3), ("truth", 3)]
    assert checks(trained(recipe.with_value("phases", [{"epochs": 1, "thaw": ["*"]}]))) == [
        "Truth check: stem, layer1, layer2, layer3, layer4, head learn."
    ]


def test_the_check_changes_neither_losses_nor_random_numbers(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe.with_value("model.head", {"kind": "mlp", "hidden": 8})
    with_check = [record.loss for record in trained(recipe) if record.kind == "step"], torch.get_rng_state()
    monkeypatch.setattr(Trainer, "_witness", lambda _: None)
    without = [record.loss for record in trained(recipe) if record.kind == "step"], torch.get_rng_state()
    assert with_check[0] == without[0]
    assert torch.equal(with_check[1], without[1])


def test_a_resumed_run_is_checked_again(recipe: Recipe) -> None:
    run = store.create(recipe)
    work(run, watch=lambda record: run.ask("stop") if record.kind == "step" and record.step == 1 else None)
    assert work(run) == 0
    marks = [record["step"] for record in run.records()[0] if record.get("name") == "truth"]
    assert marks == [0, 2, 3]


# Faults planted in Thaw's own way of freezing. Its optimizer gives frozen groups the rate 0, so nothing moves at once.


def freeze_only_conv(division: Division) -> None:
    """Seed 001's loop, word for word: a parameter is never a layer, so it freezes nothing."""
    for param in division.network.module.parameters():
        if isinstance(param, nn.Conv2d):
            param.requires_grad = False


def freeze_too_much(division: Division) -> None:
    real_freeze(divide(division.network, ["head"]))


def train_everything(division: Division) -> None:
    division.network.module.train()


def forget_layer4(*args: object) -> list[dict]:
    return [each for each in real_param_groups(*args) if each["name"] != "layer4"]


real_freeze, real_param_groups = Division.freeze, param_groups


@pytest.mark.parametrize(
    ("place", "fault", "told"),
    [
        (
            "freeze",
            freeze_only_conv,
            "layer3 are frozen, but received a gradient (conv1.0.weight and ",
        ),
        ("freeze", freeze_too_much, "layer4 should learn, but received no gradient (layer4.0.conv1.weight and "),
        (
            "train_mode",
            train_everything,
            "layer3 are frozen, but their BatchNorm statistics moved (conv1.1.running_mean",
        ),
        ("param_groups", forget_layer4, "layer4 should learn, but the optimizer does not know it (layer4.0.conv1.wei"),
    ],
)
def test_a_planted_fault_is_told_and_the_run_goes_on(
    recipe: Recipe,
    place: str,
    fault: Callable,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(freezing if place == "param_groups" else Division, place, fault)
    run = store.create(recipe)
    assert work(run, worker._log_failed_check) == 0
    [first, *_] = [record for record in run.records()[0] if record.get("name", "").startswith("truth")]
    assert first["name"] == "truth_failed"
    assert told in first["text"]
    assert first["text"].startswith("Truth check failed: ")
    assert run.status.state == "finished"
    assert run.status.message.startswith("Finished. Truth check failed: ")
    assert told in capsys.readouterr().err


def test_what_is_held_is_watched_within_its_group(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe.with_value("phases.0.hold", ["type:Conv2d", "bn1"])
    assert checks(trained(recipe))[0] == (
        "Truth check: stem, layer1, layer2, layer3, layer4 (held) stand still; layer4, head learn."
    )
    for fault in ("freeze", "train_mode"):
        with monkeypatch.context() as planted:
            real = getattr(Division, fault)
            without = lambda division, real=real: real(divide(division.network, division.thawed))  # noqa: E731
            planted.setattr(Division, fault, without)
            told = checks(trained(recipe))[0]
        some = {
            "freeze": "layer4 (held) is frozen, but received a gradient (layer4.0.conv1.weight and ",
            "train_mode": "layer4 (held) is frozen, but its BatchNorm statistics moved (layer4.0.bn1.running_mean",
        }
        assert some[fault] in told


def test_a_hold_that_means_nothing_stops_the_run_before_it_begins(recipe: Recipe) -> None:
    run = store.create(recipe.with_value("phases.1.hold", ["layer9"]))
    assert work(run) == 2
    assert run.status.error["what"] == "No parameter's name holds layer9."
    assert not run.records()[0]


# Faults in any loop: the check needs a network and an optimizer, not the trainer.


def plain(recipe: Recipe, kind: type[torch.optim.Optimizer], **options: float) -> tuple[Network, torch.optim.Optimizer]:
    network = session.prepare(recipe).network
    network.module.train()
    return network, kind(network.module.parameters(), **options)


def step(network: Network, optimizer: torch.optim.Optimizer) -> None:
    network.module(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    optimizer.step()


def test_the_conv_loop_of_seed_001_moves_what_it_calls_frozen(recipe: Recipe) -> None:
    network, optimizer = plain(recipe, torch.optim.SGD, lr=0.01)
    freeze_only_conv(divide(network, ()))
    witness = Witness(in_phase(network, Phase()))
    step(network, optimizer)
    verdict = witness.verdict(optimizer)
    assert not verdict.kept
    assert "layer3, layer4 are frozen, but their weights moved (conv1.0.weight and " in verdict.text
    assert "head" not in verdict.text


@pytest.mark.parametrize("stale", ["momentum", "gradient"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}), (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.0})],
)
def test_what_is_stale_moves_a_frozen_weight(
    recipe: Recipe, kind: type[torch.optim.Optimizer], options: dict, stale: str
) -> None:
    network, optimizer = plain(recipe, kind, **options)
    step(network, optimizer)
    divide(network, ["head"]).train_mode()
    for name, parameter in network.module.named_parameters():
        parameter.requires_grad_(name.startswith("fc."))
    if stale == "momentum":
        optimizer.zero_grad(set_to_none=False)  # a gradient of zero still lets the momentum work
    witness = Witness(in_phase(network, Phase()))
    step(network, optimizer)
    assert "layer3, layer4 are frozen, but their weights moved (" in witness.verdict(optimizer).text

    divide(network, ["head"]).freeze()  # clears the gradients: nothing is left to move them
    witness = Witness(in_phase(network, Phase()))
    step(network, optimizer)
    assert witness.verdict(optimizer).kept


def test_every_single_weight_and_buffer_is_watched(recipe: Recipe) -> None:
    network, optimizer = plain(recipe, torch.optim.SGD, lr=0.0)
    divide(network, []).freeze()
    for name, tensor in [*network.module.named_parameters(), *network.module.named_buffers()]:
        witness = Witness(divide(network, ()))
        assert witness.verdict(optimizer).kept
        with torch.no_grad():
            tensor[(-1,) * tensor.ndim] += 1
        assert f"({name})" in witness.verdict(optimizer).text


def test_a_frozen_number_that_is_none_stands_still_too(recipe: Recipe) -> None:
    network, optimizer = plain(recipe, torch.optim.SGD, lr=0.0)
    divide(network, []).freeze()
    network.module.get_parameter("fc.bias").detach().fill_(float("nan"))
    witness = Witness(divide(network, ()))
    assert witness.verdict(optimizer).kept
    network.module.get_parameter("fc.bias").detach().fill_(0.0)
    assert not witness.verdict(optimizer).kept


def test_the_truth_is_looked_at_again_every_so_many_steps(recipe: Recipe) -> None:
    often = recipe.with_value("training.truth_every", 2)
    records = trained(often)
    steps = [record.step for record in records if record.kind == "step"]
    looked = [record.step for record in records if record.kind == "event" and record.name == "truth"]
    begins = [record.step for record in records if record.kind == "event" and record.name == "phase"]
    assert looked == [step for step in steps if step % 2 == 0 or step in begins]
    plain = [record.loss for record in trained(recipe) if record.kind == "step"]
    assert [record.loss for record in records if record.kind == "step"] == plain, "looking changes nothing"


def test_a_gradient_of_zero_is_worth_a_word(recipe: Recipe) -> None:
    made = session.prepare(recipe)
    nn.init.zeros_(made.network.module.get_parameter("fc.weight"))  # nothing gets past it in the first step
    first = checks(list(Trainer(made).run()))[0]
    assert first.endswith("layer4, head learn. The first gradient of layer4 was exactly zero, though.")


# The policy for the norm layers of frozen groups.


def test_frozen_norm_layers_may_update_their_statistics_alone(recipe: Recipe) -> None:
    made = session.prepare(recipe.with_value("phases.0.norm_statistics", "update"))
    module = made.network.module
    keys, before = list(module.state_dict()), {name: value.clone() for name, value in module.state_dict().items()}
    running = Trainer(made).run()
    for record in running:
        if record.kind == "step":
            break
    after = module.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    body = {name for name in moved if not name.startswith(("layer4.", "fc."))}
    assert body == {name for name in keys if "running_" in name or "num_batches" in name} - {
        name for name in keys if name.startswith("layer4.")
    }
    assert list(after) == keys
    assert next(record for record in running if record.kind == "event").text == (
        "Truth check: stem, layer1, layer2, layer3 stand still, but for their norm statistics; layer4, head learn."
    )

    images, _ = next(made.train.epoch(0))
    conv = module.get_submodule("conv1.0")
    expected = 0.9 * before["conv1.1.running_mean"] + 0.1 * conv(made.normalised(images)).mean((0, 2, 3))
    torch.testing.assert_close(after["conv1.1.running_mean"], expected)


def test_frozen_norm_layers_may_normalise_by_the_batch_and_keep_their_statistics(recipe: Recipe) -> None:
    made = session.prepare(recipe.with_value("phases.0.norm_statistics", "batch"))
    module = made.network.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    records = list(Trainer(made).run())
    loss = next(record.loss for record in records if record.kind == "step")
    after = module.state_dict()
    body = [name for name in before if not name.startswith(("layer4.", "fc."))]
    assert all(torch.equal(before[name], after[name]) for name in body), "statistics and their counts too"
    assert checks(records)[0].startswith("Truth check: stem, layer1, layer2, layer3 stand still; layer4, head learn.")
    # Lightning's way, written out in plain torch: the same loss in the first step
    plain = session.prepare(recipe)
    own, (images, labels) = plain.network.module, next(plain.train.epoch(0))
    own.load_state_dict(before)
    own.train()
    for name, layer in own.named_modules():
        if isinstance(layer, nn.BatchNorm2d) and not name.startswith("layer4"):
            layer.track_running_stats = False
    with torch.no_grad():
        assert loss == pytest.approx(float(plain.loss(own(plain.normalised(images)), labels)), rel=1e-5)


def test_what_normalised_by_the_batch_has_statistics_again_once_it_thaws(recipe: Recipe) -> None:
    network = session.prepare(recipe).network
    norm = network.module.get_submodule("conv1.1")
    divide(network, ["head"], statistics="batch").train_mode()
    assert (norm.training, norm.track_running_stats) == (True, False)
    divide(network, ["*"], statistics="batch").train_mode()
    assert (norm.training, norm.track_running_stats) == (True, True)
    divide(network, ["head"]).train_mode()
    assert (norm.training, norm.track_running_stats) == (False, True)


def test_single_groups_have_a_policy_of_their_own(recipe: Recipe) -> None:
    """layer4 learns and is held, stem and layer2 adapt, what else is frozen goes by the batch and keeps nothing."""
    norms = {"s*": "update", "layer2": "update", "layer4": "hold"}
    made = session.prepare(recipe.with_values({"phases.0.norm_statistics": "batch", "phases.0.norms": norms}))
    module = made.network.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    records = list(Trainer(made).run())
    after = module.state_dict()
    statistics = [name for name in before if "running_" in name]
    moved = {name.split(".")[0] for name in statistics if not torch.equal(before[name], after[name])}
    assert moved == {"conv1", "bn1", "layer2"}
    assert not torch.equal(before["layer4.0.bn1.weight"], after["layer4.0.bn1.weight"]), "its weights learn"
    assert "stem, layer1, layer2, layer3 stand still, but for their norm statistics" in checks(records)[0]
    # the same in plain torch: the loss of the first step
    plain = session.prepare(recipe)
    own, (images, labels) = plain.network.module, next(plain.train.epoch(0))
    own.load_state_dict(before)
    own.train().layer4.eval()
    with torch.no_grad():
        wanted = float(plain.loss(own(plain.normalised(images)), labels))
    assert next(record.loss for record in records if record.kind == "step") == pytest.approx(wanted, rel=1e-5)


def test_a_policy_for_a_group_that_is_not_there_is_told_before_the_run(recipe: Recipe) -> None:
    wrong = recipe.with_value("phases.0.norms", {"layer9": "hold"})
    told = [finding.text for finding in preflight.layers(wrong) if finding.level == "error"]
    assert told[0].startswith("There is no layer group called layer9.")


def test_how_far_training_and_measuring_are_apart_is_measured_and_leaves_no_trace(recipe: Recipe) -> None:
    made = session.prepare(recipe.with_value("phases.0.norm_statistics", "batch"))
    trainer = Trainer(made)
    module = made.network.module
    for record in trainer.run():
        if record.kind != "epoch":
            continue
        if record.phase == 1:
            assert record.norm_losses is None, "all norm layers hold"
            continue
        before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
        modes = [layer.training for layer in module.modules()]
        images, labels = next(made.train.epoch(record.epoch))
        own = copy.deepcopy(module).eval()
        with torch.no_grad():
            measured = float(made.loss(own(made.normalised(images)), labels))
            for layer in own.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.train()
            by_batch = float(made.loss(own(made.normalised(images)), labels))
        assert record.norm_losses == pytest.approx((by_batch, measured), rel=1e-5)
        assert abs(by_batch - measured) > 1e-3
        assert modes == [layer.training for layer in module.modules()]
        assert torch.equal(random, torch.get_rng_state())
        assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())


def test_the_range_test_keeps_to_the_policy_too(recipe: Recipe) -> None:
    losses = {}
    for policy in ("hold", "update"):
        made = session.prepare(recipe.with_value("phases.0.norm_statistics", policy))
        found = next(range_test.range_test(made)).loss
        losses[policy] = next(record.loss for record in Trainer(made).run() if record.kind == "step")
        assert found == losses[policy]
    assert losses["hold"] != losses["update"]


def test_only_the_norm_layers_of_frozen_groups_are_in_train_mode(recipe: Recipe) -> None:
    network = session.prepare(recipe).network
    divide(network, ["head"], statistics="update").train_mode()
    inside = [path for group in network.groups for top in group.modules for path in paths(network, top)]
    training = {path for path in inside if network.module.get_submodule(path).training}
    norms = {path for path in inside if isinstance(network.module.get_submodule(path), nn.BatchNorm2d)}
    head = {path for top in network.groups[-1].modules for path in paths(network, top)}
    assert norms
    assert training == norms | head


def paths(network: Network, top: str) -> list[str]:
    return [path for path, _ in network.module.get_submodule(top).named_modules(prefix=top)]


def test_a_frozen_weight_that_moves_is_seen_though_statistics_may(recipe: Recipe) -> None:
    network, optimizer = plain(recipe, torch.optim.SGD, lr=0.01)
    witness = Witness(in_phase(network, Phase(norm_statistics="update")))
    step(network, optimizer)
    text = witness.verdict(optimizer).text
    assert "layer4 are frozen, but their weights moved" in text
    assert "statistics" not in text
