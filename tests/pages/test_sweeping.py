"""The page for sweeps: fields that say what fits, runs that are queued, and an answer that can be taken."""

import os
from collections import Counter

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.recipe import Recipe
from finetune_core.records import Epoch
from finetune_core.runs.shelf import trash
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import queue, sweeps
from tests.pages.conftest import draft, pieces, saved
from tests.pages.test_queueing import at_work  # noqa: F401 - a fixture
from tests.pages.test_running import button, page, texts


def queued(app: AppTest) -> sweeps.Sweep:
    (sweep,) = sweeps.list_sweeps()
    return sweep


def finish(sweep: sweeps.Sweep, *scores: float) -> None:
    for trial, score in zip(sweep.trials, scores, strict=True):
        losses = {"train_loss": 1.0, "train_score": 0.5, "valid_loss": 1.1, "valid_score": score}
        named = {"scores": {"accuracy": score}, "by_name": {}, "best": True, "seconds": 1.0}
        trial.run.append(Epoch(epoch=0, phase=0, step=10, **losses, **named))
        trial.run.report(state="finished", best_score=score)


@pytest.fixture
def mine(blooms: None) -> Recipe:
    return saved(Recipe(name="mine").with_value("training.seed", 4))


def test_values_are_offered_around_what_is_chosen_and_queued(mine: Recipe, at_work: Run) -> None:  # noqa: F811
    app = page("sweep")
    assert not app.exception
    assert app.text_input(key="sweep-values:First:phases.0.learning_rate").value == "0.0002; 0.001; 0.003; 0.01; 0.05"
    app.text_input(key="sweep-values:First:phases.0.learning_rate").set_value("1e-3; 0,01").run()
    button(app, "Queue 2 runs").click().run()
    assert not app.exception
    assert [run.recipe.phases[0].learning_rate for run in queue.look().waiting] == [1e-3, 1e-2]
    assert {run.recipe.training.seed for run in queue.look().waiting} == {4}


def test_two_knobs_and_seeds_are_counted_before_anything_is_queued(mine: Recipe, at_work: Run) -> None:  # noqa: F811
    app = page("sweep")
    app.selectbox(key="sweep-First").set_value("training.batch_size").run()
    app.text_input(key="sweep-values:First:training.batch_size").set_value("16; 32; 64").run()
    app.selectbox(key="sweep-Second").set_value("phases.0.thaw").run()
    app.segmented_control(key="sweep-seeds").set_value(3).run()
    assert "45 runs of 5 epochs" in texts(app)
    app.text_input(key="sweep-values:First:training.batch_size").set_value("16; many").run()
    assert "'many'" in texts(app)
    assert button(app, "Queue the runs").disabled
    app.text_input(key="sweep-values:First:training.batch_size").set_value("16; 17; 18; 19; 20; 21").run()
    assert "That would be 90 runs" in texts(app)
    assert not queue.look().waiting


def test_the_best_can_be_taken(mine: Recipe, at_work: Run) -> None:  # noqa: F811
    app = page("sweep")
    app.text_input(key="sweep-values:First:phases.0.learning_rate").set_value("1e-3; 3e-3; 1e-2").run()
    button(app, "Queue 3 runs").click().run()
    sweep = queued(app)
    app = page("sweep", sweep=sweep.id)
    assert "No run has a score yet." in texts(app)
    assert button(app, "Cancel the rest")
    finish(sweep, 0.5, 0.9, 0.6)
    app = page("sweep", sweep=sweep.id)
    assert not app.exception
    assert "Best at learning rate 0.003: accuracy 90.0%. One seed each" in texts(app).replace("\\", "")
    button(app, "Use the best").click().run()
    assert draft() == mine.with_value("phases.0.learning_rate", 3e-3).replace(name="")
    app = page("run", run=sweep.trials[0].run.id)
    assert not app.exception
    assert "Earlier sweeps" in texts(page("runs"))


