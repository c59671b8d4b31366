"""Where things lie on disk: the assets that come with Thaw, what it keeps for reuse, and the runs."""

import os
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"


def cache_dir() -> Path:
    """Decoded images, drawn sample data: may be deleted at any time. $THAW_CACHE, else ~/.cache/thaw."""
    return Path(os.environ.get("THAW_CACHE") or Path.home() / ".cache" / "thaw")


def runs_dir() -> Path:
    """The folder of all runs. $THAW_RUNS, else ./runs."""
    return Path(os.environ.get("THAW_RUNS") or "runs").absolute()


def write_whole(path: Path, text: str) -> None:
    """Replace a file as a whole, so that no reader ever sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
