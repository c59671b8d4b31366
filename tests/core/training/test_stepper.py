"""The step of training and of the range test: the same mathematics as torch, by itself and in a loop of plain torch."""

import copy
from collections.abc import Callable

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from finetune_core.errors import UserError
from finetune_core.finder import range_test
from finetune_core.finder.sweep import Sweep
from finetune_core.parts.modules import SutskeverSGD
from finetune_core.recipe import Phase, Recipe, plan
from finetune_core.training import reuse, session
from finetune_core.training.evaluate import evaluate
from finetune_core.training.loop import Trainer
from finetune_core.training.stepper import Stepper

DECAY = {"*": 3.0, "layer?": 50.0, "stem": 0.0}
DECAY_BY_HAND = {"stem": 0.0, **dict.fromkeys(["layer1", "layer2", "layer3", "layer4"], 50.0), "head": 3.0}
SGD = {"kind": "sgd", "weight_decay": 0.0}


@pytest.fixture
def vit(tiny: Recipe) -> Recipe:
    """Without BatchNorm, whose output for an image depends on the others in its part of the batch."""
    recipe = tiny.with_value("model.backbone.architecture", "test_vit").with_value("training.optimizer", SGD)
    return recipe.with_value("phases.0.schedule", {"kind": "constant"}).with_value("phases.0.multipliers", {})


def changed(recipe: Recipe, **training: object) -> Recipe:
    for name, value in training.items():
        recipe = recipe.with_value(f"training.{name}", value)
    return recipe


def stepped(recipe: Recipe, rate: float = 0.0) -> tuple[session.Session, nn.Module, Stepper, float]:
    """A session after one step, the network from before it, and the step's loss."""
    made = session.prepare(recipe)
    before = copy.deepcopy(made.network.module)
    stepper = Stepper(made)
    stepper.enter(Phase(thaw=("*",)))
    stepper.set_rates(dict.fromkeys(made.names, rate))
    outcome = stepper.step(*next(made.train.epoch(0)))
    stepper.outcome = outcome
    return made, before, stepper, outcome.loss


def loss_of(made: session.Session, module: nn.Module) -> torch.Tensor:
    images, labels = next(made.train.epoch(0))
    return made.loss(module(made.normalised(images)), labels)


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in module.named_parameters()}


WEIGHTS = [1.0, 2.0, 7.0]
LOSSES = [
    {"kind": "cross_entropy"},
    {"kind": "cross_entropy", "label_smoothing": 0.1, "balance": "table", "weights": WEIGHTS},
    {"kind": "cross_entropy", "balance": "table", "weights": WEIGHTS, "divide": "images"},
    {"kind": "focal", "balance": "table", "weights": WEIGHTS},
]


@pytest.mark.parametrize("loss", LOSSES, ids=["plain", "weights", "images", "focal"])
@pytest.mark.parametrize(("batch", "parts"), [(6, 2), (6, 3), (7, 3), (6, 100)])
def test_micro_batches_add_up_to_one_batch(vit: Recipe, loss: dict, batch: int, parts: int) -> None:
    made, before, _, reported = stepped(changed(vit, loss=loss, batch_size=batch, accumulate=parts))
    expected = loss_of(made, before)
    expected.backward()
    assert reported == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradients(made.network.module), gradients(before), rtol=1e-4, atol=1e-6)


def test_no_micro_batch_holds_a_single_image(tiny: Recipe) -> None:
    """BatchNorm on 1×1 maps cannot train on one image."""
    recipe = changed(tiny, batch_size=5, accumulate=5)
    sizes: list[int] = []
    made = session.prepare(recipe)
    made.network.module.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    stepper = Stepper(made)
    stepper.enter(Phase(thaw=("*",)))
    for batch in made.train.epoch(0):
        stepper.step(*batch)
    assert sizes == [3, 2, 3, 2, 3, 2, 3]


@pytest.mark.parametrize("longest", [0.05, 1e3])
def test_clipping_is_torchs(vit: Recipe, longest: float) -> None:
    made, before, stepper, _ = stepped(changed(vit, clip_norm=longest))
    loss_of(made, before).backward()
    norm = clip_grad_norm_(before.parameters(), longest)
    assert 0.05 < norm < 1e3
    assert stepper.outcome.norm == pytest.approx(norm.item()), "recorded as it was before clipping"
    for name, gradient in gradients(before).items():
        assert torch.equal(gradient, gradients(made.network.module)[name])


