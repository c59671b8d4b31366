"""Training end to end on tiny images: exact, frozen where it says so, as planned, stoppable, resumable, traceless."""

import hashlib
import math
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import psutil
import pytest
import torch
from safetensors.torch import load_file

from finetune_core.errors import UserError
from finetune_core.finder import race, range_test
from finetune_core.finder.suggest import winner
from finetune_core.finder.sweep import Sweep
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe, plan
from finetune_core.records import Event
from finetune_core.runs import launch, store
from finetune_core.runs.jobs import RangeTest
from finetune_core.runs.work.worker import work
from finetune_core.training import reuse, session
from finetune_core.training.evaluate import evaluate
from finetune_core.training.loop import Trainer
from finetune_core.understand import predict

PHASES = [
    {"epochs": 1, "thaw": ["head"], "learning_rate": 1e-2, "schedule": {"kind": "constant"}},
    {"epochs": 2, "thaw": ["layer4", "head"], "learning_rate": 3e-3, "multipliers": {"layer4": 0.1}},
]


def _records(recipe: Recipe) -> list[dict]:
    run = store.create(recipe)
    assert work(run) == 0
    return run.records()[0]


def _losses(records: list[dict]) -> list[float]:
    return [record["loss"] for record in records if record["kind"] == "step"]


def _measured(records: list[dict]) -> list[float]:
    return [record["valid_loss"] for record in records if record["kind"] == "epoch"]


def _hash(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def test_two_runs_of_one_recipe_agree_to_the_last_bit(tiny: Recipe) -> None:
    first, second = _losses(_records(tiny)), _losses(_records(tiny))
    assert first == second
    assert len(first) == 6
    assert _losses(_records(tiny.with_value("training.seed", 1))) != first


def test_training_learns(tiny: Recipe) -> None:
    recipe = tiny.with_value("phases.0.epochs", 8).with_value("phases.0.learning_rate", 3e-3)
    epochs = [record for record in _records(recipe) if record["kind"] == "epoch"]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] / 2


