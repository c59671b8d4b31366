"""What to do about a transform, by what the lab has found: a word, a reason, a click. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finetune_core.errors import Mend
from finetune_core.parts import Transform
from finetune_core.parts.numbers import written
from finetune_core.recipe import Recipe
from finetune_core.records import Strained

MUCH = 0.05  # of the images, told wrong after it, beyond which a transform costs more than it teaches
DESTROYED = 0.3
LITTLE = 0.2  # of the way to another image of the class: what moves less teaches next to nothing

Word = Literal["keep", "lower", "remove", "raise"]


@dataclass(frozen=True)
class Verdict:
    """A word, why, and the change of the recipe that it means, if any."""

    word: Word
    text: str
    mend: Mend | None = None


def rows(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What was found of each transform, among a run's records."""
    return [row for row in records if row["kind"] == Strained.kind]


def verdict(row: Mapping[str, Any], recipe: Recipe) -> Verdict:
    """What to do about it."""
    drop, sure = row["drop"], row["drop"] > row["margin"]
    part = recipe.augment[row["place"]] if 0 <= row["place"] < len(recipe.augment) else None
    words = _words(row)
    if drop > MUCH and sure:
        text = f"{'Far too much' if drop > DESTROYED else 'Too much'}: {words}"
        if part is None:  # all of them: what is said of each above lowers them, too
            return Verdict("lower", text)
        off = Mend("Switch it off", f"augment.{row['place']}.active", False)
        return _gentler(row, part, text) or Verdict("remove", text, off)
    if row["shift"] < LITTLE and part is not None and (more := _stronger(row, part)):
        return Verdict("raise", f"It changes next to nothing of what the backbone sees: {words}", more)
    return Verdict("keep", words[0].upper() + words[1:])


def _words(row: Mapping[str, Any]) -> str:
    """The figures in a sentence."""
    drop, margin, shift = row["drop"], row["margin"], row["shift"]
    lost = f"{drop:.0%} (± {margin:.0%}) more are told wrong" if drop > 0 else "no more are told wrong than before"
    moved = "; ".join(f"{share:.0%} of {one} become {other}" for one, other, share in row["moved"])
    far = f"features move {shift:.0%} as far as to another image of the class"
    return f"of {row['images']} images {lost}, and {far}{'.' if not moved else f': {moved}.'}"


def _gentler(row: Mapping[str, Any], part: Transform, text: str) -> Verdict | None:
    """Half as strong, where a number says how strong it is; what happens or does not has no half."""
    if part.strength in ("", "chance"):
        return None
    least, _ = part.ends()
    now = float(getattr(part, part.strength))
    value = _fitting(part, (now + least) / 2)
    if value == getattr(part, part.strength):
        return None
    return Verdict(
        "lower", text, Mend(f"Lower to {written(value, 3)}", f"augment.{row['place']}.{part.strength}", value)
    )


def _stronger(row: Mapping[str, Any], part: Transform) -> Mend | None:
    if part.strength in ("", "chance"):
        return None
    least, most = part.ends()
    now = float(getattr(part, part.strength))
    twice = least + 2 * (now - least)
    value = _fitting(part, min(twice, most) if most > least else max(twice, most))
    if value == getattr(part, part.strength):
        return None
    return Mend(f"Raise to {written(value, 3)}", f"augment.{row['place']}.{part.strength}", value)


def _fitting(part: Transform, value: float) -> float | int:
    whole = type(part).model_fields[part.strength].annotation is int
    return round(value) if whole else float(f"{value:.3g}")


def line(row: Mapping[str, Any], recipe: Recipe) -> str:
    """A transform in a line for terminals."""
    said = verdict(row, recipe)
    return f"{row['title']:<24}{said.word:<8}{said.text}"
