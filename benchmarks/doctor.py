"""How much of what is planted the data doctor finds, and how much of what it finds was planted.

    python -m benchmarks.doctor [--each 20] [--photos DIR] [--weights FILE]

Into a copy of real photos it plants copies of several kinds, pictures under a second label, bursts and wrong labels,
one kind at a time, and prints recall and precision by kind; first what it says of the photos as they are.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from finetune_core.data import doctor
from finetune_core.data.chosen import chosen
from finetune_core.parts.backbones import Timm
from finetune_core.parts.sources import Folder
from finetune_core.places import ROOT
from finetune_core.recipe import Data, Recipe

SHARED = ROOT.parent / "shared"
SIZE = 160
NOISE = 0.4  # of one class that gets another label
Copy = Callable[[Image.Image, Path], None]


def _exact(image: Image.Image, file: Path) -> None:
    image.save(file.with_suffix(".png"))


def _recompressed(image: Image.Image, file: Path) -> None:
    image.save(file.with_suffix(".jpg"), quality=30)


def _poor(image: Image.Image, file: Path) -> None:
    image.save(file.with_suffix(".jpg"), quality=10)


def _half(image: Image.Image, file: Path) -> None:
    image.resize((image.width // 2, image.height // 2)).save(file.with_suffix(".jpg"), quality=90)


def _larger(image: Image.Image, file: Path) -> None:
    image.resize((image.width * 3 // 2, image.height * 3 // 2)).save(file.with_suffix(".webp"), quality=80)


def _cropped(image: Image.Image, file: Path) -> None:
    edge = image.width // 50, image.height // 50
    image.crop((*edge, image.width - edge[0], image.height - edge[1])).save(file.with_suffix(".jpg"), quality=90)


KINDS: dict[str, Copy] = {
    "exact copy": _exact,
    "recompressed, quality 30": _recompressed,
    "recompressed, quality 10": _poor,
    "half the size": _half,
    "larger, as WebP": _larger,
    "cropped by 2 %": _cropped,
}


def main() -> None:
    """Plant, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=20, help="how many of each kind are planted")
    parser.add_argument("--photos", type=Path, default=SHARED / "data" / "clothing10")
    weights = SHARED / "weights" / "timm_mobilenetv2_100_imagenet1k.safetensors"
    parser.add_argument("--weights", type=Path, default=weights, help="of a mobilenetv2_100, that doubts labels")
    options = parser.parse_args()
    if not options.photos.is_dir():
        print(f"Nothing can be measured: {options.photos} is not there.")
        return
    print(
        f"{options.photos.name} as it is:", *(each.line() for each in doctor.full(_recipe(options.photos))), sep="\n  "
    )
    print(f"\n{'planted':38}{'found':>8}{'of':>5}{'recall':>9}{'precision':>11}")
    for name, copy in KINDS.items():
        for other in (False, True):
            kind = f"{name}, other label" if other else name
            _row(kind, *_copies(options.photos, options.each, copy, other))
    _row("bursts, split by name", *_bursts(options.photos, options.each))
    if options.weights.exists():
        _row(f"wrong labels, {NOISE:.0%} of a class", *_noise(options.photos, options.weights))


def _recipe(photos: Path) -> Recipe:
    return Recipe(data=Data(source=Folder(path=str(photos)), image_size=SIZE))


def _row(kind: str, planted: set[frozenset[str]], found: set[frozenset[str]]) -> None:
    right = len(planted & found)
    precision = right / len(found) if found else 1.0
    print(f"{kind:38}{right:>8}{len(planted):>5}{right / len(planted):>9.1%}{precision:>11.1%}", flush=True)


@contextmanager
def _planted(photos: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="thaw-doctor-") as folder:
        yield Path(shutil.copytree(photos, Path(folder) / photos.name))


def _copies(photos: Path, each: int, copy: Copy, other: bool) -> tuple[set[frozenset[str]], set[frozenset[str]]]:
    """Copies beside their originals or in another class: pairs that were planted, and that are found."""
    random = np.random.default_rng(each)
    planted: set[frozenset[str]] = set()
    with _planted(photos) as root:
        files = sorted(file for file in root.glob("*/*") if file.is_file())
        classes = sorted(file for file in root.iterdir() if file.is_dir())
        for number, index in enumerate(random.choice(len(files), each, replace=False)):
            file = files[index]
            places = [place for place in classes if (place == file.parent) is not other]
            target = places[number % len(places)] / f"planted {number}"
            copy(Image.open(file).convert("RGB"), target)
            made = next(target.parent.glob(f"{target.name}.*"))
            planted.add(frozenset(path.relative_to(root).as_posix() for path in (file, made)))
        samples, _ = chosen(_recipe(root).data)
        groups = doctor.examine(samples, Data(image_size=SIZE).side).copies
        return planted, {frozenset(map(samples.place, group)) for group in groups}


def _bursts(photos: Path, each: int) -> tuple[set[frozenset[str]], set[frozenset[str]]]:
    """Three shots of one thing, each framed a little otherwise, called after it and counted."""
    random = np.random.default_rng(each)
    planted: set[frozenset[str]] = set()
    with _planted(photos) as root:
        files = sorted(file for file in root.glob("*/*") if file.is_file())
        for number, index in enumerate(random.choice(len(files), each, replace=False)):
            image, shots = Image.open(files[index]).convert("RGB"), set()
            for shot in range(3):
                left, top, right, bottom = random.uniform(0.02, 0.12, 4) * (*image.size, *image.size)
                target = files[index].parent / f"thing{number}_{shot}.jpg"
                image.crop((int(left), int(top), image.width - int(right), image.height - int(bottom))).save(target)
                shots.add(target.relative_to(root).as_posix())
            planted.add(frozenset(shots))
        samples, _ = chosen(_recipe(root).data)
        groups = doctor.examine(samples, Data(image_size=SIZE).side).bursts
        return planted, {frozenset(map(samples.place, group)) for group in groups}


def _noise(photos: Path, weights: Path) -> tuple[set[frozenset[str]], set[frozenset[str]]]:
    """Images of one class that lie in others: those that a head on frozen features doubts."""
    from finetune_core.finder.scout import scout

    random = np.random.default_rng(0)
    planted: set[frozenset[str]] = set()
    with _planted(photos) as root:
        first, *others = sorted(file for file in root.iterdir() if file.is_dir())
        files = sorted(first.iterdir())
        for number, index in enumerate(random.choice(len(files), round(NOISE * len(files)), replace=False)):
            target = others[number % len(others)] / f"planted {number}{files[index].suffix}"
            files[index].rename(target)
            planted.add(frozenset([target.relative_to(root).as_posix()]))
        backbone = Timm(architecture="mobilenetv2_100", weights={"kind": "file", "path": str(weights)})
        [found] = scout(_recipe(root), [backbone], 100_000)
        return planted, {frozenset([place]) for place, *_ in found.doubts}


if __name__ == "__main__":
    main()
