"""Fetching published weights: with progress, into a cache, and never waiting long for a network that is not there."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from finetune_core.errors import UserError
from finetune_core.parts.backbones.weight_files import OTHER_WAYS
from finetune_core.records import Report

PATIENCE = 4.0  # seconds until the first answer; a person waits for a card, not for retries
STALL = 20.0  # seconds without a byte in the middle of a download
CHUNK = 1 << 18  # bytes


class NotPublishedError(Exception):
    """The server answers, but has no such file."""


def fetch(url: str, target: Path, report: Report) -> Path:
    """The file behind `url`, downloaded to `target` unless it lies there already.

    Raises UserError within PATIENCE seconds without a network, NotPublishedError where the server has no such file.
    """
    if target.is_file():
        return target
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise _offline(target.name, "The network is switched off by HF_HUB_OFFLINE.")
    report(f"Asking {url.split('/')[2]} for {target.name}")
    answer = _answer(url, target.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=target.parent, suffix=".part")
    try:
        with answer, os.fdopen(handle, "wb") as file:
            _copy(answer, file, target.name, report)
        shutil.move(draft, target)
    except (OSError, HTTPException) as error:
        raise UserError(f"The download of {target.name} broke off.", f"{error}.", f"Try again. {OTHER_WAYS}") from error
    finally:
        Path(draft).unlink(missing_ok=True)
    return target


def _answer(url: str, name: str) -> Any:
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
        raise _offline(name, f"{host} answers {answer.code} {answer.reason}.") from answer
    if isinstance(answer, Exception):
        raise _offline(name, f"{host} cannot be reached ({getattr(answer, 'reason', answer)}).") from answer
    return answer


def _copy(answer: Any, file: Any, name: str, report: Report) -> None:
    total, done, told = int(answer.headers.get("Content-Length") or 0), 0, 0.0
    while chunk := answer.read(CHUNK):
        file.write(chunk)
        done += len(chunk)
        if time.monotonic() - told > 0.2:
            told = time.monotonic()
            report(f"Downloading {name}", done / 1e6, total / 1e6, "MB")
    if total and done != total:
        raise OSError(f"{done} of {total} bytes arrived")


def _offline(name: str, why: str) -> UserError:
    return UserError(f"The published weights {name} could not be downloaded.", why, f"Without a network: {OTHER_WAYS}")
