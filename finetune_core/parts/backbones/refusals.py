"""The words for weights files that cannot be used."""

from __future__ import annotations

from pathlib import Path

from finetune_core.errors import UserError
from finetune_core.wording import shown

AGAIN = "Copy or download it again."
ANOTHER = "Choose a weights file made for PyTorch."


def damaged(path: Path, why: str = "It is cut off or damaged.", hint: str = AGAIN) -> UserError:
    """For a file that holds no weights that can be read."""
    return refused(path, "cannot be read.", why, hint)


def refused(path: Path, what: str, why: str, hint: str) -> UserError:
    """For any, by its name."""
    return UserError(f"The weights file {shown(path.name)} {what}", why, hint)
