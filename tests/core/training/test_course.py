"""The course of a phase: ending early, going back to the best epoch, forgetting what the optimizer remembered."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from finetune_core.errors import UserError
from finetune_core.parts import Progress
from finetune_core.parts.schedules import OneCycle
from finetune_core.recipe import Recipe, plan
from finetune_core.recipe.changes import parsed
from finetune_core.records import Record
from finetune_core.runs import store
from finetune_core.runs.preflight import findings
from finetune_core.runs.work.worker import work
from finetune_core.training import reuse, session
from finetune_core.training.divergence import sound
from finetune_core.training.evaluate import evaluate
from finetune_core.training.loop import Course, Position, Trainer

PATIENCE = 2


@pytest.fixture
def restless(tiny: Recipe) -> Recipe:
    """A first phase of many epochs at a rate so high that it gets worse now and then, and a calm second one."""
    first = tiny.phases[0].replace(epochs=20, learning_rate=0.05, multipliers={}, patience=PATIENCE)
    return tiny.replace(phases=(first, first.replace(epochs=2, learning_rate=1e-3, patience=0)))


def epochs(records: list[Record], phase: int = 0) -> list[Record]:
    return [record for record in records if record.kind == "epoch" and record.phase == phase]


def standing(record: Record) -> tuple[float, float]:
    return record.valid_score, -record.valid_loss


def test_a_phase_ends_when_it_gets_no_better(restless: Recipe) -> None:
    trainer = Trainer(session.prepare(restless))
    records = list(trainer.run())
    done = epochs(records)
    assert PATIENCE < len(done) < 20, "this recipe must end early for the test to say anything"
    best = max(range(len(done)), key=lambda index: standing(done[index]))
    assert len(done) - 1 - best == PATIENCE
    for index in range(1, len(done) - 1):  # and no epoch earlier would have been enough
        latest = max(range(index + 1), key=lambda each: standing(done[each]))
        assert index - latest < PATIENCE
    assert len(epochs(records, 1)) == 2, "the next phase is as long as it should be"
    [told] = [record for record in records if record.kind == "event" and record.name == "phase_end"]
    assert f"after {len(done)} of 20 epochs" in told.text
    assert f"epoch {best + 1}." in told.text
    assert trainer.epochs == len(done) + 2
    assert trainer.done == trainer.steps


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_the_next_phase_goes_on_from_the_best_epoch(restless: Recipe, ema: float) -> None:
    made = session.prepare(restless.with_value("training.ema", ema))
    trainer = Trainer(made)
    best: dict[str, Tensor] = {}
    top = (-1.0, 0.0)
    for record in trainer.run():
        if record.kind == "epoch" and standing(record) > top:
            top, best = standing(record), {k: v.clone() for k, v in trainer.kept.state_dict().items()}
            loss = record.valid_loss
        if record.kind == "event" and record.name == "phase_end":
            assert all(torch.equal(value, best[name]) for name, value in trainer.kept.state_dict().items())
            assert evaluate(made, trainer.kept, reuse.plain(made).valid).loss == loss
            assert not trainer.stepper.optimizer.state, "what it remembers belongs to weights that are gone"
            return
    raise AssertionError("the phase never ended")


def test_a_run_rescued_from_its_last_epochs_has_not_diverged(tiny: Recipe) -> None:
    """Which rate ruins a training depends on the processor's rounding, too: one of these does."""
    recipe = tiny.with_value("training.optimizer", {"kind": "sgd"}).with_value("phases.0.patience", 6)
    for rate in (2, 3, 4, 6):
        trainer = Trainer(session.prepare(recipe.with_value("phases.0.epochs", 30)))
        losses, told = [], []
        for record in trainer.run():
            if record.kind == "epoch" and record.epoch == 0:
                trainer.change(parsed(f"rate {rate}"))
            losses += [record.loss] if record.kind == "step" else []
            told += [record.text] if getattr(record, "name", "") == "phase_end" else []
        if told and "Back to the weights of epoch 1." in told[0] and not sound(losses, trainer.at.start):
            break
    else:
        pytest.fail("a rate must ruin the training for the test to say anything")
    assert trainer.at.recent == tuple(losses[:3]), "those of the weights that it ends with"


