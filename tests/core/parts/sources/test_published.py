"""Every published set, from a small archive in its real layout; and downloads that go wrong on the way."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from finetune_core import downloads, places
from finetune_core.data.chosen import arranged
from finetune_core.errors import UserError
from finetune_core.parts.sources import Published, published
from finetune_core.parts.sources.published import SETS
from finetune_core.recipe import Data, Recipe
from finetune_core.runs import preflight

Files = dict[str, bytes]
PIXELS = np.random.default_rng(0)


def picture(form: str = "JPEG", size: int = 40) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(file, form)
    return file.getvalue()


def tar(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def mat(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    savemat(file, arrays)
    return file.getvalue()


def flowers102() -> Files:
    labels = np.array([[1, 1, 2, 2, 1, 2]])
    return {
        "102flowers.tgz": tar({f"jpg/image_{number:05d}.jpg": picture() for number in range(1, 7)}),
        "imagelabels.mat": mat(labels=labels),
        "setid.mat": mat(trnid=np.array([[1, 3]]), valid=np.array([[2, 4]]), tstid=np.array([[5, 6]])),
    }


def pets() -> Files:
    names = [f"{breed}_{number}" for breed in ("Abyssinian", "great_pyrenees") for number in (1, 2)]
    lines = [f"{name} {1 + place // 2} 1 1" for place, name in enumerate(names)]
    texts = {"annotations/trainval.txt": lines[::2], "annotations/test.txt": lines[1::2]}
    return {
        "images.tar.gz": tar({f"images/{name}.jpg": picture() for name in names}),
        "annotations.tar.gz": tar({name: "\n".join(lines).encode() for name, lines in texts.items()}),
    }


def food101() -> Files:
    sides = {"train": {"pie": ["pie/1"], "soup": ["soup/1"]}, "test": {"pie": ["pie/2"], "soup": ["soup/2"]}}
    files = {f"food-101/meta/{side}.json": json.dumps(found).encode() for side, found in sides.items()}
    images = {f"food-101/images/{name}/{number}.jpg": picture() for name in ("pie", "soup") for number in (1, 2)}
    return {"food-101.tar.gz": tar({**files, **images})}


def aircraft() -> Files:
    top = "fgvc-aircraft-2013b/data"
    files = {f"{top}/variants.txt": b"A320\nF/A-18\n"}
    for place, side in enumerate(("train", "val", "test")):
        files[f"{top}/images_variant_{side}.txt"] = f"{place}1 A320\n{place}2 F/A-18\n".encode()
        files |= {f"{top}/images/{place}{number}.jpg": picture() for number in (1, 2)}
    return {"fgvc-aircraft-2013b.tar.gz": tar(files)}


def dtd() -> Files:
    files: Files = {}
    for place, side in enumerate(("train", "val", "test")):
        files[f"dtd/labels/{side}1.txt"] = f"banded/b_{place}.jpg\nwoven/w_{place}.jpg\n".encode()
        files |= {f"dtd/images/{name}_{place}.jpg": picture() for name in ("banded/b", "woven/w")}
    return {"dtd-r1.0.1.tar.gz": tar(files)}


def eurosat() -> Files:
    return {"EuroSAT.zip": zipped({f"2750/{n}/{n}_{i}.jpg": picture() for n in ("Forest", "River") for i in range(3)})}


def imagenette() -> Files:
    places_ = [f"{s}/{n}/{n}_{i}.JPEG" for s in ("train", "val") for n in ("n01440764", "n03000684") for i in range(2)]
    return {"imagenette2-320.tgz": tar({f"imagenette2-320/{place}": picture() for place in places_})}


def caltech101() -> Files:
    images = {f"101_ObjectCategories/{n}/image_{i:04d}.jpg": picture() for n in ("ant", "bee") for i in (1, 2)}
    images["101_ObjectCategories/BACKGROUND_Google/image_0001.jpg"] = picture()
    return {"caltech-101.zip": zipped({"caltech-101/101_ObjectCategories.tar.gz": tar(images)})}


def gtsrb() -> Files:
    train = {f"GTSRB/Training/0000{n}/0000{n}_0000{i}.ppm": picture("PPM") for n in range(2) for i in range(2)}
    test = {f"GTSRB/Final_Test/Images/0000{i}.ppm": picture("PPM") for i in range(2)}
    truth = "Filename;Width;ClassId\n00000.ppm;40;0\n00001.ppm;40;1\n"
    return {
        "GTSRB-Training_fixed.zip": zipped(train),
        "GTSRB_Final_Test_Images.zip": zipped(test),
        "GTSRB_Final_Test_GT.zip": zipped({"GT-final_test.csv": truth.encode()}),
    }


def cifar(folder: str, batches: list[str], meta: str, labels: str, names: str, archive: str) -> Files:
    def batch() -> bytes:
        return pickle.dumps({"data": PIXELS.integers(0, 255, (2, 3072), dtype=np.uint8), labels: [0, 1]})

    files = {f"{folder}/{name}": batch() for name in batches}
    files[f"{folder}/{meta}"] = pickle.dumps({names: ["cat", "dog"]})
    return {archive: tar(files)}


def svhn() -> Files:
    def side() -> bytes:
        return mat(X=PIXELS.integers(0, 255, (32, 32, 3, 4), dtype=np.uint8), y=np.array([[10], [1], [10], [1]]))

    return {"train_32x32.mat": side(), "test_32x32.mat": side()}


def stl10() -> Files:
    files: Files = {"stl10_binary/class_names.txt": b"airplane\nbird\n"}
    for side in ("train", "test", "unlabeled"):
        files[f"stl10_binary/{side}_X.bin"] = PIXELS.integers(0, 255, 2 * 3 * 96 * 96, dtype=np.uint8).tobytes()
        files[f"stl10_binary/{side}_y.bin"] = bytes([1, 2])
    return {"stl10_binary.tar.gz": tar(files)}


def mnist() -> Files:
    def side(name: str) -> Files:
        images = struct.pack(">IIII", 2051, 4, 28, 28) + PIXELS.integers(0, 255, 4 * 784, dtype=np.uint8).tobytes()
        labels = struct.pack(">II", 2049, 4) + bytes([0, 1, 0, 1])
        return {
            f"{name}-images-idx3-ubyte.gz": gzip.compress(images),
            f"{name}-labels-idx1-ubyte.gz": gzip.compress(labels),
        }

    return {**side("train"), **side("t10k")}


MADE: dict[str, Callable[[], Files]] = {
    "flowers102": flowers102,
    "pets": pets,
    "food101": food101,
    "aircraft": aircraft,
    "dtd": dtd,
    "eurosat": eurosat,
    "imagenette": imagenette,
    "caltech101": caltech101,
    "gtsrb": gtsrb,
    "cifar10": partial(
        cifar,
        "cifar-10-batches-py",
        ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"],
        "batches.meta",
        "labels",
        "label_names",
        "cifar-10-python.tar.gz",
    ),
    "cifar100": partial(
        cifar,
        "cifar-100-python",
        ["train", "test"],
        "meta",
        "fine_labels",
        "fine_label_names",
        "cifar-100-python.tar.gz",
    ),
    "svhn": svhn,
    "stl10": stl10,
    "mnist": mnist,
    "fashion_mnist": mnist,
}


class Server:
    """Offers small archives in the place of the real ones; `cut` of a file are sent at first."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cut, self.asked = folder, 0, 0
        outer = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                data = (folder / self.path.rpartition("/")[2]).read_bytes()
                start = int(self.headers.get("Range", "bytes=0-")[6:-1])
                self.send_response(206 if start else 200)
                self.send_header("ETag", '"one"')
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                self.wfile.write(data[start : outer.cut or None])

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The whole net is one server that has every archive by its name."""
    (tmp_path / "served").mkdir()
    server = Server(tmp_path / "served")
    real, address = downloads.fetch, f"http://127.0.0.1:{server.http.server_address[1]}"

    def fetch(url: str, *args: object, **kwargs: object) -> Path:
        return real(f"{address}/{url.rpartition('/')[2]}", *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(downloads, "fetch", fetch)
    yield server
    server.http.shutdown()


def offer(server: Server, name: str) -> None:
    for file, data in MADE[name]().items():
        (server.folder / file).write_bytes(data)


@pytest.fixture
def any_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small archives have other checksums than the real ones."""
    monkeypatch.setattr("torchvision.datasets.utils.check_md5", lambda *_, **__: True)


