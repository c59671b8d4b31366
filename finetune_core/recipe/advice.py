"""How far to thaw, by two questions: how many images a class, and how like those that the network learned from.

The table is that of the articles (seed 001): what is like the pretraining's is best left as it is, what is few or
unlike asks for the higher layers to be learned anew above lower ones that fit any picture. Pure, without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FEW, MANY = 20, 200  # training images per class

Word = Literal["alike", "between", "unlike", "nothing", ""]
WORDS: dict[Word, str] = {
    "alike": "like what the network learned from",
    "between": "somewhat like what the network learned from",
    "unlike": "unlike what the network learned from",
}


@dataclass(frozen=True)
class Likeness:
    """How like a person's images are to those of the pretraining, and how that is known, in a sentence.

    An empty word where it cannot be told; `nothing` where there was no pretraining that they could be like.
    """

    word: Word = ""
    reason: str = ""


@dataclass(frozen=True)
class Advice:
    """The preset to take (its key; empty where none fits), and why."""

    preset: str
    text: str


HEAD_ALONE = "freezing the whole backbone preserves what it has learned; the new head alone learns."
HEAD_SAFEST = "the new head alone is the safest. More transforms help, too."
HIGHER = "the last stage may adapt, at a tenth of the head's rate, above layers that stay frozen."
ANEW = "the lower layers stay frozen, edges and colours fit any picture; the last stage learns anew what to look for."
ALL_SLOWLY = "everything may thaw, early layers slowest: what they know fits already."
ALL = "everything may thaw and learn what these images need."

TABLE: dict[tuple[str, Word], tuple[str, str]] = {
    ("few", "alike"): ("head_only", HEAD_ALONE),
    ("few", "between"): ("head_only", HEAD_SAFEST),
    ("few", "unlike"): ("last_stage", ANEW),
    ("few", ""): ("head_only", HEAD_SAFEST),
    ("a fair number", "alike"): ("last_stage", HIGHER),
    ("a fair number", "between"): ("last_stage", HIGHER),
    ("a fair number", "unlike"): ("everything", ALL),
    ("a fair number", ""): ("last_stage", HIGHER),
    ("many", "alike"): ("tenfold", ALL_SLOWLY),
    ("many", "between"): ("everything", ALL),
    ("many", "unlike"): ("everything", ALL),
    ("many", ""): ("tenfold", ALL_SLOWLY),
}


def advice(images: float, likeness: Word = "") -> Advice:
    """How far to thaw with so many training images per class, which are so like those of the pretraining."""
    many = "few" if images < FEW else "a fair number" if images < MANY else "many"
    about = f"About {images:.0f} training images per class, {many}"
    if likeness == "nothing":
        return Advice("", f"{about}, for a network that has learned nothing: all of it must learn, at the head's rate.")
    preset, why = TABLE[many, likeness]
    like = f", {WORDS[likeness]}" if likeness else ""
    return Advice(preset, f"{about}{like}: {why}")
