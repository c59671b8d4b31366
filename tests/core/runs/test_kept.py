"""A run that goes on learns from the images that it began with, whatever has become of their folder."""

import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from finetune_core.recipe import Recipe
from finetune_core.records import Record
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict


def stopped(recipe: Recipe, at: int = 3) -> store.Run:
    """A run that was stopped after some steps."""
    run = store.create(recipe)

    def watch(record: Record) -> None:
        if record.kind == "step" and getattr(record, "step", 0) == at - 1:
            run.ask("stop")

    work(run, watch=watch)
    assert run.status.state == "stopped"
    return run


def digests(run: store.Run) -> dict[str, str]:
    """Of every file that matters: what it has learned and recorded."""
    files = [path for path in run.path.rglob("*") if path.suffix in (".safetensors", ".pt")]
    files += [run.records_file, run.targets_file, run.images_file]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def events(run: store.Run, name: str) -> list[str]:
    return [row["text"] for row in run.records()[0] if row["kind"] == "event" and row["name"] == name]


@pytest.mark.parametrize("change", ["renamed", "added"])
def test_other_classes_are_refused_and_nothing_of_the_run_is_touched(tiny: Recipe, images: Path, change: str) -> None:
    run = stopped(tiny)
    before, picture = digests(run), images / "class_1" / "0.png"
    seen = predict.load(run)([picture]) if run.best.exists() else None
    if change == "renamed":
        (images / "class_0").rename(images / "zebra")
    else:
        (images / "owl").mkdir()
        for number in range(3):
            Image.new("RGB", (40, 40)).save(images / "owl" / f"{number}.png")
    assert work(run) == 2
    assert "classes are not those that the run began with" in run.status.message
    assert digests(run) == before
    assert (predict.load(run)([picture]) if run.best.exists() else None) == seen


def test_images_that_are_new_are_told_and_change_no_bit(tiny: Recipe, images: Path) -> None:
    whole = store.create(tiny)
    assert work(whole) == 0
    run = stopped(tiny)
    Image.new("RGB", (40, 40)).save(images / "class_0" / "new.png")
    assert work(run) == 0
    assert events(run, "data") == [
        "1 image is new since the run began, such as class_0/new.png: a run keeps to the images it began with."
    ]
    expected = load_file(whole.last)
    assert all(torch.equal(value, expected[name]) for name, value in load_file(run.last).items())


def test_images_that_are_gone_are_told_and_the_others_stay_on_their_side(tiny: Recipe, images: Path) -> None:
    run = stopped(tiny)
    before = run.begun
    assert before is not None
    gone = before.train[0]
    (images / gone).unlink()
    assert work(run) == 0
    assert events(run, "data") == [f"1 image is gone since the run began, such as {gone}: it goes on with the others."]
    assert run.begun == before, "what it began with stays what it began with"


def test_where_one_side_is_gone_the_run_does_not_go_on(tiny: Recipe, images: Path) -> None:
    run = stopped(tiny)
    assert run.begun is not None
    for path in run.begun.valid:
        (images / path).unlink()
    assert work(run) == 2
    assert "are gone" in run.status.message


def test_a_run_from_before_images_were_kept_goes_by_its_names(tiny: Recipe, images: Path) -> None:
    run = stopped(tiny)
    run.images_file.unlink()
    (images / "class_0").rename(images / "zebra")
    assert work(run) == 2
    (images / "zebra").rename(images / "class_0")
    assert work(run) == 0
