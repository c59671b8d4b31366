"""Model & layers tells what thawing costs as soon as its layer groups are timed; a real worker does it, unasked."""

from base64 import b64decode
from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from finetune_core.figures.small import WIDTH
from finetune_core.finder import probes
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.jobs import Measure
from finetune_core.training import costs
from finetune_core.training.costs import Part
from tests.pages.conftest import draft, pieces, saved
from tests.pages.test_probing import on, over  # noqa: F401 - a fixture
from tests.pages.test_queueing import at_work  # noqa: F401 - a fixture
from tests.pages.test_running import page, texts

Open = Callable[[str], AppTest]
GROUPS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
FOUND = {
    "parts": {name: Part(still=1, forward=1, own=2, through=1, both=2, kept=100, weights=1) for name in GROUPS},
    "step": 18.0,
    "fed": 0.0,
    "update": 0.0,
    "draw": 0.0,
    "plain": 0.0,
    "least": 900.0,
    "most": 1524.0,
}


def metrics(app: AppTest) -> dict[str, str]:
    return {each.label: each.value for each in app.metric}


def timed() -> list[store.Run]:
    return store.list_runs(probes.runs_dir(), job=Measure.kind)


def test_a_toggle_tells_at_once_what_it_costs(open_page: Open, tiny: Recipe) -> None:
    recipe = saved(tiny.with_value("phases.0.thaw", ["head"]).with_value("phases.0.multipliers", {}))
    costs.keep(recipe, FOUND)
    app = open_page("layers")
    # Three steps of 18 images, and one batch to be measured on, of which what frozen layers give is kept
    assert metrics(app)["An epoch, about"] == "25 s"
    assert metrics(app)["Memory, about"] == "1.0 GB"
    app.toggle(key="thaw:layer4").set_value(True).run()
    assert draft().phases[0].thaw == ("layer4", "head")
    assert metrics(app)["An epoch, about"] == "32 s"
    assert metrics(app)["Memory, about"] == "1.1 GB"
    words = texts(app)
    assert "Estimated from timings" in words
    assert "if thawed: +7.0 s" in words, "layer3 adds two more steps back in each of three, and a look at it"
    saved(draft().with_value("phases.0.views", 2))
    app.run()
    assert "The first epoch on each of 2 views takes 32 s" in texts(app)


def test_without_timings_nothing_is_made_up(open_page: Open, tiny: Recipe) -> None:
    saved(tiny)
    app = open_page("layers")
    assert metrics(app)["An epoch, about"] == metrics(app)["Memory, about"] == "–"
    assert "told once the network is timed" in texts(app)
    costs.keep(tiny, FOUND)
    saved(tiny.with_value("data.source.path", "/nowhere"))
    assert metrics(open_page("layers"))["An epoch, about"] == "–", "there are no images to count"
    saved(tiny.with_value("training.processes", 2))
    app = open_page("layers")
    assert metrics(app)["An epoch, about"] == "–"
    assert "of one process and not of 2" in texts(app)


def test_bars_are_shares_of_all_parameters(open_page: Open, tiny: Recipe) -> None:
    saved(tiny)
    app = open_page("layers")
    urls = [each.proto.imgs[0].url.partition("svg+xml;base64,")[2] for each in app.get("image")]
    bars = [b64decode(each).decode() for each in urls if each]
    lengths = [float(each.rsplit(' width="', 1)[1].split('"')[0]) for each in bars]
    assert len(lengths) == len(GROUPS)
    assert abs(sum(lengths) / (WIDTH - 20) - 1) < 0.03, "together they are the whole track"
    assert "share of all parameters" in texts(app)


def test_the_figures_come_without_a_click_one_worker_after_the_other(on: Recipe) -> None:  # noqa: F811
    app = page("layers")
    (probe,) = store.every_run(probes.runs_dir())
    assert probe.job.kind == "scout"
    over(probe)
    pieces(app)
    app.run()
    (run,) = timed()
    assert run.job == Measure(only_new=True)
    assert over(run).status.state == "finished"
    assert metrics(page("layers"))["An epoch, about"].endswith(" s")
    assert len(timed()) == 1
    assert not store.list_runs(job="measure"), "nobody has asked for it, so it is not among the runs"


def test_nothing_is_timed_beside_a_run(on: Recipe, at_work: object) -> None:  # noqa: F811
    page("layers")
    assert not timed()