def test_the_first_loss_is_that_of_guessing(tiny: Recipe) -> None:
    assert _losses(_records(tiny))[0] == pytest.approx(torch.tensor(3.0).log().item(), abs=0.05)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_rates_are_as_planned_at_every_step_and_group(tiny: Recipe, precision: str) -> None:
    recipe = tiny.with_value("phases", PHASES).with_value("training.precision", precision)
    records = _records(recipe)
    steps = [record for record in records if record["kind"] == "step"]
    names = list(steps[0]["lr"])
    planned = plan.plan(recipe, names, len(steps) // recipe.epochs)
    assert [{"step": step["step"], "lr": step["lr"]} for step in steps] == planned
    assert [record["text"] for record in records if record.get("name") == "phase"] == [
        "Phase 1 of 2: head thawed",
        "Phase 2 of 2: layer4, head thawed",
    ]


def test_frozen_groups_keep_every_weight_and_buffer(tiny: Recipe) -> None:
    recipe = tiny.with_value("phases", PHASES).with_value("training.optimizer", {"kind": "adamw", "weight_decay": 0.5})
    made = session.prepare(recipe)

    def hashes() -> dict[str, str]:
        state = made.network.module.state_dict()
        return {
            group.name: _hash({k: v for k, v in state.items() if _belongs(k, group, made.network.module)})
            for group in made.network.groups
        }

    before = hashes()
    for _ in Trainer(made).run():
        pass
    changed = {name for name, value in hashes().items() if value != before[name]}
    assert changed == {"layer4", "head"}


def _belongs(key: str, group, module: torch.nn.Module) -> bool:
    """Parameters by name, buffers (BatchNorm statistics) by their module."""
    return key in group.parameters or key.rpartition(".")[0] in group.modules


def test_a_group_frozen_again_stands_still_though_it_had_momentum(tiny: Recipe) -> None:
    phases = [{**PHASES[1], "epochs": 1}, PHASES[0]]
    made = session.prepare(tiny.with_value("phases", phases).with_value("training.optimizer", {"kind": "sgd"}))
    layer4 = None
    for record in Trainer(made).run():
        now = _hash({k: v for k, v in made.network.module.state_dict().items() if k.startswith("layer4")})
        if record.kind == "event" and record.name == "phase" and record.step > 0:
            layer4 = now
        if layer4:
            assert now == layer4


@pytest.mark.parametrize(
    "optimizer",
    [{"kind": "sgd", "momentum": 0.9, "weight_decay": 0.5}, {"kind": "adamw", "weight_decay": 0.5}],
    ids=lambda optimizer: optimizer["kind"],
)
def test_held_weights_stand_still_in_thawed_groups_though_they_had_momentum(tiny: Recipe, optimizer: dict) -> None:
    everything = {"epochs": 1, "thaw": ["*"], "learning_rate": 1e-2}
    phases = [everything, {**everything, "hold": ["type:Conv2d", "layer4"]}]
    made = session.prepare(tiny.with_value("phases", phases).with_value("training.optimizer", optimizer))
    trainer, module = Trainer(made), made.network.module
    convolutions = [path for path, layer in module.named_modules() if isinstance(layer, torch.nn.Conv2d)]
    held = {n for n, _ in module.named_parameters() if n.startswith("layer4") or n.rpartition(".")[0] in convolutions}
    free = {name for name, _ in module.named_parameters()} - held
    hashes, remembered = [], set()
    for record in trainer.run():
        state = {k: v for k, v in module.state_dict().items() if k in held or k.startswith("layer4")}
        hashes.append((record.kind, getattr(record, "phase", None), _hash(state)))
        if record.kind == "step" and record.phase == 1:
            assert remembered <= free
        remembered = {name for name, p in module.named_parameters() if p in trainer.stepper.optimizer.state}
    first = [value for kind, phase, value in hashes if kind == "step" and phase == 0]
    assert len(set(first)) == len(first), "they move while they are not held"
    assert {value for kind, phase, value in hashes if kind == "step" and phase == 1} == {first[-1]}
    assert remembered == free, "the optimizer forgets what is held, and nothing else"


def test_the_range_test_leaves_no_trace(tiny: Recipe) -> None:
    alone = _losses(_records(tiny))
    made = session.prepare(tiny)
    before, random = _hash(made.network.module.state_dict()), torch.get_rng_state()
    curve = list(range_test.range_test(made, sweep=Sweep(steps=30)))
    assert _hash(made.network.module.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert [record.loss for record in Trainer(made).run() if record.kind == "step"] == alone
    assert curve[0].lr == pytest.approx(1e-7)
    assert curve[0].smooth == pytest.approx(curve[0].loss), "bias-corrected from the first step"


def test_lr_find_and_train_is_train_alone(tiny: Recipe) -> None:
    alone = _losses(_records(tiny))
    assert work(store.create(tiny, RangeTest(steps=10))) == 0
    assert _losses(_records(tiny)) == alone


def test_tries_have_seeds_of_their_own_and_the_first_is_the_single_one(tiny: Recipe) -> None:
    def curves(**options) -> list[list[float]]:
        run = store.create(tiny, RangeTest(steps=6, **options))
        assert work(run) == 0
        rows = [row for row in run.records()[0] if row["kind"] == "find"]
        return [[row["loss"] for row in rows if row["trial"] == trial] for trial in range(options.get("tries", 1))]

    three = curves(tries=3)
    assert [len(curve) for curve in three] == [6, 6, 6]
    assert three[0] == curves()[0]
    assert len({curve[0] for curve in three}) == 3


def test_one_groups_rate_moves_alone(tiny: Recipe) -> None:
    made = session.prepare(tiny)
    chosen = made.recipe.phases[0]
    rates = range_test._rates(chosen, made.names, Sweep(group="layer4"))(0.5)
    assert rates == {**plan.peak_rates(chosen, made.names), "layer4": 0.5}
    everything = range_test._rates(chosen, made.names, Sweep())(0.5)
    assert everything["stem"] == pytest.approx(0.05), "ratios are kept"
    with pytest.raises(UserError, match="called tail"):
        next(range_test.range_test(made, sweep=Sweep(group="tail")))


def test_a_race_is_fair_and_leaves_no_trace(tiny: Recipe) -> None:
    made = session.prepare(tiny)
    before, random = _hash(made.network.module.state_dict()), torch.get_rng_state()
    records = list(race.race(made, {"slow": 1e-6, "good": 3e-3, "wild": 100.0}, steps=12))
    assert _hash(made.network.module.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), random)
    first = [record.loss for record in records if record.kind == "lap" and record.step == 0]
    assert len(set(first)) == 1, "the same start and images"
    places = [asdict(record) | {"kind": "place"} for record in records if record.kind == "place"]
    assert [place["contender"] for place in places] == ["slow", "good", "wild"]
    places = [
        {**place, "valid_loss": place["valid_loss"] if math.isfinite(place["valid_loss"]) else None} for place in places
    ]
    assert winner(places)["contender"] == "good"


def test_a_race_of_one_phase_is_the_run_itself(tiny: Recipe) -> None:
    made, chosen = session.prepare(tiny), tiny.phases[0]
    raced = [r.loss for r in race.race(made, {"own": chosen.learning_rate}, steps=6) if r.kind == "lap"]
    assert raced == _losses(_records(tiny))


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"accumulate": 2, "clip_norm": 0.5, "l1": 1e-4, "ema": 0.7},
        {"ema": 0.7, "precision": "fp16"},
        {"mix": {"kind": "either", "alpha": 1.0}},
    ],
    ids=lambda training: "+".join(training) or "default",
)
def test_a_stopped_run_goes_on_exactly(tiny: Recipe, training: dict) -> None:
    recipe = tiny.with_value("phases", PHASES).with_value("model.head", {"kind": "mlp", "hidden": 16})
    for name, value in training.items():
        recipe = recipe.with_value(f"training.{name}", value)
    whole = store.create(recipe)
    assert work(whole) == 0
    expected = _losses(whole.records()[0]), _measured(whole.records()[0])
    for stop_at in (1, 3, 4):
        run = store.create(recipe)
        work(run, watch=lambda record, run=run, at=stop_at: _stop_at(run, record, at))
        assert run.status.state == "stopped"
        assert run.status.step == stop_at
        assert work(run) == 0
        assert run.status.state == "finished"
        assert (_losses(run.records()[0]), _measured(run.records()[0])) == expected
        assert _hash(load_file(run.last)) == _hash(load_file(whole.last))
        assert _hash(load_file(run.best)) == _hash(load_file(whole.best))


