"""Sources: where images and their labels come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from finetune_core.parts.base import Part, knob
from finetune_core.parts.tasks import ONE_CLASS, TASKS, Kind
from finetune_core.places import is_there
from finetune_core.records import Count

if TYPE_CHECKING:
    from finetune_core.parts.sources.samples import Samples
    from finetune_core.parts.sources.tables import Listing


class Source(Part):
    """Where images and their labels come from."""

    own: ClassVar[bool] = False  # whether they are a person's own, and lie at a `path`
    example: ClassVar[str] = ""  # such a path

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

    def expected(self) -> Samples:
        """The same without making any: labels and counts are right, but paths need not lead to files yet."""
        return self.samples()

    def called(self) -> str:
        """What people call the data, in a word or two."""
        return self.title

    def missing(self) -> str:
        """What has to be said or mended before there can be images, in a sentence; empty where nothing has."""
        return ""

    def trial(self, most: int) -> dict[str, str]:
        """What the first few files would be labelled, by name, where there is a rule to be tried out."""
        return {}


class Blooms(Source):
    """Twelve species of flowers, drawn by Thaw itself: a small data set to try everything on, offline."""

    kind: ClassVar[str] = "blooms"
    title: ClassVar[str] = "Blooms"

    def samples(self, count: Count | None = None) -> Samples:
        """Draw the images on first use, then list them."""
        from finetune_core.blooms import ensure
        from finetune_core.parts.sources.folders import list_folder
        from finetune_core.places import cache_dir, writing

        with writing("the sample images"):
            folder = ensure(cache_dir() / "blooms-v1", count)
        return replace(
            list_folder(folder), notes=(), remarks=()
        )  # what Thaw keeps beside its flowers is no news to anyone

    def code(self, samples: Samples) -> str:
        """What is drawn needs no rule for what is left out."""
        from finetune_core.parts.sources.code import of_drawn

        return of_drawn(samples)

    def expected(self) -> Samples:
        """Known before they are drawn, which takes some seconds."""
        from finetune_core.blooms.picture import PER_CLASS
        from finetune_core.blooms.species import SPECIES
        from finetune_core.parts.sources.samples import Samples

        labels = tuple(label for label in range(len(SPECIES)) for _ in range(PER_CLASS))
        return Samples((Path(),) * len(labels), labels, tuple(species.name for species in SPECIES))


class Files(Source):
    """Images of one's own, which lie somewhere on this machine."""

    own: ClassVar[bool] = True
    path: str = knob("", "Path", "Where they lie on this machine.")

    def called(self) -> str:
        """The folder's or the table's own name."""
        return Path(self.path).name or "no images yet"

    def missing(self) -> str:
        """The path, or what should be there."""
        if not self.path:
            return "Say where your photos lie."
        return "" if is_there(self.path) else "What you named is not there."


class Folder(Files):
    """A folder with one sub-folder of images per class; `train` and `val` folders above them are understood too."""

    kind: ClassVar[str] = "folder"
    title: ClassVar[str] = "Folder"
    example: ClassVar[str] = "~/Pictures/birds"
    path: str = knob("", "Folder", "Where the folder lies on this machine.")
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


class FileNames(Files):
    """A folder of images that carry their class in their name, such as `great_pyrenees_17.jpg`; sub-folders count too.

    Seed 003.
    """

    kind: ClassVar[str] = "file_names"
    title: ClassVar[str] = "File names"
    example: ClassVar[str] = "~/Pictures/pets"
    path: str = knob("", "Folder", "Where the folder lies on this machine.")
    pattern: str = knob(
        r"^(.+)_\d+$",
        "Pattern",
        "A regular expression for the name without its ending; the part in brackets is the class.",
    )

    def samples(self, count: Count | None = None) -> Samples:
        """List the folder; nothing has to be made."""
        from finetune_core.parts.sources.file_names import list_names

        return list_names(self.path, self.pattern)

    def trial(self, most: int) -> dict[str, str]:
        """What the pattern finds in the first names. UserErrors for a folder or a pattern that cannot be read."""
        from finetune_core.parts.sources.file_names import labelled
        from finetune_core.parts.sources.files import below
        from finetune_core.parts.sources.folders import existing_folder

        if not self.path:
            return {}
        names = below(existing_folder(self.path)).images[:most]
        return dict(zip((path.stem for path in names), labelled(names, self.pattern).labels, strict=True))

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
    example: ClassVar[str] = "~/Pictures/labels.csv"
    path: str = knob("", "Table", "Where the CSV file lies on this machine; paths of images start from its folder.")
    task: Kind = knob(
        ONE_CLASS.key,
        "What to learn",
        " ".join(task.help for task in TASKS.values()),
        words={task.key: task.title for task in TASKS.values()},
    )
    labels: str = knob(
        "",
        "Label columns",
        "Names of the columns to learn, with commas between; empty takes all but the images'. Tags stand in one "
        "column, or in a column each as 0 and 1.",
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

    def samples(self, count: Count | None = None) -> Samples:
        """Read the table; nothing has to be made."""
        from finetune_core.parts.sources import tables

        return tables.samples(self.listing(), self.task)

    def code(self, samples: Samples) -> str:
        """From the same columns."""
        from finetune_core.parts.sources.table_code import of_table

        return of_table(samples, self.listing())
