"""A model measured on one side of its data: as its run measured it, and on a test that nothing was chosen by."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from finetune_core.cli import main
from finetune_core.data.chosen import chosen
from finetune_core.errors import UserError
from finetune_core.export import script
from finetune_core.parts.sources import Folder, Table
from finetune_core.recipe import Data, Recipe
from finetune_core.runs import store
from finetune_core.runs.states import predictions
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand import many, predict
from finetune_core.understand.evaluate import evaluate
from finetune_core.understand.outcomes import outcomes

Capture = pytest.CaptureFixture[str]


def trained(recipe: Recipe) -> Run:
    run = store.create(recipe)
    assert work(run) == 0
    return run


def test_the_validation_images_give_what_the_run_said(tiny: Recipe) -> None:
    run = trained(tiny)
    look = evaluate(run, "valid")
    found, notes = look.found, look.notes
    kept = predictions.needed(run)
    assert look.answers.images == kept.images
    assert look.answers.outputs == pytest.approx(kept.outputs, abs=1e-4)
    best = next(row for row in reversed(run.epochs()) if row["best"])
    assert found.scores == pytest.approx(best["scores"])
    assert (found.images, notes, run.tests()) == (6, (), [])


def test_test_images_take_no_part_and_each_look_is_kept(tiny: Recipe, capsys: Capture) -> None:
    run = trained(tiny.with_value("data.test_share", 0.25))
    samples, parts = chosen(run.recipe.data)
    assert run.begun is not None
    assert set(run.begun.test) == {samples.name(index) for index in parts.test}
    assert not set(run.begun.test) & {*run.begun.train, *run.begun.valid}
    found = evaluate(run, "test").found
    predictor = predict.load(run)
    right = [predictor([samples.paths[index]])[0][0][0] == samples.label_words(index) for index in parts.test]
    assert found.scores["accuracy"] == pytest.approx(np.mean(right))
    assert main(["evaluate", run.id, "--on", "test"]) == 0
    assert "Look 2 at these test images" in capsys.readouterr().out
    assert [row["look"] for row in run.tests()] == [1, 2]
    assert main(["evaluate", run.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["on"] == "valid"


def test_a_run_without_test_images_says_so(tiny: Recipe, capsys: Capture) -> None:
    run = trained(tiny)
    with pytest.raises(UserError, match="no test images"):
        evaluate(run, "test")
    assert main(["evaluate", run.id, "--on", "test"]) == 2
    assert "Put some aside" in capsys.readouterr().err


def own_split(images: Path, folder: Path, names: tuple[str, ...]) -> Path:
    """The images in folders of these names, by turns."""
    for place in images.iterdir():
        for number, file in enumerate(sorted(place.iterdir())):
            target = folder / names[number % len(names)] / place.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    return folder


def as_in_the_script(data: Data, counts: tuple[int, ...]) -> None:
    samples, parts = chosen(data)
    assert tuple(map(len, parts.sides)) == counts
    names: dict[str, Any] = {}
    exec(script.data(Recipe(data=data), samples), names)
    assert (names["train"].tolist(), names["valid"].tolist()) == (parts.train.tolist(), parts.valid.tolist())


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (("train", "val", "test"), (9, 9, 6)),
        (("training", "validation", "testing"), (9, 9, 6)),
        (("train", "test"), (12, 12, 0)),
    ],
)
def test_folders_for_a_test_are_known_by_their_names(
    images: Path, tmp_path: Path, names: tuple[str, ...], counts: tuple[int, ...]
) -> None:
    folder = own_split(images, tmp_path / "own", names)
    as_in_the_script(Data(source=Folder(path=str(folder))), counts)


def test_a_test_folder_without_labels_is_left_out(images: Path, tmp_path: Path) -> None:
    folder = own_split(images, tmp_path / "own", ("train", "val"))
    (folder / "test" / "unknown").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(folder / "test" / "unknown" / "1.png")
    samples, parts = chosen(Data(source=Folder(path=str(folder))))
    assert not len(parts.test)
    assert "The folders beside train and val were left out: test." in samples.notes


@pytest.mark.parametrize(
    ("words", "counts"), [(("train", "valid", "test"), (8, 8, 8)), (("train", "test"), (12, 12, 0))]
)
def test_a_tables_column_may_say_test(
    images: Path, tmp_path: Path, words: tuple[str, ...], counts: tuple[int, ...]
) -> None:
    files = sorted(images.glob("*/*.png"))
    rows = [f"{file.relative_to(images)},{file.parent.name},{words[n % len(words)]}" for n, file in enumerate(files)]
    (images / "labels.csv").write_text("\n".join(["file,class,split", *rows]))
    as_in_the_script(Data(source=Table(path=str(images / "labels.csv"))), counts)


def test_other_images_are_measured_by_their_names(tiny: Recipe, tmp_path: Path, capsys: Capture) -> None:
    run = trained(tiny)
    other = tmp_path / "other"
    for name in ("class_2", "class_0"):  # fewer classes, and counted otherwise than in the run
        shutil.copytree(tmp_path / "images" / name, other / name)
    found = evaluate(run, other).found
    predictor = predict.load(run)
    files = sorted(other.glob("*/*.png"))
    right = [predictor([file])[0][0][0] == file.parent.name for file in files]
    assert found.images == len(files)
    assert found.scores["accuracy"] == pytest.approx(np.mean(right))
    assert not run.tests()
    shutil.make_archive(str(tmp_path / "packed"), "zip", other)
    zipped = evaluate(run, tmp_path / "packed.zip").found
    assert zipped.scores == found.scores
    assert main(["evaluate", run.id, "--on", str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["accuracy"] == pytest.approx(np.mean(right))
    (other / "class_0").rename(other / "another")
    assert main(["evaluate", run.id, "--on", str(other)]) == 2
    assert "another" in capsys.readouterr().err
    assert main(["evaluate", run.id, "--on", str(tmp_path / "nowhere")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_table_of_other_tags_is_measured(tiny: Recipe, sources: dict[str, dict[str, str]], tmp_path: Path) -> None:
    recipe = tiny.with_value("data.source", sources["multi_label"]).with_value("training.loss", {"kind": "bce"})
    run = trained(recipe)
    table = Path(sources["multi_label"]["path"])
    head, *lines = table.read_text("utf-8").splitlines()
    fewer = table.with_name("fewer.csv")
    fewer.write_text("\n".join([head, *(line for line in lines if "class_1" not in line)]), "utf-8")
    found = evaluate(run, fewer).found
    assert found.images == 16
    assert set(found.scores) == set(run.epochs()[-1]["scores"])


def test_each_image_becomes_a_row_of_a_table(tiny: Recipe, tmp_path: Path, capsys: Capture) -> None:
    run, file = trained(tiny), tmp_path / "outcomes.csv"
    assert main(["evaluate", run.id, "--csv", str(file)]) == 0
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    found = outcomes(run)
    assert [row["image"] for row in rows] == list(found.images)
    assert [row["truth"] for row in rows] == [found.names[each] for each in found.truth]
    assert [row["guess"] for row in rows] == [found.names[each] for each in found.guess]
    assert [float(row["sure"]) for row in rows] == pytest.approx(found.sure, abs=1e-3)


def test_several_views_are_the_mean_of_their_probabilities(tiny: Recipe, capsys: Capture) -> None:
    run = trained(tiny.with_value("augment", [{"kind": "horizontal_flip", "chance": 1.0}]))
    samples, parts = chosen(run.recipe.data)
    predictor = predict.load(run)
    images = torch.stack(next(iter(many.read(predictor, [samples.paths[index] for index in parts.valid]))))
    mean = (predictor.answered(images) + predictor.answered(images.flip(-1))) / 2
    right = mean.argmax(1).numpy() == np.array(samples.labels)[parts.valid]
    look = evaluate(run, "valid", views=1)
    assert look.found.scores["accuracy"] == pytest.approx(right.mean())
    assert torch.from_numpy(look.answers.outputs).softmax(1).numpy() == pytest.approx(mean.numpy(), abs=1e-5)
    assert main(["evaluate", run.id, "--views", "1"]) == 0
    assert "mean of 2 views" in capsys.readouterr().out
    assert main(["evaluate", run.id, "--views", "1", "--on", str(run.path)]) == 2
    assert "measured by one view" in capsys.readouterr().err
