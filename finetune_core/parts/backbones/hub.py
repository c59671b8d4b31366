"""Published weights: whether they are on this machine, without torch, and fetching them where they are not.

With progress, into a cache, and never waiting long for a network that is not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from finetune_core import downloads, places
from finetune_core.downloads import NotPublishedError
from finetune_core.errors import UserError
from finetune_core.records import Report

USUAL_FILES = ("model.safetensors", "pytorch_model.bin")  # of a repository at Hugging Face, the better first


@dataclass(frozen=True)
class Published:
    """A set of weights and where it is published: an address, or a repository at Hugging Face.

    Written as one text: `https://…/resnet18-f37072fd.pth`, `timm/resnet18.a1_in1k` or `timm/name:file.bin`.
    """

    source: str

    @property
    def name(self) -> str:
        """What people see of it."""
        return self.source.partition(":")[0] if self._at_the_hub else self.source.rpartition("/")[2]

    @property
    def _at_the_hub(self) -> bool:
        return "://" not in self.source

    def here(self) -> Path | None:
        """The file where it is on this machine already: in torch's cache, in Hugging Face's, or in ours."""
        if not self._at_the_hub:
            return next((target for _, target in self._targets() if _is_file(target)), None)
        from huggingface_hub import try_to_load_from_cache

        repository, files = self._repository()
        for file, (_, target) in zip(files, self._targets(), strict=True):
            cached = try_to_load_from_cache(repository, file)
            if isinstance(cached, str):
                return Path(cached)
            if _is_file(target):
                return target
        return None

    def fetched(self, report: Report, hint: str) -> Path:
        """The file, downloaded if need be; UserError with this hint where it is not to be had."""
        if found := self.here():
            return found
        for url, target in self._targets():
            try:
                return fetch(url, target, report, hint)
            except NotPublishedError:
                continue
        raise UserError(f"The weights {self.name} are no longer published.", "The server has no such file.", hint)

    def _targets(self) -> Iterator[tuple[str, Path]]:
        """Each address that may have it, and where a download from there goes."""
        if not self._at_the_hub:
            yield self.source, torch_checkpoints() / self.name
            return
        host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        repository, files = self._repository()
        for file in files:
            # named in full, so that another default tag in a later timm is another file
            own = places.cache_dir() / "weights" / f"{Path(repository).name}{Path(file).suffix}"
            yield f"{host}/{repository}/resolve/main/{file}", own

    def _repository(self) -> tuple[str, tuple[str, ...]]:
        repository, _, file = self.source.partition(":")
        return repository, (file,) if file else USUAL_FILES


def torch_checkpoints() -> Path:
    """Where torch keeps what it has downloaded; as torch.hub.get_dir, without torch."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    home = os.path.expanduser(os.environ.get("TORCH_HOME", cache))  # noqa: PTH111 - as torch: no error without a user
    return Path(home) / "hub" / "checkpoints"


def _is_file(path: Path) -> bool:
    """Also in folders that may not be read, where `Path.is_file` raises."""
    return places.is_there(str(path), file=True)


def fetch(url: str, target: Path, report: Report, hint: str = "") -> Path:
    """The weights behind `url`, downloaded to `target` unless they lie there already. Raises as `downloads.fetch`."""
    if not _is_file(target):
        report(f"Asking {url.split('/')[2]} for {target.name}")

    def hear(done: int, total: int) -> None:
        report(f"Downloading {target.name}", done / 1e6, total / 1e6, "MB")

    return downloads.fetch(url, target, hear, what="the published weights", place=_place(target), hint=hint)


def _place(target: Path) -> places.Place:
    """Where it is written, and what moves it elsewhere: our own variable, or torch's."""
    return places.Place(target.parent, "THAW_CACHE" if places.cache_dir() in target.parents else "TORCH_HOME")
