"""Published weights: whether they are on this machine, without torch, and fetching them where they are not.

With progress, into a cache, and never waiting long for a network that is not there.
"""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.records import Report

PATIENCE = 4.0  # seconds until the first answer; a person waits for a card, not for retries
STALL = 20.0  # seconds without a byte in the middle of a download
CHUNK = 1 << 18  # bytes


USUAL_FILES = ("model.safetensors", "pytorch_model.bin")  # of a repository at Hugging Face, the better first


class NotPublishedError(Exception):
    """The server answers, but has no such file."""


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
    """The file behind `url`, downloaded to `target` unless it lies there already.

    Raises UserError within PATIENCE seconds without a network, NotPublishedError where the server has no such file.
    `hint` says what else there is.
    """
    if _is_file(target):
        return target
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise _offline(target.name, "The network is switched off by HF_HUB_OFFLINE.", hint)
    report(f"Asking {url.split('/')[2]} for {target.name}")
    try:
        with (
            _answer(url, target.name, hint) as answer,
            places.writing(f"the weights {target.name}", place=_place(target)),
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            places.replace_file(target, lambda draft: _copy(answer, draft, target.name, report))
    except (OSError, HTTPException) as error:
        what = f"The download of {target.name} broke off."
        raise UserError(what, f"{error}.", f"Try again. {hint}".strip()) from error
    return target


def _place(target: Path) -> places.Place:
    """Where it is written, and what moves it elsewhere: our own variable, or torch's."""
    return places.Place(target.parent, "THAW_CACHE" if places.cache_dir() in target.parents else "TORCH_HOME")


def _answer(url: str, name: str, hint: str) -> Any:
    """An open response. In a thread, because looking up a host name obeys no timeout."""
    outcome: list[Any] = []

    def ask() -> None:
        try:
            outcome.append(urllib.request.urlopen(url, timeout=STALL))
        except (OSError, HTTPException) as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    answer = outcome[0] if outcome else TimeoutError(f"no answer within {PATIENCE:.0f} seconds")
    host = url.split("/")[2]
    if isinstance(answer, urllib.error.HTTPError):
        if answer.code in (401, 403, 404, 410):  # the hub answers 401 for repositories that do not exist
            raise NotPublishedError(f"{url}: {answer.code}") from answer
        raise _offline(name, f"{host} answers {answer.code} {answer.reason}.", hint) from answer
    if isinstance(answer, Exception):
        raise _offline(name, f"{host} cannot be reached ({getattr(answer, 'reason', answer)}).", hint) from answer
    return answer


def _copy(answer: Any, draft: Path, name: str, report: Report) -> None:
    total, done, told = int(answer.headers.get("Content-Length") or 0), 0, 0.0
    with draft.open("wb") as file:
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            done += len(chunk)
            if time.monotonic() - told > 0.2:
                told = time.monotonic()
                report(f"Downloading {name}", done / 1e6, total / 1e6, "MB")
    if total and done != total:
        raise OSError(f"{done} of {total} bytes arrived")


def _offline(name: str, why: str, hint: str) -> UserError:
    return UserError(f"The published weights {name} could not be downloaded.", why, f"Without a network: {hint}")