def test_the_averaged_weights_are_what_is_saved(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("training.ema", 0.9))
    assert work(run) == 0
    made = session.prepare(run.recipe)
    made.network.module.load_state_dict(load_file(run.last))
    assert evaluate(made, made.network.module, reuse.plain(made).valid).loss == _measured(run.records()[0])[-1]


def _stop_at(run: store.Run, record, steps: int) -> None:
    if record.kind == "step" and record.step == steps - 1:
        run.ask("stop")


def test_a_worker_of_its_own_runs_stops_and_is_found(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 500))
    launch.start(run)
    _wait(lambda: run.status.step > 2)
    again = store.open_run(run.id)
    assert again.status.state == "running"
    launch.stop(again, wait=True)
    assert again.status.state == "stopped"
    assert again.last.exists()
    assert again.log_tail() == ""


def test_ctrl_c_saves_and_stops(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 500))
    child = subprocess.Popen([sys.executable, "-m", "finetune_core.runs.work.worker", str(run.path)], cwd=ROOT)
    _wait(lambda: run.status.step > 2)
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 0
    assert run.status.state == "stopped"


def test_a_killed_worker_is_lost_and_can_go_on(tiny: Recipe) -> None:
    run = store.create(tiny.with_value("phases.0.epochs", 60))
    launch.start(run)
    _wait(lambda: run.status.epoch > 1)
    launch.end_by_force(run)
    assert run.status.state == "lost"
    assert work(run) == 0
    assert len(_losses(run.records()[0])) == 180, "no step twice, none missing"


def _wait(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_a_rate_far_too_high_is_told_in_words(tiny: Recipe) -> None:
    recipe = tiny.with_value("phases.0.learning_rate", 100).with_value("phases.0.epochs", 40)
    run = store.create(recipe.with_value("training.optimizer", {"kind": "sgd"}))
    assert work(run) == 2
    assert run.status.state == "diverged"
    assert "far above" in run.status.error["what"]


def test_checkpoints_load_in_timm_and_predict(tiny: Recipe, images) -> None:
    import timm

    run = store.create(tiny)
    assert work(run) == 0
    model = timm.create_model("test_resnet", num_classes=3)
    model.load_state_dict(load_file(run.best))
    image = next(images.glob("class_0/*.png"))
    predictor = predict.load(run)
    [answer] = predictor([image], top=3)
    assert sum(share for _, share in answer) == pytest.approx(1, abs=1e-5)
    assert {name for name, _ in answer} == {"class_0", "class_1", "class_2"}
    assert run.targets
    assert run.targets.names == ("class_0", "class_1", "class_2")


def test_predicting_before_the_first_epoch_is_told_in_words(tiny: Recipe) -> None:
    with pytest.raises(UserError, match="no model yet"):
        predict.load(store.create(tiny))


def test_the_worker_needs_neither_streamlit_nor_plotly() -> None:
    code = "import sys, finetune_core.runs.work.worker; sys.exit(bool({'streamlit', 'plotly'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_run_that_was_killed_before_it_saved_starts_anew_without_doubles(tiny: Recipe) -> None:
    run = store.create(tiny)
    for step in range(2):  # what a worker had written when it was killed in its first epoch
        run.append(Event("number", step, "of the first attempt"))
    with run.records_file.open("a") as file:
        file.write('{"kind": "step", "st')
    assert work(run) == 0
    rows = run.records()[0]
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(6))
    assert "of the first attempt" not in str(rows)


def test_a_wish_to_stop_is_heard_while_images_are_decoded(tiny: Recipe) -> None:
    run = store.create(tiny)

    def ask(what: str, done: float = 0, total: float = 0, unit: str = "") -> None:
        if what.startswith("Decoding"):
            run.ask("stop")

    assert work(run, report=ask) == 0
    assert run.status.state == "stopped"
    assert not run.last.exists(), "it had not begun to train"
    assert work(run) == 0
    assert run.status.state == "finished"


def test_a_wish_to_stop_before_the_worker_is_awake_is_kept(tiny: Recipe) -> None:
    run = store.create(tiny)
    run.report_start("Starting the worker")
    run.claim(psutil.Process())  # as who starts a worker does for it
    run.ask("stop")
    assert work(run) == 0
    assert run.status.state == "stopped"
    assert work(run) == 0
    assert run.status.state == "finished", "the wish was for once"
