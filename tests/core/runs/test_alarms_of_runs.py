"""Alarms in real runs: written among the records by the worker, once, also where a run is stopped and goes on."""

import pytest

from finetune_core.recipe import Recipe
from finetune_core.records import Step
from finetune_core.runs import alarms, store
from finetune_core.runs.work.worker import work


def told(run: store.Run) -> list[tuple[str, int]]:
    return [(row["rule"], row["step"]) for row in run.records()[0] if row.get("name") == alarms.NAME]


@pytest.fixture
def hot(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A rate that no network bears, so that the run ends as diverged; looked at every three steps."""
    monkeypatch.setattr(alarms, "WINDOW", 3)
    monkeypatch.setattr(alarms, "MOSTLY", 2)
    monkeypatch.setattr(alarms, "EPOCHS", 1)
    return tiny.with_value(
        "phases", [{"epochs": 3, "thaw": ["*"], "learning_rate": 1.0, "schedule": {"kind": "constant"}}]
    )


def test_a_worker_writes_alarms_among_the_records(hot: Recipe) -> None:
    run = store.create(hot)
    work(run)
    (alarm,) = [row for row in alarms.standing(events(run)) if row["rule"] == "ceiling"]
    assert alarm["mend"] == {"title": "Set the rate to 0.1", "path": "phases.0.learning_rate", "value": 0.1}
    assert len(set(told(run))) == len(told(run))


def test_a_stopped_run_says_each_alarm_once(hot: Recipe) -> None:
    whole, run = store.create(hot), store.create(hot)
    work(whole)
    work(run, lambda record: run.ask("stop") if isinstance(record, Step) and record.step == 4 else None)
    assert run.status.state == "stopped"
    work(run)
    assert sorted(told(run)) == sorted(told(whole)) != []


def events(run: store.Run) -> list[dict]:
    return [row for row in run.records()[0] if row["kind"] == "event"]


def test_a_healthy_run_raises_none(tiny: Recipe) -> None:
    run = store.create(tiny)
    assert work(run) == 0
    assert told(run) == []
