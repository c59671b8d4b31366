"""What an experiment has shown: a bar for each arm's mean, a dot for each of its tries."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import plotly.graph_objects as go

from finetune_core.figures.colours import EMBER, GREY, ICE
from finetune_core.figures.style import canvas
from finetune_core.finder.versus import Result, ranked
from finetune_core.parts.tasks import Score
from finetune_core.recipe.arms import OTHERS

ROW, LEAST, SAID = 50, 220, 120  # px of an arm, of the whole, and of what is said of an arm
LETTERS = 16  # of a name in a line: half of a narrow chart
MARGIN = 0.04  # of the range: a dot at its end is still seen whole


def arms(found: Sequence[Result], score: Score, best: Collection[str]) -> go.Figure:
    """The best arm on top, in ember with those that cannot be told from it; those that failed have no bar."""
    order = ranked(found, score)
    figure = canvas(score.title, "", height=max(LEAST, 100 + ROW * len(order)))
    names, said = [each.name for each in order], [each.middle(score) for each in order]
    values = [0.0, *([1.0] if score.share and score.key not in OTHERS else [])]
    values += [value for each in order for value in each.values.values()]
    low, high = min(values), max(values)
    margin = MARGIN * ((high - low) or 1.0)
    figure.add_bar(
        x=[each.mean for each in order],
        y=names,
        orientation="h",
        marker={"color": [EMBER if each.name in best else ICE for each in order], "cornerradius": 4, "opacity": 0.85},
        text=said,
        textposition="none",
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    figure.add_scatter(  # the means in words, beside the plot, where no bar and no dot is
        x=[high + margin] * len(order),
        y=names,
        mode="text",
        text=said,
        textposition="middle right",
        textfont={"size": 15},
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    dots = [(value, each.name) for each in order for value in each.values.values()]
    figure.add_scatter(
        x=[value for value, _ in dots],
        y=[name for _, name in dots],
        mode="markers",
        marker={"size": 9, "color": GREY, "line": {"width": 1, "color": "#FFFFFF"}},
        hovertemplate="a try: %{x}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(tickformat=".0%" if score.share else None, range=[low - margin * (low < 0), high + margin])
    figure.update_xaxes(nticks=4, tickangle=0)  # few and level, where half of a projector's page is all there is
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False, ticksuffix="  ")
    figure.update_layout(showlegend=False, hovermode="closest", bargap=0.35, margin_r=SAID, meta={"letters": LETTERS})
    return figure
