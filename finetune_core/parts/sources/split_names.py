"""How people call what is learned from and what is measured on: names of folders, and words in a table's column."""

from __future__ import annotations

import re

TRAIN = "train"
WORDS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating"), "val"),
    **dict.fromkeys(("dev", "development"), "dev"),
    **dict.fromkeys(("eval", "evaluation", "evaluate", "evaluating", "holdout"), "eval"),
    **dict.fromkeys(("test", "testing"), "test"),
}
YES_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
MEASURED = ("val", "dev", "eval", "test")  # the first of these that is there is measured on
BESIDE = frozenset(
    {
        "set",
        "sets",
        "seg",
        "split",
        "splits",
        "data",
        "dataset",
        "image",
        "images",
        "img",
        "imgs",
        "photo",
        "photos",
        "folder",
        "dir",
    }
)


def part_of(name: str) -> str:
    """What a name says: "train", one of MEASURED, or "" where it says neither.

    Case, digits and words such as `set` or `images` do not matter: Training, train_set, seg_train, val2017, TestData.
    """
    lower = words_of(name) if name.isascii() else []
    if "hold" in lower and "out" in lower:
        return "eval"
    telling = [_bare(word) for word in lower if word not in BESIDE]
    return WORDS.get(telling[0], "") if len(telling) == 1 else ""


def part_in(column: str, cell: str) -> str:
    """The same of a cell in a column; fastai's `is_valid` says it by yes and no."""
    if column.casefold() in ("is_valid", "is_val", "is_test") and cell.casefold() in YES_NO:
        return "val" if YES_NO[cell.casefold()] else TRAIN
    return part_of(cell)


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: `ImageId` and `image_id` have two."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def _bare(word: str) -> str:
    """Without what may be stuck to its end: trainset, testdata."""
    return next((word.removesuffix(end) for end in BESIDE if word.removesuffix(end) in WORDS), word)
