"""A sweep from its submission to its answer, with real runs where they matter."""

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from finetune_core import places
from finetune_core.cli import main
from finetune_core.network import catalogue
from finetune_core.recipe import Recipe
from finetune_core.recipe.variants import axis, variants
from finetune_core.runs import holding, store
from finetune_core.runs.shelf import exchange
from finetune_core.runs.waiting import queue, sweeps
from finetune_core.runs.waiting.sweeps import Sweep
from tests.core.runs.waiting.test_queue import busy, until  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def _no_dispatcher_stays() -> Iterator[None]:
    yield
    if pid := holding.living_in(places.runs_dir() / queue.DISPATCHER):
        psutil.Process(pid).kill()


def begin(recipe: Recipe, *over: str, seeds: int = 1) -> Sweep:
    names = catalogue.layer_names(recipe.model)
    axes = [axis(recipe, names, *text.split("=")) for text in over]
    return sweeps.begin(axes, variants(recipe, axes, names, seeds))


def finish(sweep: Sweep, *scores: float | None) -> None:
    for trial, score in zip(sweep.trials, scores, strict=True):
        if score is not None:
            trial.run.report(state="finished", best_score=score)


def verdict(sweep: Sweep) -> str:
    return sweeps.verdict(sweep, sweep.points())


def test_a_sweep_is_repeated_with_its_own_recipes(tiny: Recipe, busy: None) -> None:  # noqa: F811
    mine = tiny.with_value("training.optimizer", {"kind": "adamw", "weight_decay": 0.2}).with_value("training.seed", 4)
    sweep = begin(mine, "optimizer=sgd; adamw")
    assert sweeps.repeatable(sweep)
    again = sweeps.repeated(sweep)
    assert [(each.values, each.seed) for each in again] == [
        ((kind,), 4 + n) for kind in ("sgd", "adamw") for n in range(3)
    ]
    assert {each.recipe.training.optimizer.weight_decay for each in again if each.values == ("adamw",)} == {0.2}
    assert len({each.recipe.name for each in again}) == 6
    assert not sweeps.repeatable(begin(mine, "learning_rate=1e-3; 1e-2", seeds=2)), "has several"
    assert not sweeps.repeatable(begin(mine, "training.seed=1; 2")), "seeds are what it tries"
    assert not sweeps.repeatable(begin(mine, "epochs=" + "; ".join(map(str, range(1, 22))))), "that were 63 runs"


