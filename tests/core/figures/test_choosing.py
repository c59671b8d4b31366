"""The catalogue as a chart: each point says what a click on it means."""

import time

from finetune_core import figures
from finetune_core.figures.colours import EMBER
from finetune_core.network import catalogue


def spots() -> list[figures.Spot]:
    return [
        figures.Spot(each.architecture, f"{each.library}/{each.architecture}", each.size / 1e6, each.macs)
        for each in catalogue.entries()
        if each.macs
    ]


def test_each_point_means_its_backbone_and_the_chosen_one_stands_out() -> None:
    found = spots()
    trace = figures.choices(found, "Parameters (M)", "MACs (G)", "torchvision/resnet18").data[0]
    place = trace.customdata.index("torchvision/resnet18")
    assert (trace.x[place], trace.y[place]) == (found[place].x, found[place].y)
    assert [at for at, colour in enumerate(trace.marker.color) if colour == EMBER] == [place]
    assert trace.mode == "markers"


def test_few_points_bear_their_names() -> None:
    figure = figures.choices(spots()[:5], "Parameters (M)", "ImageNet (%)", even=True)
    assert list(figure.data[0].text) == [spot.name for spot in spots()[:5]]
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "linear")
    assert "5 backbones" in figures.alt(figure)


def test_a_wide_axis_has_a_tick_for_each_decade_alone() -> None:
    narrow, wide = ([figures.Spot(str(x), str(x), x, 1.0) for x in (1.0, most)] for most in (20.0, 200.0))
    assert [figures.choices(each, "ms", "%").layout.xaxis.dtick for each in (narrow, wide)] == [None, 1]


def test_all_backbones_are_drawn_in_a_moment() -> None:
    found = spots()
    assert len(found) > 1000
    begun = time.process_time()
    figures.choices(found, "Parameters (M)", "MACs (G)").to_json()
    assert time.process_time() - begun < 0.5
