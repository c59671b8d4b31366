"""Changes of a running training: made before a step, told, planned, and made again bit by bit when the run goes on."""

import copy
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
import torch

from finetune_core.errors import UserError
from finetune_core.parts import Loss
from finetune_core.recipe import Recipe, plan
from finetune_core.recipe.changes import Made, parsed
from finetune_core.records import Record
from finetune_core.runs.store import _before
from finetune_core.training import session
from finetune_core.training.divergence import FAR, sound
from finetune_core.training.loop import Diverged, Position, Trainer

NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
Asked = Mapping[int, Sequence[str]]
ASKED = {  # before which step what is asked for; an epoch has three steps, the first phase six
    2: ["rate x0.5"],
    4: ["thaw layer3", "rate layer3 x20"],
    6: ["epochs +1"],  # when its two epochs are over, so it opens again
    8: ["freeze layer3 layer4", "rate 2e-3"],
    9: ["rate x0.1"],  # when the first phase is over, so it is of the second
    11: ["thaw layer1"],
    13: ["epochs 1"],  # in its second epoch, which is then its last
}


@pytest.fixture
def two(tiny: Recipe) -> Recipe:
    """Two phases with momentum in what they thaw, and rates that move."""
    first = tiny.phases[0].replace(thaw=("layer4", "head"), multipliers={"layer4": 0.1}, learning_rate=1e-2)
    return tiny.replace(phases=(first, first.replace(thaw=("layer2", "layer3", "layer4", "head"), epochs=3)))


class Life:
    """One life of a run: what it recorded, and what it would have left on disk."""

    def __init__(self, recipe: Recipe, made: Sequence[Made] = (), state: dict[str, Any] | None = None) -> None:
        self.trainer = Trainer(session.prepare(recipe), made)
        if state:
            self.trainer.restore(torch.load(io.BytesIO(state), weights_only=True))
        self.records: list[Record] = []
        self.made, self.saved, self.saved_at = list(made), state, self.trainer.done

    def live(self, asked: Asked, until: int | None = None, dies: bool = False) -> "Life":
        """Train on; at `until` steps stop, and save unless it `dies`. What is asked is asked once that step is near."""
        asked = dict(asked)
        for record in self.trainer.run():
            if record.kind == "save":
                self.save()
                continue
            self.records.append(record)
            if record.kind == "step" and record.step + 1 == until and not dies:
                self.save()
                return self
            for text in asked.pop(self.trainer.done, ()) if record.kind in ("step", "epoch") else ():
                try:
                    self.made.append(self.trainer.change(parsed(text)))
                except UserError:
                    asked[self.trainer.done] = [text]  # the phase is not over yet, but will be with this epoch
            if record.kind == "event" and record.name == "change" and until == -record.step:
                self.save()
                return self
            if record.kind == "step" and record.step + 1 == until:
                return self
        return self

    def save(self) -> None:
        file = io.BytesIO()
        torch.save(self.trainer.state(), file)
        self.saved, self.saved_at = file.getvalue(), self.trainer.done

    def digest(self) -> str:
        tensors = self.trainer.kept.state_dict()
        return hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()


def told(records: Iterable[Record]) -> list[tuple]:
    """What has to be the same: all but times, checks after each start, and gauges, which a stop may leave out once."""
    kept = [vars(record) | {"kind": record.kind} for record in records]
    kept = [row for row in kept if row.get("name") not in ("truth", "stopped") and row["kind"] != "gauges"]
    moving = ("seconds", "images_per_s", "memory_mb", "waiting")
    return [tuple(str(value) for name, value in row.items() if name not in moving) for row in kept]


def joined(one: Life, other: Life) -> list[Record]:
    """The records of two lives, as the store keeps them."""
    at = torch.load(io.BytesIO(one.saved))["position"] if one.saved else Position().saved()
    kept = [record for record in one.records if _before(vars(record) | {"kind": record.kind}, one.saved_at, at)]
    return [*kept, *other.records]


def rates(records: Iterable[Record]) -> list[dict[str, Any]]:
    return [{"step": record.step, "lr": record.lr} for record in records if record.kind == "step"]


def test_changes_are_made_before_their_step_told_and_planned(two: Recipe) -> None:
    life = Life(two).live(ASKED)
    changes = [(record.step, record.text) for record in life.records if getattr(record, "name", "") == "change"]
    assert [(step, text.split(":")[0] + ":" + text.split(":")[1]) for step, text in changes] == [
        (2, "Phase 1: Rate halved"),
        (4, "Phase 1: Thawed"),
        (4, "Phase 1: Rate × 20"),
        (6, "Phase 1: Epochs changed"),
        (8, "Phase 1: Frozen"),
        (8, "Phase 1: Rate set"),
        (9, "Phase 2: Rate × 0.1"),
        (11, "Phase 2: Thawed"),
        (13, "Phase 2: Epochs changed"),
    ]
    assert life.made == life.trainer.changes
    steps = rates(life.records)
    assert [row["lr"]["layer3"] > 0 for row in steps] == [False] * 4 + [True] * 4 + [False] + [True] * 6
    lasting = [3, 2]
    assert plan.plan(two, NAMES, 3, lasting, life.made) == steps, "planned is what is logged, step by step"
    assert plan.full_length(two, life.made) == lasting
    assert life.trainer.epochs == 5
    assert life.trainer.done == life.trainer.steps == 15
    truths = [record.text for record in life.records if getattr(record, "name", "").startswith("truth")]
    assert len(truths) == 5, "after each phase begins, and after each change of what is thawed"
    assert all(text.startswith("Truth check: ") for text in truths)


