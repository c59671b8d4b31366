"""Models of runs, ready for pictures: loaded once for all sessions, and anew where they answer otherwise by now."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from finetune_core.export.checked import weights_of
from finetune_core.runs.store import Run
from pages.ui.kit import warm

MOST = 2  # models in memory, those asked for last
_lock = threading.Lock()


def best(run: Run) -> Any:
    """The predictor of a run's best epoch so far. A UserError before its first epoch has ended."""
    warm.join()
    with _lock:  # two who ask at the same time shall not load it twice
        return _best(run.path, weights_of(run))


@lru_cache(maxsize=MOST)
def _best(path: Path, which: str) -> Any:
    from finetune_core.understand import predict

    return predict.load(Run(path))
