"""What is fitted to a run's answers and kept with its model: all that answers must follow it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.export.taking import take
from finetune_core.parts.tasks import Targets
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.states import fitted
from finetune_core.runs.states.fitted import Fitted
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.training.metrics import Meter
from finetune_core.understand import fitting, many, predict, tags
from finetune_core.understand.evaluate import evaluate
from finetune_core.understand.outcomes import Outcomes
from finetune_core.understand.resampled import weighted

Capture = pytest.CaptureFixture[str]


def trained(recipe: Recipe) -> Run:
    run = store.create(recipe)
    assert work(run) == 0
    return run


def of_tags(tiny: Recipe, sources: dict[str, dict[str, str]]) -> Run:
    return trained(tiny.with_value("data.source", sources["multi_label"]).with_value("training.loss", {"kind": "bce"}))


def test_a_kept_temperature_changes_confidence_and_nothing_else(tiny: Recipe, images: Path, capsys: Capture) -> None:
    run, files = trained(tiny), sorted(images.glob("*/*.png"))
    before = predict.load(run)
    assert main(["calibrate", run.id, "--keep", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    temperature = said["fitted"]["temperature"]
    assert said["kept"]["temperature"] == temperature == fitting.fit(run).fitted.temperature
    after = predict.load(run)
    for file in files:
        cooled = (before.values(file).log() / temperature).softmax(0)  # logarithms of shares are outputs, but for a sum
        assert after.values(file).numpy() == pytest.approx(cooled.numpy(), abs=1e-6)
    scores = evaluate(run, "valid").found.scores
    best = next(row for row in reversed(run.epochs()) if row["best"])
    assert scores == pytest.approx(best["scores"]), "which class is likeliest is the same"
    assert main(["calibrate", run.id, "--forget"]) == 0
    assert "Nothing is kept" in capsys.readouterr().out
    assert torch.equal(predict.load(run).values(files[0]), before.values(files[0]))


def test_what_is_taken_away_answers_by_the_kept_temperature(tiny: Recipe, images: Path) -> None:
    run = trained(tiny)
    fitted.save(run, Fitted(temperature=2.5))
    predictor = predict.load(run)
    for key in ("weights", "torch"):
        file, check = take(run, key)
        assert (check.same, check.worst < 1e-5) == (check.images, True), key
        with zipfile.ZipFile(file) as archive:
            [name] = [each for each in archive.namelist() if each.endswith("look.py")]
            assert key != "weights" or "outputs / 2.5" in archive.read(name).decode()
    assert float(predictor.values(next(images.glob("*/*.png"))).sum()) == pytest.approx(1)


def test_kept_thresholds_decide_which_tags_count(
    tiny: Recipe, sources: dict[str, dict[str, str]], images: Path, capsys: Capture
) -> None:
    run = of_tags(tiny, sources)
    found, best = tags.tagged(run), fitting.fit(run).fitted.thresholds
    assert main(["calibrate", run.id, "--keep"]) == 0
    assert "threshold" in capsys.readouterr().out
    predictor = predict.load(run)
    assert predictor.targets.thresholds == best
    [seen] = many.look(predictor, [next(images.glob("*/*.png"))])
    wanted = [name for name, share in seen.answers if share >= best[found.names.index(name)]]
    assert seen.guess(predictor.targets) == (", ".join(wanted) or "no tag")
    scores = evaluate(run, "valid").found.scores
    each = [found.counts(tag, bar).f1 for tag, bar in enumerate(best)]
    assert scores["macro_f1"] == pytest.approx(np.nanmean(each), abs=1e-6)
    assert scores["macro_f1"] >= run.epochs()[-1]["scores"]["macro_f1"]
    file, check = take(run, "torch")
    assert check.same == check.images
    with zipfile.ZipFile(file) as archive:
        [name] = [each for each in archive.namelist() if each.endswith("README.md")]
        assert "A tag counts from here on" in archive.read(name).decode()


def test_it_belongs_to_the_weights_that_it_was_fitted_to(tiny: Recipe) -> None:
    run = trained(tiny)
    fitted.save(run, Fitted(temperature=2.0))
    assert fitted.load(run) == Fitted(temperature=2.0)
    saved = json.loads(run.fitted_file.read_text("utf-8"))
    run.write_json(run.fitted_file, {**saved, "step": "1"})
    assert fitted.load(run) is None
    assert predict.load(run).targets.temperature == 1.0


@pytest.mark.parametrize(
    "change", [{"temperature": 0.0}, {"temperature": -1}, {"thresholds": [0.5, 1.0]}, {"temperature": "x"}]
)
def test_a_damaged_file_is_refused_in_words(tiny: Recipe, change: dict[str, Any]) -> None:
    run = trained(tiny)
    fitted.save(run, Fitted(temperature=2.0))
    saved = json.loads(run.fitted_file.read_text("utf-8"))
    run.write_json(run.fitted_file, {**saved, **change})
    with pytest.raises(UserError, match="damaged"):
        predict.load(run)


def test_thresholds_of_other_tags_are_refused(tiny: Recipe, sources: dict[str, dict[str, str]]) -> None:
    run = of_tags(tiny, sources)
    fitted.save(run, Fitted(thresholds=(0.5,)))
    with pytest.raises(UserError, match="another number of thresholds"):
        predict.load(run)


def test_nothing_is_fitted_to_numbers(tiny: Recipe, sources: dict[str, dict[str, str]], capsys: Capture) -> None:
    run = store.create(
        tiny.with_value("data.source", sources["regression"]).with_value("training.loss", {"kind": "l1"})
    )
    assert main(["calibrate", run.id]) == 2
    assert "Nothing is fitted to numbers" in capsys.readouterr().err


def test_a_temperature_that_the_answers_do_not_tell_is_refused() -> None:
    def found(outputs: np.ndarray, truth: np.ndarray) -> Outcomes:
        return Outcomes(("a", "b"), tuple(map(str, truth)), truth, outputs.astype(np.float32), 1)

    truth = np.arange(40) % 2
    with pytest.raises(UserError, match="all of them are right"):
        fitting.temperature(found(np.eye(2)[truth] * 3, truth))
    with pytest.raises(UserError, match="no numbers"):
        fitting.temperature(found(np.full((40, 2), np.nan), truth))
    some = np.eye(2)[np.where(np.arange(40) < 8, 1 - truth, truth)] * 4.0
    assert fitting.temperature(found(some, truth)).fitted.temperature == pytest.approx(4 / np.log(4), rel=1e-3)


def test_thresholds_leave_the_ranking_as_it_is(tiny: Recipe, sources: dict[str, dict[str, str]]) -> None:
    run = of_tags(tiny, sources)
    before = evaluate(run, "valid").found.scores["map"]
    fitted.save(run, Fitted(thresholds=(1e-6,) * len(tags.tagged(run).names)))
    assert evaluate(run, "valid").found.scores["map"] == pytest.approx(before, abs=1e-9)
    targets = Targets("multi_label", ("t",), thresholds=(1e-5,))
    outputs, wanted = np.array([[6.0], [8.0], [9.0], [10.0]], np.float32), np.array([[0], [1], [0], [1]], np.float32)
    meter = Meter(targets, torch.device("cpu"))
    meter.update(torch.from_numpy(outputs), torch.from_numpy(wanted))
    wide = weighted(targets, outputs, wanted)(np.ones(4))
    assert meter.scores()["map"] == pytest.approx(wide["map"]) == pytest.approx((1 + 2 / 3) / 2)


def test_a_damaged_file_can_be_forgotten(tiny: Recipe, capsys: Capture) -> None:
    run = trained(tiny)
    run.fitted_file.write_text("{", "utf-8")
    assert main(["calibrate", run.id]) == 2
    assert main(["calibrate", run.id, "--forget"]) == 0
    assert not run.fitted_file.exists()
    assert predict.load(run).targets.temperature == 1.0