def test_clipping_measures_fp16_gradients_without_their_scale(vit: Recipe) -> None:
    made, _, stepper, _ = stepped(changed(vit, clip_norm=0.05, precision="fp16"))
    exact = stepped(changed(vit, clip_norm=0.05))[2].outcome
    stepper.scaler = torch.amp.GradScaler("cpu", init_scale=256)  # the usual one overflows at first
    outcome = stepper.step(*next(made.train.epoch(0)))
    assert outcome.norm == pytest.approx(exact.norm, rel=0.02)
    norms = [gradient.norm() for gradient in gradients(made.network.module).values()]
    assert torch.stack(norms).norm().item() == pytest.approx(0.05, rel=1e-3)


def test_l1_is_a_term_of_the_loss_that_is_not_shown(tiny: Recipe) -> None:
    made, before, _, reported = stepped(changed(tiny, l1=0.01))
    before.train()
    loss = loss_of(made, before)
    (loss + 0.01 * sum(p.abs().sum() for p in before.parameters() if p.ndim > 1)).backward()
    assert reported == loss.item()
    for name, gradient in gradients(before).items():
        torch.testing.assert_close(gradients(made.network.module)[name], gradient, rtol=1e-5, atol=1e-7)


def test_l1_leaves_frozen_weights_alone(tiny: Recipe) -> None:
    made = session.prepare(changed(tiny, l1=1.0).with_value("phases.0", {"epochs": 1, "thaw": ["head"]}))
    before = made.network.module.get_parameter("conv1.0.weight").clone()
    texts = [record.text for record in Trainer(made).run() if record.kind == "event"]
    assert texts[1] == "Truth check: stem, layer1, layer2, layer3, layer4 stand still; head learns."
    assert torch.equal(made.network.module.get_parameter("conv1.0.weight"), before)


def test_averaged_weights_are_timms_and_are_what_is_measured(tiny: Recipe) -> None:
    made = session.prepare(changed(tiny, ema=0.7))
    trainer = Trainer(made)
    reference = None
    for record in trainer.run():
        if record.kind == "step":
            if reference is None:
                reference = ModelEmaV3(made.network.module, decay=0.7, exclude_buffers=True)
            else:
                reference.update(made.network.module)
            for ours, theirs in zip(
                trainer.kept.state_dict().values(), reference.module.state_dict().values(), strict=True
            ):
                assert torch.equal(ours, theirs)
        if record.kind == "epoch":
            measured = evaluate(made, reference.module, reuse.plain(made).valid)
            assert (record.valid_loss, record.valid_score) == (measured.loss, measured.scores["accuracy"])
            assert record.valid_loss != evaluate(made, made.network.module, reuse.plain(made).valid).loss


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"clip_norm": 0.5},
        {"l1": 1e-3},
        {"accumulate": 3},
        {"ema": 0.5},
        {"clip_norm": 0.5, "l1": 1e-3, "accumulate": 2, "ema": 0.5},
        {"decay": DECAY},
        {"decay": DECAY, "decay_all": True},
    ],
    ids=lambda training: "+".join(training) or "default",
)
def test_a_loop_of_plain_torch_gives_the_same_losses_to_the_last_bit(tiny: Recipe, training: dict) -> None:
    recipe = changed(tiny, optimizer={"kind": "adamw", "weight_decay": 0.1}, **training)
    records = list(Trainer(session.prepare(recipe)).run())
    ours = [record.loss for record in records if record.kind == "step"]
    measured = [record.valid_loss for record in records if record.kind == "epoch"]
    assert (ours, measured) == plain_torch(recipe)


