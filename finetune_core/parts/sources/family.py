"""Sources: where images and their labels come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from finetune_core.errors import UnsaidError
from finetune_core.parts.base import Part, knob
from finetune_core.parts.sources import hub_sets, published
from finetune_core.parts.sources.published import SETS
from finetune_core.parts.tasks import ONE_CLASS, TASKS, Kind
from finetune_core.places import is_there
from finetune_core.records import Count

if TYPE_CHECKING:
    from finetune_core.parts.sources.samples import Samples, Trial
    from finetune_core.parts.sources.tables import Listing

USUAL = r"^(.+)_\d+$"  # how images are called that carry their class
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class Source(Part):
    """Where images and their labels come from."""

    picks: ClassVar[Mapping[str, bool]] = {}  # knobs that name columns of a table, and whether one may name several
    own: ClassVar[bool] = False  # whether they are a person's own, and lie at a `path`
    example: ClassVar[str] = ""  # such a path
    making: ClassVar[str] = "Reading the images"  # what is under way where they must first be made
    drawn: ClassVar[bool] = False  # whether Thaw makes them itself

    @property
    def task_kind(self) -> Kind:
        """What the labels are."""
        return ONE_CLASS.key

    def code(self, samples: Samples) -> str:
        """The code that lists these images again: `paths`, `labels` and, where they bring their own split, `aside`."""
        from finetune_core.parts.sources.code import of_folder
        from finetune_core.parts.sources.folders import layout

        return of_folder(samples, layout(samples.root))

    def samples(self, count: Count | None = None) -> Samples:
        """List the images; `count` hears (done, total) where they must first be made. Raises UserErrors."""
        raise NotImplementedError

    def so_far(self) -> list[Path]:
        """The images that are there already, while they are being made."""
        return []

    def expected(self) -> Samples:
        """The same without making any: labels and counts are right, but paths need not lead to files yet."""
        return self.samples()

    def called(self) -> str:
        """What people call the data, in a word or two."""
        return self.title

    def unsaid(self) -> str:
        """What has yet to be said before there can be images, in a sentence; empty where nothing has."""
        return ""

    def missing(self) -> str:
        """The same, or what has to be mended."""
        return self.unsaid()

    def coming(self) -> str:
        """What must be downloaded first, in a sentence; empty where nothing must. Pages ask before they do."""
        return ""

    def trial(self, most: int) -> Trial | None:
        """The rule tried out on what is there, a few rows of it; None where there is no rule. UserErrors."""
        return None


class Blooms(Source):
    """Twelve species of flowers, drawn by Thaw itself: a small data set to try everything on, offline."""

    kind: ClassVar[str] = "blooms"
    title: ClassVar[str] = "Blooms"
    drawn: ClassVar[bool] = True
    making: ClassVar[str] = "Drawing the flowers. About fifteen seconds, once."

    def samples(self, count: Count | None = None) -> Samples:
        """Draw the images on first use, then list them."""
        from finetune_core.blooms import ensure, place
        from finetune_core.parts.sources.folders import list_folder
        from finetune_core.places import writing

        with writing("the sample images"):
            folder = ensure(place(), count)
        return replace(
            list_folder(folder), notes=(), remarks=()
        )  # what Thaw keeps beside its flowers is no news to anyone

    def so_far(self) -> list[Path]:
        """Those that are drawn already."""
        from finetune_core.blooms import place, so_far

        return so_far(place())

    def code(self, samples: Samples) -> str:
        """What is drawn needs no rule for what is left out."""
        from finetune_core.parts.sources.code import of_drawn

        return of_drawn(samples)

    def expected(self) -> Samples:
        """Known before they are drawn, which takes some seconds; the real ones where they are here."""
        from finetune_core.blooms import drawn, place
        from finetune_core.blooms.picture import PER_CLASS
        from finetune_core.blooms.species import SPECIES
        from finetune_core.parts.sources.samples import Samples

        if drawn(place()):
            return self.samples()
        labels = tuple(label for label in range(len(SPECIES)) for _ in range(PER_CLASS))
        paths = tuple(Path(species.name) / f"{number:03d}.jpg" for species in SPECIES for number in range(PER_CLASS))
        return Samples(paths, labels, tuple(species.name for species in SPECIES))


class Files(Source):
    """Images of one's own, which lie somewhere on this machine."""

    own: ClassVar[bool] = True
    path: str = knob("", "Path", "Where they lie on this machine.", path=())

    def called(self) -> str:
        """The folder's or the table's own name."""
        return Path(self.path).name or "no images yet"

    def unsaid(self) -> str:
        """The path."""
        return "" if self.path else "Say where your photos lie."

    def missing(self) -> str:
        """The path, or what should be there."""
        return self.unsaid() or ("" if is_there(self.path) else "What you named is not there.")