@pytest.mark.usefixtures("any_sum")
@pytest.mark.parametrize("name", SETS)
def test_each_set_becomes_a_folder_that_trains(served: Server, name: str) -> None:
    offer(served, name)
    source = Published(name=name)
    assert f"{SETS[name].images:,} images" in source.coming()
    assert len(source.expected().classes) == SETS[name].classes
    data = Data(source=source)
    assert not served.asked, "nothing is downloaded before"
    samples, parts = arranged(source.samples(), data)
    assert len(samples.classes) >= 2
    assert len(parts.train)
    assert len(parts.valid)
    assert bool(len(parts.test)) == ("test" in SETS[name].sides)
    assert not source.coming()
    with Image.open(samples.paths[0]) as image:
        assert image.size[0] in (28, 32, 40, 96)
    asked = served.asked
    assert source.samples().paths == samples.paths
    assert served.asked == asked, "the second time nothing is asked for"
    assert [each.name for each in published.folder(name).parent.iterdir()] == [name], "and nothing else is left"


@pytest.mark.usefixtures("any_sum")
def test_names_are_the_sets_own(served: Server) -> None:
    offer(served, "aircraft")
    assert Published(name="aircraft").samples().classes == ("A320", "F-A-18")
    offer(served, "flowers102")
    assert Published(name="flowers102").samples().classes == ("hard-leaved pocket orchid", "pink primrose")


@pytest.mark.usefixtures("any_sum")
def test_a_broken_download_goes_on(served: Server) -> None:
    offer(served, "eurosat")
    served.cut = 5000
    with pytest.raises(UserError, match="broke off"):
        Published(name="eurosat").samples()
    [part] = (places.cache_dir() / "sets").rglob("*.part")
    assert part.stat().st_size == 5000
    served.cut = 0
    heard: list[tuple[int, int]] = []
    assert len(Published(name="eurosat").samples(lambda done, total: heard.append((done, total)))) == 6


def test_a_wrong_checksum_is_told_and_thrown_away(served: Server) -> None:
    offer(served, "eurosat")
    for _ in range(2):
        with pytest.raises(UserError, match="not what its makers published"):
            Published(name="eurosat").samples()
    assert served.asked == 2
    assert not [*(places.cache_dir() / "sets").rglob("*.zip")]


def test_without_a_network_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="could not be downloaded"):
        Published(name="dtd").samples()


def test_preflight_says_what_is_to_come_and_downloads_nothing(served: Server) -> None:
    recipe = Recipe().with_value("data.source", {"kind": "published", "name": "dtd"})
    said = [each for each in preflight.findings(recipe) if each.title == "Data"]
    assert "not on this machine yet" in said[0].text
    assert not served.asked
