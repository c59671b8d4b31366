"""Shared fixtures: tiny real images, a tiny real recipe, run and cache folders of the test's own."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

# Tiny networks gain nothing from a second thread and lose much where tests share the cores; workers inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image

from finetune_core.blooms import ensure
from finetune_core.places import cache_dir
from finetune_core.recipe import Recipe, parse
from finetune_core.runs import standby
from finetune_core.runs.standby import take as standby_take
from tests.processes import WholeFiles, browser_first

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", default=None, help="folder to write the README's screenshots to")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> WholeFiles:
    return WholeFiles(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=browser_first)


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share; each must leave alone what another may be making."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "together"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _forked() -> Iterator[None]:
    """Workers are forked from one process, as a studio's are, once a test starts any: it saves them their imports."""
    begun: list[threading.Thread] = []

    def take(run: Path, log: Path, variables: Mapping[str, str]) -> int | None:
        if not begun:
            begun.append(standby.keep())
            while not standby._ready and begun[0].is_alive():
                time.sleep(0.05)
        return standby_take(run, log, variables)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standby, "SETTLED", 0.0)
        patch.setattr(standby, "take", take)
        yield
    for idle in standby._ready:
        idle.process.kill()


@pytest.fixture
def blooms(together: Path) -> None:
    """Blooms lies in the test's own cache already: drawn once for all tests that do not draw it themselves."""
    cache_dir().mkdir()
    (cache_dir() / "blooms-v1").symlink_to(ensure(together / "cache" / "blooms-v1"))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a test does may land in the developer's own folders."""
    monkeypatch.delenv("THAW_WORKSPACE", raising=False)
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("THAW_RUNS", str(tmp_path / "runs"))


def paint(folder: Path, per_class: int = 8, classes: int = 3, side: int = 48, seed: int = 0) -> Path:
    """A folder of images whose classes differ by colour, so that even a tiny network can tell them apart."""
    random = np.random.default_rng(seed)
    for label in range(classes):
        (folder / f"class_{label}").mkdir(parents=True)
        for number in range(per_class):
            pixels = random.integers(0, 90, (side, side + 8, 3), dtype=np.uint8)
            pixels[..., label % 3] += 140
            Image.fromarray(pixels).save(folder / f"class_{label}" / f"{number}.png")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """24 images of 3 classes."""
    return paint(tmp_path / "images")


@pytest.fixture
def tiny(images: Path) -> Recipe:
    """Trains in seconds: timm's smallest ResNet, random weights, everything thawed, two epochs."""
    return tiny_recipe(images)


def tiny_recipe(images: Path) -> Recipe:
    return parse(
        {
            "data": {"source": {"kind": "folder", "path": str(images)}, "image_size": 32, "valid_share": 0.25},
            "model": {"backbone": {"kind": "timm", "architecture": "test_resnet", "weights": {"kind": "random"}}},
            "phases": [{"epochs": 2, "thaw": ["*"], "learning_rate": 1e-3, "multipliers": {"stem": 0.1}}],
            "training": {"batch_size": 6, "device": "cpu"},
        }
    )


@pytest.fixture
def sources(images: Path) -> dict[str, dict[str, str]]:
    """A source for every task on the same images: their folder, and a table of tags and of a number."""
    lines = ["file,tags,number"]
    for path in sorted(images.glob("*/*.png")):
        label, number = path.parent.name, int(path.stem)
        place = path.relative_to(images)
        lines.append(f"{place},{label} {'even' if number % 2 == 0 else ''},{number + 10 * int(label[-1])}")
    table = images / "labels.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    tabled = {"kind": "table", "path": str(table)}
    return {
        "single_label": {"kind": "folder", "path": str(images)},
        "multi_label": {**tabled, "task": "multi_label", "labels": "tags"},
        "regression": {**tabled, "task": "regression", "labels": "number"},
    }


@pytest.fixture
def odd_photos(tmp_path: Path) -> list[Path]:
    """Of odd sizes, turned by EXIF, grey, transparent, of a palette."""
    folder, random, files = tmp_path / "odd", np.random.default_rng(0), []
    folder.mkdir()
    for number, mode in enumerate(("RGB", "L", "RGBA", "P", "RGB", "CMYK")):
        size = tuple(random.integers(20, 90, 2).tolist())
        image = Image.fromarray(random.integers(0, 256, (5, 6, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        image = image.convert(mode)
        exif = Image.Exif()
        exif[0x0112] = number + 2
        file = folder / f"{number}.{'jpg' if mode in ('RGB', 'L', 'CMYK') else 'png'}"
        image.save(file, exif=exif)
        files.append(file)
    return files


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights and photos beside the checkout; tests that need it skip where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: real weights and photos are not here")
    return SHARED
