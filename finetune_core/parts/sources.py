"""Sources: where images and their labels come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from finetune_core.parts.base import Part, knob

if TYPE_CHECKING:
    from finetune_core.data.samples import Samples


class Source(Part):
    """Where images and their labels come from."""

    def samples(self, progress: Callable[[int, int], None] | None = None) -> Samples:
        """List the images; `progress` hears (done, total) where they must first be made. Raises UserErrors."""
        raise NotImplementedError


class Blooms(Source):
    """Twelve species of flowers, drawn by Thaw itself: a small data set to try everything on, offline."""

    kind: ClassVar[str] = "blooms"
    title: ClassVar[str] = "Blooms (sample)"

    def samples(self, progress: Callable[[int, int], None] | None = None) -> Samples:
        """Draw the images on first use, then list them."""
        from finetune_core.blooms import ensure
        from finetune_core.data.cache import writing
        from finetune_core.data.samples import list_folder
        from finetune_core.places import cache_dir

        with writing("the sample images"):
            folder = ensure(cache_dir() / "blooms-v1", progress)
        return list_folder(folder)


class Folder(Source):
    """A folder with one sub-folder of images per class; `train` and `val` folders above them are understood too."""

    kind: ClassVar[str] = "folder"
    title: ClassVar[str] = "A folder of images"
    path: str = knob("", "Folder", "Where the folder lies on this machine.")

    def samples(self, progress: Callable[[int, int], None] | None = None) -> Samples:
        """List the folder; nothing has to be made."""
        from finetune_core.data.samples import list_folder

        return list_folder(self.path)
