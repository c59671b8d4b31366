"""Many pictures at once are answered as one by one; what cannot be read is said of each."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand import many, predict

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(tiny: Recipe) -> Run:
    made = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(made) == 0
    return made


def test_a_folder_is_answered_as_its_pictures_one_by_one(run: Run, images: Path, odd_photos: list[Path]) -> None:
    predictor = predict.load(run, "cpu")
    paths = many.pictures([images, odd_photos[0].parent])
    assert len(paths) == 24 + len(odd_photos)
    heard: list[int] = []
    found = many.look(predictor, paths, lambda done, total: heard.append(done))
    assert heard == sorted(heard)
    assert heard[-1] == len(paths)
    for each in found:
        own = predictor([each.path], 3)[0]
        assert [name for name, _ in each.answers] == [name for name, _ in own]
        assert [value for _, value in each.answers] == pytest.approx([value for _, value in own], abs=1e-5)


def test_an_archive_is_looked_into_and_damaged_pictures_are_named(
    run: Run, images: Path, tmp_path: Path, capsys: Capture
) -> None:
    (images / "class_0" / "=damaged,\n.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    shutil.make_archive(str(tmp_path / "packed"), "zip", images)
    assert main(["predict", run.id, str(tmp_path / "packed.zip"), "--csv", str(tmp_path / "out.csv")]) == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8"))))
    [bad] = [row for row in rows if row["error"]]
    assert len(rows) == 25
    assert bad["guess"] == bad["sure"] == ""
    for row in rows:
        if not row["error"]:
            assert row[row["guess"]] == max((row[name] for name in ("class_0", "class_1", "class_2")), key=float)
    assert main(["predict", run.id, str(images), "--json"]) == 0
    said = json.loads(capsys.readouterr().out[len(f"Wrote {tmp_path / 'out.csv'}: 25 images.\n") :])
    assert sum("error" in each for each in said) == 1


def test_what_holds_no_picture_is_said(run: Run, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("words")
    for place in ("empty", "text.jpg", "nowhere.png"):
        assert main(["predict", run.id, str(tmp_path / place)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(UserError, match="no pictures"):
        many.pictures([tmp_path / "empty"])
