"""Gauges against plain formulas in torch, and the proof that a run is the same with them and without."""

import copy
import itertools
import math
import time
from collections import deque

import pytest
import torch
from torch import nn

from finetune_core.recipe import Recipe
from finetune_core.records import Gauges, Step, parse
from finetune_core.training import gauges, loop, session
from finetune_core.training.loop import Trainer

PHASES = [
    {"epochs": 2, "thaw": ["head"], "learning_rate": 1e-2},
    {"epochs": 2, "thaw": ["layer4", "head"], "learning_rate": 3e-3, "hold": ["bn"]},
]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second step is gauged."""
    monkeypatch.setattr(loop, "EVERY", 2)


def flat(trainer: Trainer, module: nn.Module, group: str) -> torch.Tensor:
    """All weights of a group that learn now, one after the other, in float64."""
    mine = next(each for each in trainer.stepper.division.learning if each.name == group)
    return torch.cat([module.get_parameter(name).detach().double().flatten() for name in mine.parameters])


def test_updates_and_distances_are_those_of_plain_torch(often: None, tiny: Recipe) -> None:
    trainer = Trainer(session.prepare(tiny.with_value("phases", PHASES)))
    networks, seen = [copy.deepcopy(trainer.session.network.module)], []  # the start, then as each step left it
    for record in trainer.run():
        if isinstance(record, Step):
            networks.append(copy.deepcopy(trainer.session.network.module))
        if isinstance(record, Gauges):
            seen.append(set(record.update_ratio))
            for group in record.update_ratio:
                w, b, s = (flat(trainer, networks[place], group) for place in (-1, -2, 0))
                assert record.update_ratio[group] == pytest.approx(((w - b).norm() / b.norm()).item(), rel=1e-3)
                assert record.distance[group] == pytest.approx(((w - s).norm() / s.norm()).item(), rel=1e-4)
    assert seen[0] == {"head"}
    assert seen[-1] == {"layer4", "head"}


def test_a_run_is_the_same_to_the_last_bit_with_gauges_and_without(
    monkeypatch: pytest.MonkeyPatch, tiny: Recipe
) -> None:
    recipe = tiny.with_value("model.head", {"kind": "mlp", "hidden": 16}).with_value("training.ema", 0.9)
    ends = []
    for every in (1, 10**9):
        monkeypatch.setattr(loop, "EVERY", every)
        trainer = Trainer(session.prepare(recipe))
        losses = [record.loss for record in trainer.run() if isinstance(record, Step)]
        ends.append((losses, torch.get_rng_state(), trainer.state()["kept"], trainer.state()["raw"]))
    (losses, random, kept, raw), (others, other_random, other_kept, other_raw) = ends
    assert losses == others
    assert torch.equal(random, other_random)
    for mine, theirs in ((kept, other_kept), (raw, other_raw)):
        assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_distances_go_on_after_a_stop(often: None, tiny: Recipe) -> None:
    recipe = tiny.with_value("phases.0.learning_rate", 1e-2)
    whole = [record for record in Trainer(session.prepare(recipe)).run() if isinstance(record, Gauges)]
    trainer = Trainer(session.prepare(recipe))
    deque(itertools.takewhile(lambda record: getattr(record, "step", 0) < 3, trainer.run()), 0)
    again = Trainer(session.prepare(recipe))
    again.restore(copy.deepcopy(trainer.state()))
    rest = [record for record in again.run() if isinstance(record, Gauges)]
    assert [record.step for record in rest] == [4]
    assert rest[0].distance == whole[2].distance
    assert rest[0].update_ratio == whole[2].update_ratio


def test_without_a_copy_of_the_start_there_is_no_distance(monkeypatch: pytest.MonkeyPatch, tiny: Recipe) -> None:
    monkeypatch.setattr(gauges, "LARGEST", 10)
    record = next(each for each in Trainer(session.prepare(tiny)).run() if isinstance(each, Gauges))
    assert record.update_ratio
    assert record.distance == {}


def test_a_group_that_starts_at_zero_has_no_ratio() -> None:
    told = Gauges(0, {"head": math.inf}, {"head": math.nan})
    assert '"update_ratio": {"head": null}' in told.line()


def test_waiting_is_the_time_until_a_batch_is_there(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(batches):  # two thirds of a step's time, whatever else is done meanwhile
        for batch in batches:
            time.sleep(0.4)
            yield batch

    made = session.prepare(tiny)
    epoch = made.train.epoch
    monkeypatch.setattr(made.train, "epoch", lambda *place: slow(epoch(*place)))
    shares = [record.waiting for record in Trainer(made).run() if isinstance(record, Step)]
    assert all(0 < share <= 1 for share in shares)
    assert max(shares) > 0.5


def test_the_processors_share_lies_between_none_and_all() -> None:
    busy = gauges.Busy(torch.device("cpu"))
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    assert 0 < busy.cpu() <= 1
    assert busy.gpu() is None


def test_records_of_earlier_runs_have_no_gauges() -> None:
    row = {"kind": "step", "step": 0, "epoch": 0, "phase": 0, "loss": 1.0, "lr": {}, "grad_norm": 1.0}
    old = parse({**row, "group_grad_norm": {}, "images_per_s": 1.0, "memory_mb": 1.0, "seconds": 1.0})
    assert old.waiting is None