def test_from_the_command_line_to_the_answer(tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.with_value("phases.0.epochs", 1).save(tmp_path / "recipe.yaml")
    assert main(["sweep", str(tmp_path / "recipe.yaml"), "--over", "learning_rate=1e-3; 1e-2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [run["values"] for run in told["runs"]] == [[1e-3], [1e-2]]
    until(lambda: not sum(point.open for point in sweeps.open_sweep(told["sweep"]).points()), 300)
    assert main(["sweep-result", told["sweep"], "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    rates = []
    for each, point in zip(answer["runs"], answer["points"], strict=True):
        run = store.open_run(each["id"])
        rates.append(run.recipe.phases[0].learning_rate)
        assert point["scores"] == [run.status.best_score]
        assert run.recipe.training.seed == 0
    assert rates == [1e-3, 1e-2]
    assert answer["best"]["mean"] == max(point["mean"] for point in answer["points"])
    assert main(["sweep-result", told["sweep"]]) == 0
    assert "One seed each" in capsys.readouterr().out


def test_the_answer_says_how_far_it_can_be_trusted(tiny: Recipe, busy: store.Run) -> None:  # noqa: F811
    sweep = begin(tiny, "batch_size=4; 6; 8", seeds=2)
    assert verdict(sweep) == "No run has a score yet."
    finish(sweep, 0.5, 0.6, 0.7, 0.8, None, None)
    assert verdict(sweep) == "So far: best at batch size 6: accuracy 75.0%. 2 of 6 runs are still to come."
    finish(sweep, 0.5, 0.6, 0.7, 0.8, 0.1, None)
    assert "1 of 6 runs is still to come." in verdict(sweep)
    finish(sweep, 0.5, 0.6, 0.7, 0.8, 0.1, 0.9)
    assert verdict(sweep).endswith("Not distinguishable from batch size 8: their seeds overlap.")
    finish(sweep, 0.5, 0.6, 0.7, 0.8, 0.1, 0.2)
    assert verdict(sweep).endswith("Every seed of it is better than any seed of the others.")
    assert [point.spread for point in sweep.points()] == pytest.approx([0.05] * 3)


def test_what_failed_has_no_score_and_less_may_be_better(
    tiny: Recipe,
    sources: dict[str, dict[str, str]],
    busy: store.Run,  # noqa: F811
) -> None:
    recipe = tiny.with_value("data.source", sources["regression"]).with_value("training.loss", {"kind": "mse"})
    sweep = begin(recipe, "batch_size=4; 6; 8")
    finish(sweep, 3.0, 2.0, None)
    sweep.trials[2].run.report(state="failed", best_score=1.0)
    top = sweeps.best(sweep.points(), sweep.score)
    assert top
    assert (top.values, top.mean) == ((6,), 2.0)
    assert verdict(sweep).endswith(" Without a finished run, and so not compared: batch size 8 (failed).")
    sweep.trials[0].run.report(state="stopped")
    words = "Best at batch size 6: mean error 2. Without a finished run, and so not compared: "
    assert verdict(sweep) == words + "batch size 4 (stopped), batch size 8 (failed)."
    sweep.trials[1].run.report(state="diverged")
    assert verdict(sweep).startswith("No run has a score. Without")


def test_a_copy_of_a_trial_is_no_other_seed(tiny: Recipe, busy: store.Run, tmp_path: Path) -> None:  # noqa: F811
    sweep = begin(tiny, "batch_size=4; 6")
    finish(sweep, 0.5, 0.6)
    one = sweep.trials[0].run
    copy = exchange.import_run(exchange.export_run(one, tmp_path / "one.zip"))
    copy.report(best_score=0.9)
    again = sweeps.open_sweep(sweep.id)
    assert [trial.run.id for trial in again.trials] == [trial.run.id for trial in sweep.trials]
    assert [point.scores for point in again.points()] == [(0.5,), (0.6,)]
    shutil.rmtree(one.path)
    assert [point.scores for point in sweeps.open_sweep(sweep.id).points()] == [(0.9,), (0.6,)]


def test_a_sweep_is_whatever_runs_of_it_there_are(tiny: Recipe, busy: store.Run) -> None:  # noqa: F811
    one, other = begin(tiny, "batch_size=4; 6", "image_size=32; 64"), begin(tiny, "seed=1; 2; 3")
    shutil.rmtree(one.trials[0].run.path)
    for trial, text in zip(other.trials, ["{", '{"sweep": 1}'], strict=False):
        trial.run.sweep_file.write_text(text)
    mark = json.loads(other.trials[2].run.sweep_file.read_text())
    assert [sweep.id for sweep in sweeps.list_sweeps()] == [other.id, one.id]
    assert [trial.values for trial in sweeps.open_sweep(one.id).trials] == [(4, 64), (6, 32), (6, 64)]
    assert [len(point.scores) + point.open for point in sweeps.open_sweep(one.id).points()] == [0, 1, 1, 1]
    assert len(sweeps.open_sweep(other.id).trials) == 1
    for hostile in ({"values": [9]}, {"values": []}, {"axes": []}, {"axes": 5}):
        other.trials[2].run.sweep_file.write_text(json.dumps({**mark, **hostile}))
        assert [sweep.id for sweep in sweeps.list_sweeps()] == [one.id]
    assert sweeps.cancel(sweeps.open_sweep(one.id)) == 3


def test_a_sweep_is_queued_whole_or_refused(tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.save(tmp_path / "recipe.yaml")
    assert main(["sweep", str(tmp_path / "recipe.yaml"), "--over", "training.loss=cross_entropy, mse"]) == 2
    assert not list(store.every_run()), "the second loss does not fit: nothing was begun"
    assert main(["sweep", str(tmp_path / "recipe.yaml"), "--over", "batch_size"]) == 2
    assert "has no '='" in capsys.readouterr().err
    assert main(["sweep-result", "nothing"]) == 2
    assert main(["sweep", str(tmp_path / "recipe.yaml"), "--knobs"]) == main(["sweep-result"]) == 0
    assert "phases.0.learning_rate" in capsys.readouterr().out


def test_one_that_begins_while_a_sweep_is_cancelled_keeps_no_other_waiting(
    tiny: Recipe,
    busy: store.Run,  # noqa: F811
) -> None:
    sweep = begin(tiny, "seed=1; 2; 3")
    first, *others = [trial.run for trial in sweep.trials]
    with ThreadPoolExecutor(1) as thread:
        with holding.queue_locked(places.runs_dir()):  # as the dispatcher has it
            cancelled = thread.submit(sweeps.cancel, sweep)
            time.sleep(0.5)
            first.report(state="finished")
        assert cancelled.result(60) == 2
    assert [run.status.state for run in (first, *others)] == ["finished", "stopped", "stopped"]
