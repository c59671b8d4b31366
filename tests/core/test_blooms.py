"""The sample data set: the same pictures everywhere, a complete folder or none."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune_core.blooms import SIZE, SPECIES, draw, ensure, folder
from finetune_core.blooms.__main__ import main
from finetune_core.errors import UserError

ROOT = Path(__file__).parents[2]
HASHES = """
import hashlib
from finetune_core.blooms import SPECIES, draw
print(hashlib.sha256(b"".join(draw(s, 7).tobytes() for s in range(len(SPECIES)))).hexdigest())
"""


def test_twelve_species_with_folder_names_and_a_sentence_each():
    names = [species.name for species in SPECIES]
    assert len(set(names)) == len(names) == 12
    assert all(name.replace("_", "a").isalpha() and name == name.lower() for name in names)
    assert all(species.title and species.about.endswith(".") for species in SPECIES)


def test_a_picture_is_the_same_in_two_processes():
    runs = [
        subprocess.run([sys.executable, "-c", HASHES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].strip()) == 64


def test_pictures_differ_by_species_and_by_number():
    pixels = {hashlib.sha256(draw(s, n).tobytes()).hexdigest() for s in range(3) for n in range(3)}
    assert len(pixels) == 9


def test_size_changes_the_resolution_not_the_scene():
    small, large = draw(3, 0), draw(3, 0, 2 * SIZE)
    assert small.size == (SIZE, SIZE)
    assert large.size == (2 * SIZE, 2 * SIZE)
    shrunk = np.asarray(large.resize((48, 48), Image.Resampling.BOX), float)
    assert abs(shrunk - np.asarray(small.resize((48, 48), Image.Resampling.BOX), float)).mean() < 6


def test_who_comes_second_waits_and_looks_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folder, "_draw_all", lambda *_: pytest.fail("drew it, too"))
    place = tmp_path / "set"
    heard: list[int] = []
    with subprocess.Popen([sys.executable, "-m", "finetune_core.blooms", str(place)], cwd=ROOT) as first:
        while not folder.so_far(place):
            time.sleep(0.01)
        seen = folder.so_far(place)
        assert len({path.parent for path in seen[:12]}) == min(12, len(seen)), "one of each species after the other"
        for path in seen:
            Image.open(path).load()
        assert ensure(place, lambda done, _: heard.append(done)) == place
        first.wait(60)
    assert heard == sorted(heard)
    assert heard
    assert len([*place.rglob("*.jpg")]) == 12 * folder.PER_CLASS
    assert [path.name for path in tmp_path.iterdir() if "draft" in path.name] == []


def test_a_draft_that_is_finished_while_it_is_counted_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drafts, pictures, heard = iter([[tmp_path], [tmp_path], []]), iter([[tmp_path] * 9, [tmp_path] * 4]), list[int]()
    monkeypatch.setattr(folder, "_drafts", lambda _: next(drafts))
    monkeypatch.setattr(folder, "_in", lambda _: next(pictures))
    folder._look_on(tmp_path / "set", lambda done, _: heard.append(done))
    assert heard == [9, 9]


def test_a_draft_that_is_finished_while_one_looks_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def gone(self: Path, pattern: str) -> list[Path]:
        return [self / ".set-draft-finished-just-now"]

    monkeypatch.setattr(Path, "glob", gone)
    assert folder.so_far(tmp_path / "set") == []


def test_one_that_was_killed_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folder, "STUCK", 0.2)
    monkeypatch.setattr(folder, "PER_CLASS", 2)
    place = tmp_path / "set"
    (tmp_path / ".set-draft-of-a-killed-one").mkdir()
    assert folder.drawn(ensure(place))


def test_blooms_needs_no_torch():
    code = "import sys, finetune_core.blooms; sys.exit('torch' in sys.modules or 'streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch):
    """Two pictures a class, so that a whole set takes a blink."""
    monkeypatch.setattr(folder, "PER_CLASS", 2)


def test_the_folder_is_an_image_folder_and_progress_counts_to_the_end(tmp_path: Path, quick: None):
    seen: list[tuple[int, int]] = []
    made = ensure(tmp_path / "data" / "blooms", lambda done, total: seen.append((done, total)))
    assert sorted(p.name for p in made.iterdir() if p.is_dir()) == sorted(s.name for s in SPECIES)
    assert [p.name for p in sorted((made / SPECIES[0].name).iterdir())] == ["000.jpg", "001.jpg"]
    assert seen == [(i, 24) for i in range(1, 25)]
    with Image.open(made / "snow_daisy" / "001.jpg") as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (SIZE, SIZE), "RGB")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["blooms"]


def test_a_complete_folder_is_left_alone(tmp_path: Path, quick: None):
    made = ensure(tmp_path / "blooms")
    before = {p: p.stat().st_mtime_ns for p in made.rglob("*.jpg")}
    ensure(made, lambda done, total: pytest.fail("drew again"))
    assert {p: p.stat().st_mtime_ns for p in made.rglob("*.jpg")} == before


def test_an_interruption_leaves_nothing_and_the_next_call_finishes(tmp_path: Path, quick: None):
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(tmp_path / "blooms", stop)
    assert list(tmp_path.iterdir()) == []
    assert len(list(ensure(tmp_path / "blooms").rglob("*.jpg"))) == 24


def test_somebody_elses_folder_is_refused_and_left_alone(tmp_path: Path, quick: None):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"dear")
    with pytest.raises(UserError, match="not empty"):
        ensure(tmp_path / "photos")
    assert (tmp_path / "photos" / "me.jpg").read_bytes() == b"dear"


def test_an_older_version_is_replaced_and_old_drafts_are_swept(tmp_path: Path, quick: None):
    (tmp_path / "blooms" / "tulip").mkdir(parents=True)
    (tmp_path / "blooms" / ".blooms-0").touch()
    abandoned = tmp_path / ".blooms-draft-killed"
    abandoned.mkdir()
    os.utime(abandoned, (0, 0))
    made = ensure(tmp_path / "blooms")
    assert len(list(made.rglob("*.jpg"))) == 24
    assert not (made / "tulip").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["blooms"]


def test_of_two_that_draw_at_once_the_later_keeps_the_earlier_ones(tmp_path: Path, quick: None):
    target = tmp_path / "blooms"
    first: dict[Path, int] = {}

    def meanwhile(done: int, total: int) -> None:
        if done == 3 and not target.exists():
            ensure(target)
            first.update({p: p.stat().st_mtime_ns for p in target.rglob("*.jpg")})

    ensure(target, meanwhile)
    assert first
    assert {p: p.stat().st_mtime_ns for p in target.rglob("*.jpg")} == first
    assert [p.name for p in tmp_path.iterdir()] == ["blooms"]


def test_the_command_draws_the_folder(tmp_path: Path, quick: None, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["blooms", str(tmp_path / "blooms")])
    main()
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "blooms")
    assert "24 of 24" in err