@pytest.mark.parametrize(
    "knobs", [{}, {"nesterov": True}, {"dampening": 0.3}, {"weight_decay": 0.05}, {"momentum": 0.0}]
)
def test_sutskevers_momentum_is_torchs_at_a_constant_rate_and_his_formula_at_others(knobs: dict) -> None:
    own = {"momentum": 0.9, **knobs}

    def walked(make: Callable, rates: list[float]) -> torch.Tensor:
        torch.manual_seed(0)
        weight, goal = nn.Parameter(torch.randn(6)), torch.randn(6)
        optimizer = make([weight], lr=0.1, **own)
        for rate in rates:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            (weight - goal).pow(4).sum().backward()
            optimizer.step()
        return weight.detach()

    constant, falling = [0.01] * 20, [0.01 / (1 + step) for step in range(20)]
    torch.testing.assert_close(walked(SutskeverSGD, constant), walked(torch.optim.SGD, constant))
    if own["momentum"]:
        assert not torch.allclose(walked(SutskeverSGD, falling), walked(torch.optim.SGD, falling), atol=1e-4)

    torch.manual_seed(0)
    weight, goal, velocity = torch.randn(6), torch.randn(6), None
    for rate in falling:
        step = rate * (4 * (weight - goal) ** 3 + own.get("weight_decay", 0.0) * weight)
        share = 1 - own.get("dampening", 0.0)
        velocity = step if velocity is None else own["momentum"] * velocity + share * step
        weight = weight - (step + own["momentum"] * velocity if own.get("nesterov") else velocity)
    torch.testing.assert_close(walked(SutskeverSGD, falling), weight, rtol=1e-4, atol=1e-6)


def test_rates_by_name_are_those_of_plain_torch(tiny: Recipe) -> None:
    rules = {r"layer4\.0": 10.0, "type:BatchNorm2d": 0.5, "type:Conv2d": 3.0, r"layer4\.0\.conv1": 0.1}
    recipe = changed(tiny, optimizer={"kind": "adamw", "weight_decay": 0.1}).with_value("phases.0.by_name", rules)
    made = session.prepare(recipe)
    records = list(Trainer(made).run())
    ours = [record.loss for record in records if record.kind == "step"]
    assert ours == plain_torch(recipe, by_hand)[0]
    assert ours != plain_torch(recipe)[0]
    first = next(record for record in records if record.kind == "step")
    assert first.lr == plan.plan(recipe, made.names, made.train.steps)[0]["lr"], "told are the groups' own rates"


def by_hand(module: nn.Module, name: str) -> float:
    """What those rules mean: the last that fits."""
    kind = type(module.get_submodule(name.rpartition(".")[0]))
    if name.startswith("layer4.0.conv1"):
        return 0.1
    if kind is nn.Conv2d:
        return 3.0
    if issubclass(kind, nn.BatchNorm2d):
        return 0.5
    return 10.0 if name.startswith("layer4.0") else 1.0


def test_each_phase_has_its_own_rates_by_name(tiny: Recipe) -> None:
    first = {"epochs": 1, "thaw": ["*"], "by_name": {"bn": 7.0}, "schedule": {"kind": "constant"}}
    recipe = tiny.with_value("phases", [first, {**first, "by_name": {}}, {**first, "by_name": {"bn": 2, "^fc": 5}}])
    made = session.prepare(recipe)
    trainer, seen = Trainer(made), {}
    names = {id(weight): name for name, weight in made.network.module.named_parameters()}
    for record in trainer.run():
        if record.kind == "step":
            for group in trainer.stepper.optimizer.param_groups:
                for weight in group["params"]:
                    seen.setdefault(record.phase, {})[names[id(weight)]] = group["lr"] / recipe.phases[0].learning_rate
    norms = [name for name in seen[0] if ".bn" in name]
    heads = [name for name in seen[0] if name.startswith("fc.")]
    assert len(norms) > len(heads) > 0
    assert [{seen[phase][name] for name in norms} for phase in range(3)] == [{7.0}, {1.0}, {2.0}]
    assert [{seen[phase][name] for name in heads} for phase in range(3)] == [{1.0}, {1.0}, {5.0}]


def test_a_rate_for_names_that_nothing_has_is_refused_before_the_first_step(tiny: Recipe) -> None:
    made = session.prepare(tiny.with_value("phases.0.by_name", {"attention": 10.0}))
    with pytest.raises(UserError, match="No parameter's name holds attention"):
        Stepper(made)