class Folder(Files):
    """A folder with one sub-folder of images per class; `train` and `val` folders above them are understood too."""

    kind: ClassVar[str] = "folder"
    title: ClassVar[str] = "Folder"
    example: ClassVar[str] = "~/Pictures/birds"
    path: str = knob("", "Folder", "Where the folder lies on this machine.", path=())
    classes: Literal["auto", "outer", "inner"] = knob(
        "auto",
        "Classes",
        "Which folders are the classes, where all of them hold folders of the same names.",
        more=True,
        words={"auto": "ask", "outer": "the outer folders", "inner": "the folders inside"},
    )

    def samples(self, count: Count | None = None) -> Samples:
        """List the folder; nothing has to be made."""
        from finetune_core.parts.sources.folders import list_folder

        return list_folder(self.path, self.classes)

    def code(self, samples: Samples) -> str:
        """By the same folders."""
        from finetune_core.parts.sources.code import of_folder
        from finetune_core.parts.sources.folders import layout

        return of_folder(samples, layout(samples.root, self.classes))


class Archive(Files):
    """A zip or tar file of such folders; its images are taken out once, into Thaw's cache."""

    kind: ClassVar[str] = "archive"
    title: ClassVar[str] = "Archive"
    example: ClassVar[str] = "~/Downloads/birds.zip"
    making: ClassVar[str] = "Taking the images out of the archive, once"
    path: str = knob("", "Archive", "Where the .zip or .tar file lies on this machine.", path=ARCHIVES)
    classes: Literal["auto", "outer", "inner"] = Folder.model_fields["classes"]  # type: ignore[assignment]

    def samples(self, count: Count | None = None) -> Samples:
        """Take the images out, and list them as a folder."""
        from finetune_core.parts.sources.archives import NAMES, unpacked
        from finetune_core.parts.sources.files import existing_file
        from finetune_core.parts.sources.folders import list_folder

        folder, left = unpacked(existing_file(self.path, "archive", NAMES), count)
        found = list_folder(folder, self.classes)
        remarks = (*left.remarks, *found.remarks)
        return replace(found, notes=(*left.look, *found.notes, *left.remarks), remarks=remarks)

    def code(self, samples: Samples) -> str:
        """By the folders that were taken out."""
        from finetune_core.parts.sources.code import of_folder
        from finetune_core.parts.sources.folders import layout

        return f"# taken out of {self.path!r}\n{of_folder(samples, layout(samples.root, self.classes))}"


class FileNames(Files):
    """A folder of images that carry their class in their name, such as `great_pyrenees_17.jpg`; sub-folders count too.

    Seed 003.
    """

    kind: ClassVar[str] = "file_names"
    title: ClassVar[str] = "File names"
    example: ClassVar[str] = "~/Pictures/pets"
    path: str = knob("", "Folder", "Where the folder lies on this machine.", path=())
    pattern: str = knob(
        USUAL,
        "Pattern",
        "A regular expression for the name without its ending; the part in brackets is the class.",
    )

    def samples(self, count: Count | None = None) -> Samples:
        """List the folder; nothing has to be made."""
        from finetune_core.parts.sources.file_names import list_names

        return list_names(self.path, self.pattern, chosen=self.pattern != USUAL)

    def trial(self, most: int) -> Trial | None:
        """What the pattern finds in names: those that it does not fit first, then some of every class."""
        from finetune_core.parts.sources.file_names import tried

        return tried(self.path, self.pattern, most) if self.path else None

    def code(self, samples: Samples) -> str:
        """By the same pattern."""
        from finetune_core.parts.sources.code import of_names
        from finetune_core.parts.sources.file_names import labelled
        from finetune_core.parts.sources.files import below

        return of_names(samples, self.pattern, labelled(below(samples.root).images, self.pattern).whole)


