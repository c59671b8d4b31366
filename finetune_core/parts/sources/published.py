"""Published sets of images, by torchvision's catalogue: downloaded once, and then a folder as any other.

torchvision knows where each set lies, its checksums and its layout; what is ours is that a broken download goes on,
that one hears how far it is, and that what comes of it is a plain folder: a side of the split, a class, its images.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_core import downloads
from finetune_core.downloads import NotPublishedError
from finetune_core.errors import UserError
from finetune_core.places import cache_dir
from finetune_core.records import Count

if TYPE_CHECKING:
    from PIL.Image import Image

Pairs = Iterable[tuple[Any, int]]  # an image or its file, and its class
_lock = threading.Lock()  # torchvision downloads by a function of its module


def _each(found: Any) -> Pairs:
    """Whatever the set gives: its file, where it lets us say how it is loaded, else the image."""
    return (found[index] for index in range(len(found)))


def _pets(found: Any) -> Pairs:
    return zip(found._images, found._labels, strict=True)


def _signs(found: Any) -> Pairs:
    return found._samples


def _caltech(found: Any) -> Pairs:
    folder = Path(found.root) / "101_ObjectCategories"
    return (
        (folder / found.categories[label] / f"image_{number:04d}.jpg", label)
        for number, label in zip(found.index, found.y, strict=True)
    )


@dataclass(frozen=True)
class PublishedSet:
    """A set: torchvision's class, its arguments for each side, how much there is, and what its makers ask for."""

    title: str
    torchvisions: str
    sides: dict[str, dict[str, Any]]
    classes: int
    images: int
    megabytes: int  # to download
    licence: str
    pairs: Callable[[Any], Pairs] = _each

    def line(self) -> str:
        """What it is, in a sentence."""
        size = f"{self.megabytes / 1000:.1f} GB" if self.megabytes >= 1000 else f"{self.megabytes} MB"
        return f"{self.images:,} images of {self.classes} classes, {size} to download. Licence: {self.licence}."


BOTH = {"train": {"train": True}, "valid": {"train": False}}  # a set of two sides: its test is what one measures on
TWO = {"train": {"split": "train"}, "valid": {"split": "test"}}
THREE = {"train": {"split": "train"}, "valid": {"split": "val"}, "test": {"split": "test"}}
RESEARCH = "for research, not for trade"
SETS = {
    "flowers102": PublishedSet("Flowers102", "Flowers102", THREE, 102, 8189, 345, "not stated"),
    "pets": PublishedSet(
        "Oxford-IIIT Pet",
        "OxfordIIITPet",
        {"train": {"split": "trainval"}, "valid": {"split": "test"}},
        37,
        7349,
        811,
        "CC BY-SA 4.0",
        _pets,
    ),
    "food101": PublishedSet("Food-101", "Food101", TWO, 101, 101000, 4996, RESEARCH),
    "aircraft": PublishedSet("FGVC Aircraft", "FGVCAircraft", THREE, 100, 10000, 2754, RESEARCH),
    "dtd": PublishedSet("Describable Textures", "DTD", THREE, 47, 5640, 625, "for research"),
    "eurosat": PublishedSet("EuroSAT", "EuroSAT", {"": {}}, 10, 27000, 94, "MIT"),
    "imagenette": PublishedSet(
        "Imagenette, 320 px",
        "Imagenette",
        {"train": {"split": "train", "size": "320px"}, "valid": {"split": "val", "size": "320px"}},
        10,
        13394,
        341,
        "Apache 2.0 for the selection; the images are ImageNet's",
    ),
    "caltech101": PublishedSet("Caltech 101", "Caltech101", {"": {}}, 101, 8677, 137, "CC BY 4.0", _caltech),
    "gtsrb": PublishedSet("German traffic signs", "GTSRB", TWO, 43, 39270, 276, "CC0", _signs),
    "cifar10": PublishedSet("CIFAR-10", "CIFAR10", BOTH, 10, 60000, 170, "not stated"),
    "cifar100": PublishedSet("CIFAR-100", "CIFAR100", BOTH, 100, 60000, 169, "not stated"),
    "svhn": PublishedSet("House numbers (SVHN)", "SVHN", TWO, 10, 99289, 246, RESEARCH),
    "stl10": PublishedSet("STL-10", "STL10", TWO, 10, 13000, 2640, "ImageNet's"),
    "mnist": PublishedSet("MNIST", "MNIST", BOTH, 10, 70000, 12, "CC BY-SA 3.0"),
    "fashion_mnist": PublishedSet("Fashion-MNIST", "FashionMNIST", BOTH, 10, 70000, 31, "MIT"),
}


