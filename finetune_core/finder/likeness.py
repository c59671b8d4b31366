"""Are the images like those that a backbone learned from? Judged by what a probe of it has found. Without torch.

What the later layers look for was made for the pretraining's images. Where a linear head on the last features tells
more of the images right than one on the features half-way, it is of use here, too: they are alike in what counts. Where
it does not, the later layers have thrown away what these images are told apart by (docs/decisions/0032-likeness.md).
"""

from __future__ import annotations

import math

from finetune_core.parts.backbones import Backbone
from finetune_core.recipe.advice import Likeness, Word
from finetune_core.records import Probed

LEAD = 0.05  # of the images, that the last features must tell right beyond those half-way
WIDE = 0.1  # a margin beyond which a small lead says nothing
FULL = 0.95  # of the images, told right half-way already: there is no room for a lead


def judged(backbone: Backbone, found: Probed | None) -> Likeness:
    """How like they are, by a probe of this backbone on them, if there is one."""
    if not backbone.weights.trained:
        return Likeness("nothing", "Random weights: there is nothing that your images could be like.")
    if found is None or math.isnan(found.halfway):
        return Likeness()
    word, why = _judged(found)
    return Likeness(word, f"{_figures(found)}{why}")


def _judged(found: Probed) -> tuple[Word, str]:
    lead, margin = found.score - found.halfway, found.lead_margin
    if max(found.score, found.halfway) - found.margin <= found.chance:
        return "", f", and always saying the commonest class {found.chance:.0%}: too little to tell by."
    if lead >= LEAD and lead > margin:
        return "alike", ": what the later layers look for is of use for your images."
    if found.halfway >= FULL and lead >= -margin:
        return "", ": nearly all at either place, so that it cannot be told what the later layers are worth."
    if lead + margin < LEAD:
        return "unlike", ": what the later layers look for is of no use for your images."
    if margin > WIDE:
        return "", ": too few images to tell by."
    return "between", ": what the later layers look for is of some use at most."


def _figures(found: Probed) -> str:
    return (
        f"A linear head on the last features tells {found.score:.0%} of {found.images} images right, one on those "
        f"half-way (after {found.stage}) {found.halfway:.0%} (± {found.lead_margin:.0%} between them)"
    )