def test_what_is_frozen_on_the_way_stands_still_though_it_had_momentum(two: Recipe) -> None:
    recipe = two.with_value("training.optimizer", {"kind": "sgd", "momentum": 0.9})
    life = Life(recipe).live({3: ["freeze layer4"]}, until=3)
    frozen = {name: value.clone() for name, value in life.trainer.kept.state_dict().items() if "layer4" in name}
    life.trainer.change(parsed("freeze layer4"))
    for record in life.trainer.run():
        if record.kind == "step" and record.step < 6:
            now = life.trainer.kept.state_dict()
            assert all(torch.equal(now[name], value) for name, value in frozen.items())
            assert record.lr["layer4"] == 0


@pytest.mark.parametrize("training", [{}, {"ema": 0.8, "optimizer": {"kind": "sgd"}}], ids=["adamw", "sgd+ema"])
def test_a_run_with_changes_goes_on_exactly_wherever_it_was_stopped(two: Recipe, training: dict[str, Any]) -> None:
    recipe = two
    for name, value in training.items():
        recipe = recipe.with_value(f"training.{name}", value)
    whole = Life(recipe).live(ASKED)
    # stopped before, between and after changes; with a change asked for and not made; after it was made; killed
    for until, dies in (
        (1, False),
        (5, False),
        (7, False),
        (-4, False),
        (-9, False),
        (12, False),
        (8, True),
        (11, True),
    ):
        one = Life(recipe).live(ASKED, until, dies)
        done = one.trainer.done
        later = {
            step: texts for step, texts in ASKED.items() if step > done or (step == done and not dies and until > 0)
        }
        two_lives = Life(recipe, one.made, one.saved).live(later)
        assert told(joined(one, two_lives)) == told(whole.records), (until, dies)
        assert two_lives.digest() == whole.digest(), (until, dies)
        assert sorted(two_lives.made, key=lambda made: made.step) == whole.made


def test_a_change_that_does_not_fit_changes_nothing(two: Recipe) -> None:
    whole, life = Life(two).live({}), Life(two)
    for record in life.trainer.run():
        life.records += [record] if record.kind != "save" else []
        for text in ("thaw layer9", "freeze *", "epochs -9", "rate x1e9", "rate stem x2"):
            with pytest.raises(UserError):
                life.trainer.change(parsed(text))
    assert life.digest() == whole.digest()
    assert told(life.records) == told(whole.records)


def test_what_is_held_counts_when_groups_are_frozen(two: Recipe) -> None:
    phase = two.phases[0].replace(hold=("fc",))
    trainer = Trainer(session.prepare(two.replace(phases=(phase,))))
    with pytest.raises(UserError, match="Nothing would train"):
        trainer.change(parsed("freeze layer4"))
    trainer.change(parsed("rate x2"))


def test_at_the_end_of_a_run_nothing_can_be_changed_but_its_length(tiny: Recipe) -> None:
    trainer, ends = Trainer(session.prepare(tiny)), []
    for record in trainer.run():
        if record.kind == "epoch" and trainer.done == 6:
            with pytest.raises(UserError, match="at its end"):
                trainer.change(parsed("rate x0.5"))
            trainer.change(parsed("epochs +1"))
        ends.append(record.kind)
    assert trainer.done == 9
    with pytest.raises(UserError, match="at its end"):
        trainer.change(parsed("epochs +1"))


# Divergence


@pytest.mark.parametrize("kind", Loss.kinds())
def test_every_loss_knows_what_saying_nothing_costs(tiny: Recipe, sources: dict, kind: str) -> None:
    loss = Loss.kinds()[kind]
    recipe = tiny.with_value("data.source", sources[loss.tasks[0]]).with_value("training.loss", {"kind": kind})
    made = session.prepare(recipe)
    start = Trainer(made)
    next(record for record in start.run() if record.kind == "step")
    assert 0 < start.at.start < 100
    assert sound(start.at.recent, start.at.start)


@pytest.mark.parametrize(("rate", "words"), [(100.0, "broke down|diverged"), (10.0, "far above")])
def test_a_rate_far_too_high_has_diverged_and_is_not_finished(tiny: Recipe, rate: float, words: str) -> None:
    recipe = tiny.with_value("training.optimizer", {"kind": "sgd"}).with_value("phases.0.learning_rate", rate)
    trainer = Trainer(session.prepare(recipe))
    with pytest.raises(Diverged, match=words) as told:
        list(trainer.run())
    assert told.value.step <= 6
    assert not sound(trainer.at.recent, trainer.at.start)


def test_a_hopeless_run_is_ended_early_and_a_wild_one_may_come_back(tiny: Recipe) -> None:
    wild = tiny.with_value("training.optimizer", {"kind": "sgd"}).with_value("phases.0.epochs", 16)
    trainer = Trainer(session.prepare(wild.with_value("phases.0.learning_rate", 10.0)))
    with pytest.raises(Diverged, match="at step 19"):
        list(trainer.run())
    rough = Trainer(session.prepare(wild.with_value("phases.0.learning_rate", 1.0)))
    losses = [record.loss for record in rough.run() if record.kind == "step"]
    assert max(losses) > FAR * rough.at.start
    assert sound(rough.at.recent, rough.at.start)


def test_the_state_of_before_there_was_a_start_is_read(tiny: Recipe) -> None:
    trainer = Trainer(session.prepare(tiny))
    state = copy.deepcopy(trainer.state())
    del state["position"]["start"], state["position"]["recent"]
    trainer.restore(state)
    assert sound(trainer.at.recent, trainer.at.start)
