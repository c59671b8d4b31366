"""Records and values to plotly figures: pure functions, named after what they show."""

from finetune_core.figures.choosing import Spot, choices
from finetune_core.figures.colours import LINES, group_colours, warmth
from finetune_core.figures.comparing import by_name, compared, compared_losses, guesses
from finetune_core.figures.data import class_balance, spread
from finetune_core.figures.finder import Curve, curve, finder, race
from finetune_core.figures.judging import against, misses, precision_recall, reliability, roc
from finetune_core.figures.mapping import mapped
from finetune_core.figures.scouting import scouted
from finetune_core.figures.series import kept, smoothed
from finetune_core.figures.small import layer_bar, sparkline
from finetune_core.figures.style import alt
from finetune_core.figures.sweeping import swept, trials
from finetune_core.figures.teaching import arms
from finetune_core.figures.training import Axis, by_step, gradient_norms, loss, measured, planned_rates, rates, scored

__all__ = [
    "LINES",
    "Axis",
    "Curve",
    "Spot",
    "against",
    "alt",
    "arms",
    "by_name",
    "by_step",
    "choices",
    "class_balance",
    "compared",
    "compared_losses",
    "curve",
    "finder",
    "gradient_norms",
    "group_colours",
    "guesses",
    "kept",
    "layer_bar",
    "loss",
    "mapped",
    "measured",
    "misses",
    "planned_rates",
    "precision_recall",
    "race",
    "rates",
    "reliability",
    "roc",
    "scored",
    "scouted",
    "smoothed",
    "sparkline",
    "spread",
    "swept",
    "trials",
    "warmth",
]
