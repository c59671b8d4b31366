"""A model that was taken away answers elsewhere as its run does, and what is said of it is what was measured."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune_core import cli
from finetune_core.errors import UserError
from finetune_core.export import taking
from finetune_core.export.checked import Check, taken
from finetune_core.export.formats import FORMATS, Onnx
from finetune_core.parts.tasks import Targets
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict

EXACT = ("onnx", "torch", "weights")


def _run(recipe: Recipe) -> Run:
    run = store.create(recipe.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    return run


@pytest.mark.parametrize(
    ("task", "key"),
    [
        pytest.param(task, key, marks=pytest.mark.slow if key == "torch" and task != "single_label" else ())
        for task in ("single_label", "multi_label", "regression")
        for key in EXACT
    ],
)
def test_it_answers_elsewhere_as_the_run_does(
    tiny: Recipe,
    sources: dict[str, dict[str, str]],
    odd_photos: list[Path],
    tmp_path: Path,
    key: str,
    task: str,
) -> None:
    pytest.importorskip("onnxruntime")
    loss = {"single_label": "cross_entropy", "multi_label": "bce", "regression": "mse"}[task]
    run = _run(tiny.with_value("data.source", sources[task]).with_value("training.loss", {"kind": loss}))
    file, found = taking.take(run, key, tmp_path / "away.zip")
    assert file == tmp_path / "away.zip"
    assert found.same == found.images > 0
    assert found.worst < 1e-4
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "elsewhere")
    [folder] = (tmp_path / "elsewhere").iterdir()
    names = json.loads((folder / "names.json").read_text("utf-8"))
    predictor = predict.load(run, "cpu")
    assert names == list(predictor.targets.names)
    said = subprocess.run(  # -I: neither this folder nor anything of Thaw's can be imported
        [sys.executable, "-I", folder / "look.py", *odd_photos],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    for line, photo in zip(said.stdout.strip().splitlines(), odd_photos, strict=True):
        path, *answers = line.split("  ")
        assert path == str(photo)
        own = dict(predictor([photo], 99)[0])
        for answer in answers:
            name, value = answer.rsplit(" ", 1)
            assert float(value) == pytest.approx(own[name], abs=2e-3)


def test_eight_bits_are_smaller_and_their_loss_is_said(tiny: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = _run(tiny)
    _, whole = taking.take(run, "onnx", tmp_path / "whole.zip")
    _, small = taking.take(run, "int8", tmp_path / "small.zip")
    sizes = {}
    for name in ("whole", "small"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
            [model] = [each for each in archive.infolist() if each.filename.endswith(".onnx")]
            sizes[name] = model.file_size
            assert not [each for each in archive.namelist() if "ready" in each or "whole" in each.rpartition("/")[2]]
    assert sizes["small"] < sizes["whole"]
    assert small.worst > whole.worst
    assert whole.right_after == whole.right_before


def test_it_is_found_again_until_the_run_has_learned_more(tiny: Recipe) -> None:
    run = _run(tiny)
    assert taken(run, "weights") is None
    file, found = taking.take(run, "weights")
    assert taken(run, "weights") == (file, found)
    os.utime(run.best, (1, 1))
    assert taken(run, "weights") is None
    taking.take(run, "weights")
    file.write_bytes(file.read_bytes()[:500])
    assert taken(run, "weights") is None  # damaged


def test_what_is_missing_is_said_before_work_begins(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create(tiny)
    with pytest.raises(UserError, match="no model yet"):
        taking.take(run, "weights")
    monkeypatch.setattr(Onnx, "packages", ("onnx", "no_such_package"))
    with pytest.raises(UserError, match="no_such_package is not installed") as caught:
        taking.take(run, "onnx")
    assert "pip install no_such_package" in caught.value.hint


def test_nothing_is_left_where_the_disk_is_full(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tiny)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(taking, "_packed", full)
    with pytest.raises(UserError, match="no room"):
        taking.take(run, "weights")
    assert not [*run.exports.iterdir()]  # no half file, and no folder in which it was made


def test_damaged_training_pictures_are_left_out_of_the_ranges(tiny: Recipe, images: Path) -> None:
    pytest.importorskip("onnxruntime")
    (images / "class_0" / "broken.png").write_bytes((images / "class_0" / "0.png").read_bytes()[:60])
    run = _run(tiny.with_value("data.unreadable", "skip"))
    _, found = taking.take(run, "int8")
    assert found.failed == 0


def test_what_its_program_cannot_read_is_counted_and_said(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tiny)
    opened = taking._opened

    def moody(folder: Path) -> Callable[[Path], np.ndarray]:
        answers, asked = opened(folder), []

        def sometimes(path: Path) -> np.ndarray:
            asked.append(path)
            if len(asked) == 2:
                raise ValueError("no")
            return answers(path)

        return sometimes

    monkeypatch.setattr(taking, "_opened", moody)
    _, found = taking.take(run, "weights")
    assert (found.images, found.same, found.failed) == (6, 5, 1)
    assert "1 image it could not read" in found.line()


def test_a_model_that_was_replaced_meanwhile_is_not_taken_for_the_new_one(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(tiny)
    check = taking._check

    def late(*arguments: Any) -> Check:
        os.utime(run.best, (1, 1))
        return check(*arguments)

    monkeypatch.setattr(taking, "_check", late)
    with pytest.raises(UserError, match="changed meanwhile"):
        taking.take(run, "weights")
    assert taken(run, "weights") is None


def test_numbers_are_the_same_only_within_a_thousandth_of_their_spread() -> None:
    targets = Targets("regression", ("large",), mean=(1.7e9,), std=(500.0,))
    one = torch.tensor([1.7e9], dtype=torch.float64)
    assert taking._same(targets, one, one + 0.4)
    assert not taking._same(targets, one, one + 1.6e6)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.99])
def test_a_damaged_zip_file_breaks_no_page(tiny: Recipe, place: float) -> None:
    run = _run(tiny)
    file, _ = taking.take(run, "weights")
    data = bytearray(file.read_bytes())
    for start in range(int(place * len(data)), min(len(data), int(place * len(data)) + 40)):
        data[start] ^= 0xFF
    file.write_bytes(bytes(data))
    found = taken(run, "weights")
    assert found is None or found[1].images  # another part may have been hit


def test_the_command_line_takes_away_and_says_what_was_checked(
    tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run(tiny)
    assert cli.main(["export", run.id, "--format", "weights", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    [file] = tmp_path.glob("*-weights.zip")
    assert str(file) in said
    assert "the same answer to all" in said
    assert cli.main(["export", run.id, "--format", "weights", "--set", "name=x"]) == 2
    assert cli.main(["export", "no such run", "--format", "torch"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_every_format_says_what_it_is_for() -> None:
    for key, form in FORMATS.items():
        assert form.key == key
        assert form.help.endswith(".")
        assert form.use