def plain_torch(
    recipe: Recipe, factor: Callable[[nn.Module, str], float] = lambda module, name: 1.0
) -> tuple[list[float], list[float]]:
    """The recipe's one phase, everything thawed, as one would write it without Thaw: losses of steps and of epochs."""
    made, training = session.prepare(recipe), recipe.training
    model, phase = made.network.module, recipe.phases[0]
    owner = {name: group.name for group in made.network.groups for name in group.parameters}
    factors = DECAY_BY_HAND if training.decay else dict.fromkeys(made.names, 1.0)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [parameter],
                "weight_decay": 0.1 * factors[owner[name]] * (parameter.ndim > 1 or training.decay_all),
                "name": owner[name],
                "factor": factor(model, name),
            }
            for name, parameter in model.named_parameters()
        ]
    )
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(training.ema))
    rates = iter(plan.plan(recipe, made.names, made.train.steps))
    losses, measured = [], []
    torch.manual_seed(training.seed)
    for epoch in range(phase.epochs):
        model.train()
        for images, labels in made.train.epoch(epoch):
            row = next(rates)
            for group in optimizer.param_groups:
                group["lr"] = row["lr"][group["name"]] * group["factor"]
            optimizer.zero_grad()
            total = 0.0
            for some, wanted in zip(
                images.tensor_split(training.accumulate), labels.tensor_split(training.accumulate), strict=True
            ):
                loss = F.cross_entropy(model(made.normalised(some)), wanted) * (len(wanted) / len(labels))
                loss.backward()
                total = total + loss.detach()
            for parameter in model.parameters():
                if parameter.ndim > 1 and training.l1:
                    parameter.grad += training.l1 * parameter.detach().sign()
            if training.clip_norm:
                clip_grad_norm_(model.parameters(), training.clip_norm)
            optimizer.step()
            average.update_parameters(model)
            losses.append(total.item())
        measured.append(plain_loss(made, average.module if training.ema else model))
    return losses, measured


@torch.inference_mode()
def plain_loss(made: session.Session, model: nn.Module) -> float:
    model.eval()
    batches = [(F.cross_entropy(model(made.normalised(x)), y).item(), len(y)) for x, y in made.valid.epoch(0)]
    return sum(loss * images for loss, images in batches) / sum(images for _, images in batches)


def test_the_range_tests_dropout_hangs_on_the_seed_alone(tiny: Recipe) -> None:
    made = session.prepare(tiny.with_value("model.head", {"kind": "mlp", "hidden": 16}))
    first = [record.loss for record in range_test.range_test(made, sweep=Sweep(steps=4))]
    torch.rand(3)
    assert [record.loss for record in range_test.range_test(made, sweep=Sweep(steps=4))] == first


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_range_test_counts_optimizer_steps(vit: Recipe, precision: str) -> None:
    whole = changed(vit, precision=precision, clip_norm=1.0, l1=1e-5, ema=0.9)
    made = session.prepare(changed(whole, accumulate=3))
    wanted = Sweep(steps=9, high=1e-2)
    weights, random = copy.deepcopy(made.network.module.state_dict()), torch.get_rng_state()
    curve = list(range_test.range_test(made, sweep=wanted))
    assert [record.step for record in curve] == list(range(9))
    assert [record.lr for record in curve] == [wanted.rate(step) for step in range(9)]
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in made.network.module.state_dict().items():
        assert torch.equal(value, weights[name])
    at_once = range_test.range_test(session.prepare(whole), sweep=wanted)
    tolerance = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 2e-2}[precision]
    assert [r.loss for r in curve] == pytest.approx([r.loss for r in at_once], rel=tolerance)


def test_an_overflow_of_fp16_is_told_and_changes_nothing(tiny: Recipe) -> None:
    trainer = Trainer(session.prepare(changed(tiny, precision="fp16")))
    trainer.stepper.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    before = {name: value.clone() for name, value in trainer.session.network.module.named_parameters()}
    records = trainer.run()
    told = next(record for record in records if record.kind == "event" and record.name == "overflow")
    assert told.step == 0
    assert all(torch.equal(value, before[name]) for name, value in trainer.session.network.module.named_parameters())
    assert not any(
        record.name == "overflow" for record in Trainer(session.prepare(tiny)).run() if record.kind == "event"
    )
