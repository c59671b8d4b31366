"""Archives from strangers: images come out, nothing else happens."""

import io
import json
import os
import stat
import tarfile
import threading
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune_core.data.chosen import chosen
from finetune_core.errors import UserError
from finetune_core.parts.sources import Archive, archives
from finetune_core.parts.sources.samples import Samples
from finetune_core.places import cache_dir, writing
from finetune_core.recipe import Data


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 24, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


GOOD = {
    f"pets/{name}/{number}.png": picture(10 * place + number)
    for place, name in enumerate(("cat", "dog"))
    for number in range(3)
}


def zipped(path: Path, entries: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return path


def tarred(path: Path, entries: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as archive:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for number, (name, target) in enumerate((links or {}).items()):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = (tarfile.SYMTYPE, tarfile.LNKTYPE)[number % 2], target
            archive.addfile(info)
    return path


PACKED = {"a.zip": zipped, "a.tar": tarred, "a.tar.gz": tarred, "a.tar.bz2": tarred, "a.tar.xz": tarred}


def samples(path: Path) -> Samples:
    return Archive(path=str(path)).samples()


@pytest.mark.parametrize("name", PACKED)
def test_images_are_taken_out_once_and_listed_as_a_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = PACKED[name](tmp_path / name, {**GOOD, "pets/readme.txt": b"hello", "__MACOSX/pets/cat/._0.png": b"x"})
    heard: list[tuple[int, int]] = []
    found = Archive(path=str(path)).samples(lambda done, total: heard.append((done, total)))
    assert found.classes == ("cat", "dog")
    assert [found.place(index) for index in range(6)] == [each.removeprefix("pets/") for each in GOOD]
    assert [path.read_bytes() for path in found.paths] == [*GOOD.values()]
    assert heard[-1][0] == heard[-1][1]
    assert any("are no images" in note for note in found.remarks)
    monkeypatch.setattr(archives, "take_out", lambda *given: pytest.fail("taken out again"))
    assert samples(path) == found
    assert len(chosen(Data(source=Archive(path=str(path)), valid_share=0.34))[1].valid) == 2


@pytest.mark.parametrize("name", PACKED)
def test_nothing_is_written_outside(name: str, tmp_path: Path) -> None:
    bad = {
        "../../evil.png": picture(1),
        "pets/../../../evil2.png": picture(1),
        f"{tmp_path}/evil3.png": picture(1),
        f"/{tmp_path}/evil6.png": picture(1),
        f"\\\\{str(tmp_path)[1:]}/evil7.png": picture(1),
        "..\\..\\evil4.png": picture(1),
        "C:\\evil5.png": picture(1),
    }
    links = {
        "pets/cat/link.png": "/etc/passwd",
        "pets/cat/hard.png": "../../../evil.png",
        "pets/dog/out": str(tmp_path),
    }
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(cache_dir())}
    path = PACKED[name](tmp_path / name, {**GOOD, **bad}, links)
    found = samples(path)
    assert len(found) == 6
    assert any("7 entries that lead outside the archive" in note for note in found.notes)
    assert any("that are links" in note or "that is a link" in note for note in found.notes)
    after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(cache_dir())}
    assert after - before == {path}
    assert not any(path.is_symlink() for path in cache_dir().rglob("*"))


