"""Sources: where images and their labels come from."""

from typing import ClassVar

from finetune_core.parts.base import Part, knob


class Source(Part):
    """Where images and their labels come from."""


class Blooms(Source):
    """Twelve species of flowers, drawn by Thaw itself: a small data set to try everything on, offline."""

    kind: ClassVar[str] = "blooms"
    title: ClassVar[str] = "Blooms (sample)"


class Folder(Source):
    """A folder with one sub-folder of images per class; `train` and `val` folders above them are understood too."""

    kind: ClassVar[str] = "folder"
    title: ClassVar[str] = "A folder of images"
    path: str = knob("", "Folder", "Where the folder lies on this machine.")