def test_a_run_that_ended_early_is_planned_as_it_went(restless: Recipe) -> None:
    run = store.create(restless)
    assert work(run) == 0
    rows, status = run.records()[0], run.status
    lasting = [sum(row["kind"] == "epoch" and row["phase"] == phase for row in rows) for phase in (0, 1)]
    steps = [row for row in rows if row["kind"] == "step"]
    planned = plan.plan(restless, list(steps[0]["lr"]), status.epoch_steps, lasting)
    assert [row["lr"] for row in planned] == [row["lr"] for row in steps]
    assert plan.starts(lasting, status.epoch_steps) == [0, lasting[0] * status.epoch_steps]
    assert status.step == status.steps == len(steps)
    assert status.epochs == sum(lasting)
    assert status.share == 1.0


def test_a_stop_in_a_phase_with_patience_changes_nothing(restless: Recipe) -> None:
    whole, parted = store.create(restless), store.create(restless)
    assert work(whole) == 0
    stops = iter([7, 13])
    at = [next(stops)]

    def stop(record: Record) -> None:
        if record.kind == "step" and record.step == at[0]:
            parted.ask("stop")
            at[0] = next(stops, -1)

    for _ in range(3):
        assert work(parted, stop) == 0
    assert parted.status.state == "finished"
    losses = [
        [
            (r["kind"], r["step"], r.get("loss"), r.get("valid_loss"))
            for r in run.records()[0]
            if r["kind"] in ("step", "epoch")
        ]
        for run in (whole, parted)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("choice", ["keep", "reset"])
def test_the_optimizers_memory_at_the_start_of_a_phase(tiny: Recipe, choice: str) -> None:
    phase = tiny.phases[0].replace(epochs=1)
    trainer = Trainer(session.prepare(tiny.replace(phases=(phase, phase.replace(optimizer_state=choice)))))
    counts = []
    for record in trainer.run():
        if record.kind == "step":
            counts.append(max(int(each["step"]) for each in trainer.stepper.optimizer.state.values()))
    each = len(counts) // 2
    assert counts == [
        *range(1, each + 1),
        *(range(1, each + 1) if choice == "reset" else range(each + 1, 2 * each + 1)),
    ]


@pytest.mark.parametrize(
    "optimizer", [{"kind": "sgd", "momentum": 0.5}, {"kind": "adamw", "beta1": 0.5}, {"kind": "lion", "beta1": 0.5}]
)
def test_a_phase_may_cycle_the_momentum_and_the_next_has_its_own_again(tiny: Recipe, optimizer: dict) -> None:
    schedule = OneCycle(cycle_momentum=True)
    phase = tiny.phases[0].replace(epochs=1)
    recipe = tiny.replace(phases=(phase.replace(schedule=schedule), phase)).with_value("training.optimizer", optimizer)
    trainer = Trainer(session.prepare(recipe))
    seen = []
    groups = trainer.stepper.optimizer.param_groups
    for record in trainer.run():
        if record.kind == "step":
            [held] = {group["momentum"] if "momentum" in group else group["betas"][0] for group in groups}
            seen.append(held)
    steps = len(seen) // 2
    assert seen[:steps] == [schedule.momentum(Progress(step, steps, steps)) for step in range(steps)]
    assert seen[steps:] == [0.5] * steps


def test_an_optimizer_without_momentum_refuses_to_cycle_it(tiny: Recipe) -> None:
    recipe = tiny.with_value("training.optimizer", {"kind": "adagrad"})
    recipe = recipe.with_value("phases.0.schedule", {"kind": "one_cycle", "cycle_momentum": True})
    with pytest.raises(UserError, match="no momentum"):
        Trainer(session.prepare(recipe))
    [finding] = [each for each in findings(recipe) if each.title == "Schedule"]
    assert finding.mend
    assert not [
        each for each in findings(recipe.with_value(finding.mend.path, finding.mend.value)) if each.title == "Schedule"
    ]


def test_a_position_is_saved_and_restored_whole() -> None:
    course = Course(3, (0.5, -1.0), 4, 1, {"raw": {}, "average": {}})
    position = Position(1, 5, 2, course, (3.5, 12.0), (0.75, -0.5), 12, (1.0, 0.5), 12.5, 1.1, (1.0, 0.9))
    assert all(getattr(position, each.name) != each.default for each in fields(Position)), "every field is tried"
    assert Position.restored({"position": position.saved()}) == position
    assert Position.restored(position.saved()) == position, "as version 1 kept it"