def test_a_write_through_a_link_stays_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zipped(path, GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("pets/cat/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(tmp_path / "outside"))
        archive.writestr("pets/cat/link/evil.png", picture(3))
    (tmp_path / "outside").mkdir()
    samples(path)
    assert not [*(tmp_path / "outside").iterdir()]


def test_bombs_are_left_out_unread(tmp_path: Path) -> None:
    zeros = bytes(archives.LARGEST + 1)
    found = samples(zipped(tmp_path / "a.zip", {**GOOD, "pets/cat/bomb.png": zeros}))
    assert any("1 entry that unfolds to far more" in note for note in found.notes)
    assert len(found) == 6
    found = samples(tarred(tmp_path / "a.tar.gz", {**GOOD, "pets/cat/bomb.png": zeros}))
    assert any("unfolds to far more" in note for note in found.notes)
    assert len(found) == 6


def test_many_small_bombs_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST", 1 << 20)
    path = zipped(tmp_path / "a.zip", {**GOOD, **{f"pets/cat/b{number}.png": bytes(1 << 19) for number in range(40)}})
    found = samples(path)
    assert "unfolds to far more" in found.notes[0]
    assert sum(each.stat().st_size for each in cache_dir().rglob("*.png")) < 40 << 19


def test_a_name_that_would_fill_the_memory_ends_it(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar.gz", {**GOOD, "n" * (archives.PIECE + 10) + ".png": picture(1)})
    found = samples(path)
    assert len(found) == 6
    assert "a name in it is far too long" in found.notes[0].lower()


def test_an_entry_below_a_file_is_left_out(tmp_path: Path) -> None:
    found = samples(zipped(tmp_path / "a.zip", {**GOOD, "pets/cat/0.png/1.png": picture(5)}))
    assert len(found) == 6
    assert any("stands there twice" in note for note in found.notes)


def test_what_somebody_took_away_is_taken_out_again(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", GOOD)
    first = samples(path)
    next((cache_dir() / "unpacked").glob("*/notes.json")).unlink()
    first.paths[0].unlink()
    assert samples(path) == first


def test_an_entry_that_claims_less_than_it_holds_is_left_out(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", GOOD)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02") + 24
    data[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    found = samples(path)
    assert len(found) == 5
    assert any("1 entry that is damaged" in note for note in found.notes)


def test_locked_entries_and_doubles_are_told(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {**GOOD, "pets/cat/locked.png": picture(7)})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rfind(mark) + offset] |= 1
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("pets/cat/0.png", b"other")
    found = samples(path)
    assert len(found) == 6
    assert any("1 entry that is locked by a password" in note for note in found.notes)
    assert any("1 entry that stands there twice" in note for note in found.notes)
    assert found.paths[0].read_bytes() == GOOD["pets/cat/0.png"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_what_is_cut_off_or_nothing_at_all_is_told(name: str, tmp_path: Path) -> None:
    turns = sorted(GOOD, key=lambda each: each[-5:])  # both classes by turns
    path = PACKED[name](tmp_path / name, {each: GOOD[each] for each in turns})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * (1 if name == "a.tar" else 2) // 3])
    if name == "a.zip":  # its list of contents stands at its end
        with pytest.raises(UserError, match="no archive that can be read"):
            samples(path)
    else:
        found = samples(path)
        assert 2 <= len(found) < 6
        assert "The archive is damaged." in found.notes[0]
    for data in (b"", b"plain text", os.urandom(5000)):
        path.write_bytes(data)
        with pytest.raises(UserError, match="no archive that can be read"):
            samples(path)
    with pytest.raises(UserError, match="No images were found"):
        samples(PACKED[name](path, {"readme.txt": b"hello"}))
    assert not [each for each in (cache_dir() / "unpacked").iterdir() if each.name.startswith(".")]


@pytest.mark.parametrize(
    ("path", "words"), [("", "No archive"), ("nowhere.zip", "There is no archive"), (".", "It is a folder")]
)
def test_what_is_not_there_is_told(path: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        Archive(path=path).samples()


def test_names_that_no_disk_takes_are_left_out(tmp_path: Path) -> None:
    odd = {"/".join(["d"] * 900) + "/x.png": picture(1), f"pets/cat/{'n' * 300}.png": picture(2)}
    fine = {"pets/cat/späce ünï 画像\n.png": picture(3), "pets/dog/'quote\".png": picture(4)}
    found = samples(zipped(tmp_path / "a.zip", {**GOOD, **odd, **fine}))
    assert len(found) == 8
    assert any("2 entries that have too long a name" in note for note in found.notes)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", GOOD)
    monkeypatch.setattr(archives, "SPARE", 1 << 60)
    with pytest.raises(UserError, match=r"room|space"):
        samples(path)
    assert not [*(cache_dir() / "unpacked").iterdir()]


def test_what_another_process_took_out_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, written = zipped(tmp_path / "a.zip", GOOD), list[int]()

    def meanwhile(what: str) -> AbstractContextManager[None]:
        monkeypatch.setattr(archives, "writing", writing)
        written.append(samples(path).paths[0].stat().st_mtime_ns)
        return writing(what)

    monkeypatch.setattr(archives, "writing", meanwhile)  # asked for once it is known that nothing is there yet
    assert [samples(path).paths[0].stat().st_mtime_ns] == written


def test_two_at_once_and_a_stop_in_the_midst_end_well(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", GOOD)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Archive(path=str(path)).samples(stop)
    assert not [*(cache_dir() / "unpacked").iterdir()]
    found: list[Samples] = []
    threads = [threading.Thread(target=lambda: found.append(samples(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.paths for each in found] == [found[0].paths] * 8
    assert json.loads(next((cache_dir() / "unpacked").glob("*/notes.json")).read_text()) == {"look": [], "remarks": []}