def test_what_one_seed_leaves_open_is_repeated_with_three(mine: Recipe, at_work: Run) -> None:  # noqa: F811
    app = page("sweep")
    app.text_input(key="sweep-values:First:phases.0.learning_rate").set_value("1e-3; 3e-3").run()
    button(app, "Queue 2 runs").click().run()
    once = queued(app)
    finish(once, 0.5, 0.6)
    button(page("sweep", sweep=once.id), "Repeat with 3 seeds").click().run()
    again = next(sweep for sweep in sweeps.list_sweeps() if sweep.id != once.id)
    assert again.axes == once.axes
    assert [(trial.values, trial.run.recipe.training.seed) for trial in again.trials] == [
        ((rate,), seed) for rate in (1e-3, 3e-3) for seed in (4, 5, 6)
    ]
    finish(again, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6)
    assert "Repeat it" not in texts(page("sweep", sweep=again.id))
    assert not [each for each in page("sweep", sweep=again.id).button if each.label.startswith("Repeat")]


def test_the_rest_is_cancelled(mine: Recipe, at_work: Run) -> None:  # noqa: F811
    app = page("sweep")
    button(app, "Queue 5 runs").click().run()
    app = page("sweep", sweep=queued(app).id)
    button(app, "Cancel the rest").click().run()
    assert not app.exception
    assert not queue.look().waiting
    assert button(app, "Try others")


def test_nothing_is_offered_to_cancel_where_the_last_run_is_at_work(mine: Recipe, at_work: Run) -> None:  # noqa: F811
    button(page("sweep"), "Queue 5 runs").click().run()
    (sweep,) = sweeps.list_sweeps()
    app = page("sweep", sweep=sweep.id)
    sweeps.cancel(sweep)
    last = sweep.trials[4].run
    last.claim(psutil.Process(os.getpid()))
    last.report(state="running")
    for drawn in (pieces(app), page("sweep", sweep=sweep.id)):
        assert "Cancel the rest" not in [each.label for each in drawn.button]


def test_a_value_that_no_run_could_start_with_queues_none(mine: Recipe, at_work: Run) -> None:  # noqa: F811
    app = page("sweep")
    app.selectbox(key="sweep-First").set_value("training.loss").run()
    app.pills(key="sweep-values:First:training.loss").set_value(["cross_entropy", "mse"]).run()
    button(app, "Queue 2 runs").click().run()
    assert "mse" in texts(app).lower() or "squared" in texts(app).lower()
    assert not queue.look().waiting


def test_runs_that_are_thrown_away_meanwhile_leave_a_page_that_says_so(mine: Recipe, at_work: Run) -> None:  # noqa: F811
    button(page("sweep"), "Queue 5 runs").click().run()
    (sweep,) = sweeps.list_sweeps()
    app = page("sweep", sweep=sweep.id)
    sweeps.cancel(sweep)
    for trial in sweep.trials:
        trash.throw_away(trial.run)
    assert f"There is no sweep {sweep.id}" in texts(pieces(app)).replace("\\", "")


def test_what_a_sweep_costs_to_look_at_grows_with_its_runs_alone(
    mine: Recipe,
    at_work: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = page("sweep")
    button(app, "Queue 5 runs").click().run()
    sweep = queued(app)
    finish(sweep, 0.5, 0.6, 0.7, 0.8, 0.9)
    app, reads, status = page("sweep", sweep=sweep.id), [], Run.status
    monkeypatch.setattr(Run, "status", property(lambda run: reads.append(run.id) or status.fget(run)))
    app.run()
    assert not app.exception
    assert max(Counter(reads)[trial.run.id] for trial in sweep.trials) <= 2
    assert not any(f"records:{trial.run.id}" in app.session_state for trial in sweep.trials), "epochs are all it needs"


def test_a_run_with_damaged_records_takes_no_sweep_down(mine: Recipe, at_work: Run) -> None:  # noqa: F811
    app = page("sweep")
    button(app, "Queue 5 runs").click().run()
    sweep = queued(app)
    finish(sweep, 0.5, 0.6, 0.7, 0.8, 0.9)
    sweep.trials[0].run.records_file.unlink()
    sweep.trials[0].run.records_file.mkdir()
    app = page("sweep", sweep=sweep.id)
    assert not app.exception
    assert button(app, "Use the best")


def test_a_sweep_that_is_not_there() -> None:
    assert "There is no sweep nothing" in texts(page("sweep", sweep="nothing")).replace("\\", "")