def folder(name: str) -> Path:
    """Where a set lies once it is here."""
    return cache_dir() / "sets" / name


def fetched(name: str, count: Count) -> Path:
    """The folder of a set, downloaded and laid out if need be; `count` hears (done, all) of bytes, then of images.

    UserErrors without a network, where a download is not what was published, or for a full disk.
    """
    about = SETS[name]

    def make(kept: Path, place: Path) -> None:
        with _lock, _downloading(about.title, kept, count):
            _lay_out(about, place / "torchvision", place / downloads.TREE, kept, count)

    said, needed = f"the images of {about.title}", 3_000_000 * about.megabytes
    return downloads.laid_out(folder(name), said, needed, lambda: count(0, 1), make)


def _lay_out(what: PublishedSet, root: Path, tree: Path, kept: Path, count: Count) -> None:
    """Have torchvision unpack a set, and give each image its place."""
    from torchvision import datasets

    made, done = getattr(datasets, what.torchvisions), 0
    by_file = {"loader": _itself} if "loader" in inspect.signature(made.__init__).parameters else {}
    root.mkdir()
    for side, arguments in what.sides.items():
        try:
            found = made(root=str(root), download=True, **arguments, **by_file)
        except RuntimeError as error:
            if "corrupted" not in str(error):
                raise
            shutil.rmtree(kept, ignore_errors=True)
            raise UserError(
                f"The download of {what.title} is not what its makers published.",
                f"{str(error).partition(chr(10))[0].rstrip('.')}. It was thrown away.",
                "Try again; if it stays so, the set has changed at its source.",
            ) from error
        names = _names(found)
        for number, (image, label) in enumerate(what.pairs(found)):
            place = tree / side / (names[label] if names else f"{label:02d}")
            place.mkdir(parents=True, exist_ok=True)
            _put(image, place, number)
            done += 1
            if done % 100 == 0:
                count(min(done, what.images), what.images)


def _put(image: Path | str | Image, place: Path, number: int) -> None:
    """An image, or another name for its file."""
    if isinstance(image, (str, Path)):
        _also(Path(image), place / f"{number:06d}{Path(image).suffix.lower()}")
    else:
        image.save(place / f"{number:06d}.png")


def _also(file: Path, name: Path) -> None:
    """Give a file a second name, or copy it on disks that know no such thing."""
    try:
        name.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, name)


def _itself(path: Any) -> Any:
    return path


def _names(found: Any) -> list[str]:
    """The classes' names as folders can have them."""
    names = getattr(found, "categories", None) or getattr(found, "classes", None) or []
    return [str(each[0] if isinstance(each, tuple) else each).replace("/", "-").strip() for each in names]


@contextmanager
def _downloading(title: str, kept: Path, count: Count) -> Iterator[None]:
    """Let torchvision download by our own hands: with progress, going on where it broke off."""
    from torchvision.datasets import utils

    def retrieve(url: str, filename: str | Path, *_: Any) -> None:
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{Path(filename).name}"
        hint = "choose a folder of your own, or Blooms."
        try:
            file = downloads.fetch(url, kept / name, count, what=f"the images of {title},", hint=hint)
        except NotPublishedError as error:
            why = f"{url} is not there any more."
            raise UserError(f"{title} is no longer published where torchvision looks.", why, f"Else {hint}") from error
        _also(file, Path(filename))

    def as_it_is(url: str, max_hops: int = 3) -> str:
        return url

    before: Any = (utils._urlretrieve, utils._get_redirect_url)
    utils._urlretrieve, utils._get_redirect_url = retrieve, as_it_is
    try:
        yield
    finally:
        utils._urlretrieve, utils._get_redirect_url = before