class Table(Files):
    """A CSV table with a row per image: its path, and a class, tags or numbers to learn."""

    kind: ClassVar[str] = "table"
    title: ClassVar[str] = "Table"
    picks: ClassVar[Mapping[str, bool]] = {"labels": True, "image": False, "split": False}
    example: ClassVar[str] = "~/Pictures/labels.csv"
    path: str = knob(
        "",
        "Table",
        "Where the CSV file lies on this machine; paths of images start from its folder.",
        path=(".csv", ".tsv", ".txt"),
    )
    task: Kind = knob(
        ONE_CLASS.key,
        "What to learn",
        " ".join(task.help for task in TASKS.values()),
        words={task.key: task.title for task in TASKS.values()},
    )
    labels: str = knob(
        "",
        "Label columns",
        "The columns to learn, with commas between; empty takes all but the images'. Tags stand in one column, or in a "
        "column each as 0 and 1.",
    )
    image: str = knob("", "Image column", "Empty takes the one that names most images.", more=True)
    separator: str = knob("", "Tag separator", "What stands between tags in one column; empty looks.", more=True)
    split: str = knob(
        "",
        "Split column",
        "A column that says train or valid. Empty takes one that says nothing else, or splits by chance.",
        more=True,
    )

    @property
    def task_kind(self) -> Kind:
        """As the table says."""
        return self.task

    def listing(self) -> Listing:
        """The table as it is understood. UserErrors name the row or the cause."""
        from finetune_core.parts.sources import tables

        return tables.read(
            self.path, self.task, image=self.image, labels=self.labels, separator=self.separator, split=self.split
        )

    def trial(self, most: int) -> Trial | None:
        """The table's first rows as they are read."""
        from finetune_core.parts.sources import tables

        return tables.tried(self.path, most) if self.path else None

    def samples(self, count: Count | None = None) -> Samples:
        """Read the table; nothing has to be made."""
        from finetune_core.parts.sources import tables

        return tables.samples(self.listing(), self.task)

    def code(self, samples: Samples) -> str:
        """From the same columns."""
        from finetune_core.parts.sources.table_code import of_table

        return of_table(samples, self.listing())


class Published(Source):
    """A set of images that others have published, by torchvision's catalogue: downloaded once, when you say so."""

    kind: ClassVar[str] = "published"
    title: ClassVar[str] = "Published set"
    making: ClassVar[str] = "Downloading and laying out the images, once"
    name: Literal[tuple(SETS)] = knob(  # type: ignore[valid-type]
        "flowers102", "Set", "Which one.", words={name: each.title for name, each in SETS.items()}
    )

    def samples(self, count: Count | None = None) -> Samples:
        """Download the set on first use, then list it as a folder."""
        from finetune_core.parts.sources.folders import list_folder

        found = list_folder(published.fetched(self.name, count or (lambda done, total: None)))
        about = SETS[self.name].line()
        return replace(found, notes=(about, *found.notes), remarks=(about, *found.remarks))

    def expected(self) -> Samples:
        """As many classes and images as there are, under numbers; the real ones where they are here."""
        about = SETS[self.name]
        return _numbered(about.classes, about.images) if self.coming() else self.samples()

    def coming(self) -> str:
        """How much there is to download, and what its makers ask for."""
        return "" if published.folder(self.name).is_dir() else SETS[self.name].line()

    def called(self) -> str:
        """The set's own name."""
        return SETS[self.name].title


class HubSet(Source):
    """A set of images at Hugging Face, by its name there: downloaded once, when you say so."""

    kind: ClassVar[str] = "hub_set"
    title: ClassVar[str] = "Hugging Face set"
    making: ClassVar[str] = "Downloading and laying out the images, once"
    name: str = knob("", "Name", "As on its page, such as uoft-cs/cifar10.")
    image: str = knob("", "Image column", "Empty takes the one that holds images.", more=True)
    label: str = knob("", "Label column", "Empty takes the one that holds classes.", more=True)

    def samples(self, count: Count | None = None) -> Samples:
        """Download the set on first use, then list it as a folder."""
        from finetune_core.parts.sources.folders import list_folder

        if self.unsaid():
            raise UnsaidError("No set is named yet.", hint="Write its name at Hugging Face, such as uoft-cs/cifar10.")
        return list_folder(hub_sets.fetched(self.name, self.image, self.label, count or (lambda done, total: None)))

    def expected(self) -> Samples:
        """A guess, until it is here."""
        return self.samples() if self.name and not self.coming() else _numbered(10, 1000)

    def coming(self) -> str:
        """Whose word on size and licence counts."""
        if not self.name or hub_sets.folder(self.name, self.image, self.label).is_dir():
            return ""
        return f"To be downloaded. Its page, huggingface.co/datasets/{self.name}, says how large it is and its licence."

    def unsaid(self) -> str:
        """The name."""
        return "" if self.name else "Say which set: its name at Hugging Face."

    def called(self) -> str:
        """The set's own name."""
        return self.name.rpartition("/")[2] or "no images yet"


def _numbered(classes: int, images: int) -> Samples:
    """So many images of so many classes under numbers, in place of those that are not here yet."""
    from finetune_core.parts.sources.samples import Samples

    labels = tuple(label for label in range(classes) for _ in range(max(2, images // classes)))
    paths = tuple(Path(str(label)) / f"{number}.jpg" for number, label in enumerate(labels))
    return Samples(paths, labels, tuple(f"class {label + 1}" for label in range(classes)))
