"""Where images that cannot be read are skipped: single ones are, a whole class or side is told before any compute."""

from pathlib import Path
from typing import Any

import pytest

from finetune_core.errors import UserError
from finetune_core.export import script
from finetune_core.recipe import Recipe
from finetune_core.runs import preflight, store
from finetune_core.runs.work.worker import work


def refused(recipe: Recipe, said: str) -> None:
    """Before launch, by the run, and by the export."""
    told = [finding for finding in preflight.findings(recipe) if finding.level == "error"]
    assert any(said in finding.text for finding in told)
    run = store.create(recipe)
    assert work(run) == 2
    assert said in run.status.message
    with pytest.raises(UserError, match=said):
        script.gather(recipe, lambda *_: None)


def test_a_class_that_cannot_be_read_at_all_is_not_skipped(tiny: Recipe, images: Path) -> None:
    for path in images.glob("class_1/*"):
        path.write_bytes(b"no")
    refused(tiny.with_value("data.unreadable", "skip"), "None of the training images of class_1 is left.")


def test_single_images_are_skipped(tiny: Recipe, images: Path) -> None:
    for name in ("class_0", "class_1"):
        (images / name / "3.png").write_bytes(b"no")
    recipe = tiny.with_value("data.unreadable", "skip").with_value("phases.0.epochs", 1)
    assert not [finding for finding in preflight.findings(recipe) if finding.level == "error"]
    assert work(store.create(recipe)) == 0


@pytest.mark.parametrize("side", ["train", "valid"])
def test_a_side_that_cannot_be_read_at_all_is_not_skipped(
    tiny: Recipe, sources: dict[str, dict[str, Any]], images: Path, side: str
) -> None:
    """With numbers to learn, and the data's own split."""
    table = images / "labels.csv"
    first, *rows = table.read_text(encoding="utf-8").splitlines()
    sides = ["valid" if number % 3 == 0 else "train" for number in range(len(rows))]
    table.write_text("\n".join([f"{first},part", *(f"{r},{s}" for r, s in zip(rows, sides, strict=True))]), "utf-8")
    for row, its in zip(rows, sides, strict=True):
        if its == side:
            (images / row.partition(",")[0]).write_bytes(b"no")
    source = {**sources["regression"], "split": "part"}
    recipe = tiny.with_value("data.source", source).with_value("training.loss", {"kind": "mse"})
    names = {"train": "training", "valid": "validation"}
    refused(recipe.with_value("data.unreadable", "skip"), f"None of the {names[side]} images is left.")
