"""What thawing costs: sums of what each layer group was timed at, kept for this machine, and close to what is true."""

from collections import defaultdict
from dataclasses import replace

import pytest
import torch

from finetune_core.data.loader import count_steps
from finetune_core.network import catalogue
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.jobs import Measure
from finetune_core.runs.work.worker import work
from finetune_core.training import costs, stopwatch, timing
from finetune_core.training.costs import Costs, Part

IMAGES = (60, 20)
BATCH = 6

# A network whose figures can be added up in one's head
SIMPLE = Costs(
    {
        "stem": Part(still=1, forward=2, own=10, through=0, both=10, kept=100, weights=1, row=4),
        "layer1": Part(still=2, forward=3, own=20, through=12, both=30, kept=50, weights=2, row=0.1),
        "head": Part(still=0.5, forward=1, own=3, through=2, both=4, kept=1, weights=1, row=0),
    },
    step=54,
    fed=0,
    update=4,
    draw=0.0,
    plain=0.0,
    least=1000,
    most=1163,
)


def estimated(tiny: Recipe, *thawed: str, found: Costs = SIMPLE, **values: object) -> costs.Estimate:
    recipe = tiny.with_value("training.batch_size", BATCH)
    for path, value in values.items():
        recipe = recipe.with_value(path.replace("__", "."), value)
    return costs.estimate(found, recipe, recipe.phases[0], thawed, IMAGES)


def test_all_thawed_is_a_whole_step_each_and_a_look_at_what_is_measured_on(tiny: Recipe) -> None:
    steps, looks = count_steps(60, BATCH), 20 / BATCH
    found = estimated(tiny, "stem", "layer1", "head")
    assert found.seconds == pytest.approx(steps * 54 + looks * 3.5)
    assert found.memory == pytest.approx(1163)


def test_the_first_thawed_group_decides_how_far_back_it_goes(tiny: Recipe) -> None:
    steps, looks = count_steps(60, BATCH), 20 / BATCH
    head = estimated(tiny, "head")
    assert head.seconds == pytest.approx(steps * (3 + 4 + 4 / 4) + looks * 0.5), "of what is measured on rows are kept"
    between = estimated(tiny, "stem", "head")
    assert between.seconds == pytest.approx(steps * (2 + 10 + 12 + 1 + 4 + 4 * 2 / 4) + looks * 3.5)
    alone = estimated(tiny, "layer1")
    assert alone.seconds == pytest.approx(steps * (1 + 3 + 20 + 2 + 4 * 2 / 4) + looks * (1 + 2 + 0.5)), (
        "what the stem gives is too large to be kept unasked"
    )


def test_a_last_batch_that_is_not_full_takes_its_share(tiny: Recipe) -> None:
    recipe = tiny.with_value("training.batch_size", BATCH)
    found = costs.estimate(SIMPLE, recipe, recipe.phases[0], ["head"], (63, 0))
    assert found.seconds == pytest.approx(10.5 * (3 + 4) + count_steps(63, BATCH) * 4 / 4)


def test_memory_lies_between_what_was_measured_with_nothing_and_with_all_thawed(tiny: Recipe) -> None:
    # Of AdamW a weight, its gradient and two means: 151 MB for the way back and 12 for the weights
    assert estimated(tiny, "head").memory == pytest.approx(1000 + 1 + 3)
    assert estimated(tiny, "layer1", "head").memory == pytest.approx(1000 + 51 + 9)
    assert estimated(tiny, "layer1", "head", training__accumulate=3).memory == pytest.approx(1000 + 17 + 9)


def test_with_views_what_is_frozen_works_once_for_each(tiny: Recipe) -> None:
    found = estimated(tiny, "head", phases__0__views=3, phases__0__epochs=9)
    steps, looks = count_steps(60, BATCH), 20 / BATCH
    assert found.anew == 3
    assert found.first == pytest.approx(steps * 8 + looks * 0.5)
    assert found.seconds == pytest.approx(steps * (4 + 1) + looks * 0.5)
    assert estimated(tiny, "head", phases__0__views=3, phases__0__epochs=8).anew == 2, "four epochs see the same"
    assert estimated(tiny, "layer4", "head", phases__0__views=3, phases__0__epochs=2).anew == 2
    mixed = estimated(tiny, "head", phases__0__views=3, training__mix={"kind": "mixup"})
    assert (mixed.anew, mixed.seconds) == (0, mixed.first)
    assert estimated(tiny, "stem", phases__0__views=3).anew == 0, "nothing comes before the stem"


def test_images_are_drawn_between_steps_or_ahead_of_them(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = replace(SIMPLE, draw=2.0)
    monkeypatch.setattr(costs, "default_workers", lambda: 0)
    base = estimated(tiny, "head").seconds
    assert estimated(tiny, "head", found=slow).seconds == pytest.approx(base + 60 * 2.0)
    monkeypatch.setattr(costs, "default_workers", lambda: 4)
    assert estimated(tiny, "head", found=slow).seconds == pytest.approx(base), (
        "3 s for six images, while a step takes 8"
    )


def test_a_measurement_is_kept_for_all_that_it_depends_on(tiny: Recipe) -> None:
    recipe = tiny.with_value("phases.0.thaw", ["head"])
    run = store.create(timing.to_measure(recipe, recipe.model.backbone), Measure())
    assert work(run) == 0
    found = costs.known(recipe)
    assert found is not None
    assert tuple(found.parts) == catalogue.layer_names(recipe.model)
    assert all(part.forward > 0 and part.both > 0 and part.still > 0 for part in found.parts.values())
    whole = sum(part.forward + (part.both if place else part.own) for place, part in enumerate(found.parts.values()))
    assert whole + found.fed + found.update == pytest.approx(found.step), "together they take as long as a whole step"
    assert found.parts["stem"].through == 0, "there is nothing before it"
    assert found.most >= found.least > 0
    outputs = stopwatch.OUTPUTS
    counts = catalogue.layer_counts(recipe.model, outputs)
    assert {name: part.weights for name, part in found.parts.items()} == pytest.approx(
        {name: 4e-6 * count for name, count in counts.items()}
    )
    assert costs.known(recipe.with_value("phases.0.thaw", ["*"])) == found, "for whatever is thawed"
    for path, value in {"data.image_size": 64, "training.batch_size": 7, "training.precision": "bf16"}.items():
        assert costs.known(recipe.with_value(path, value)) is None, path
    split = recipe.with_value("model.split", ["layer4"]).with_value("phases.0.multipliers", {})
    assert costs.known(split) is None
    drawn = recipe.with_value("augment", [])
    assert costs.missing(drawn) == (False, True), "drawing alone is measured anew"


def test_each_step_of_new_work_is_fed(tiny: Recipe) -> None:
    fed = replace(SIMPLE, fed=0.5)
    steps = count_steps(60, BATCH)
    assert estimated(tiny, "stem", found=fed).seconds == pytest.approx(
        estimated(tiny, "stem").seconds + steps * 0.5 + 20 / BATCH * 0.5
    )
    kept = estimated(tiny, "head", found=fed, phases__0__views=3)
    assert kept.seconds == estimated(tiny, "head", phases__0__views=3).seconds, "rows come as they are"


def test_what_is_new_alone_is_measured(tiny: Recipe) -> None:
    recipe = timing.to_measure(tiny, tiny.model.backbone)
    assert work(store.create(recipe, Measure())) == 0
    before = timing.known(recipe)
    drawn = recipe.with_value("augment", [])
    run = store.create(drawn, Measure(only_new=True))
    assert work(run) == 0
    assert {row["what"] for row in run.records()[0] if row["kind"] == "timing"} == {"draw", "plain"}
    assert costs.known(drawn) is not None
    assert timing.known(recipe) == before


def test_what_cannot_be_read_is_measured_anew(tiny: Recipe) -> None:
    for file, _ in costs._files(tiny):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{", encoding="utf-8")
    assert costs.known(tiny) is None
    assert costs.missing(tiny) == (True, True)
    for file, _ in costs._files(tiny):
        file.write_text('{"draw": 1.0}', encoding="utf-8")
    assert costs.missing(tiny) == (True, True), "what an earlier version kept may lack something"
    costs.keep(tiny, {"draw": 1.0, "plain": 2.0})
    assert costs.missing(tiny) == (True, False)


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_gradients_of_single_groups_go_as_far_as_they_should(tiny: Recipe, architecture: str) -> None:
    recipe = tiny.with_value("model.backbone.architecture", architecture).with_value("phases.0.multipliers", {})
    size = catalogue.entry("timm", architecture).input_size
    bench = stopwatch._Bench(recipe.with_value("data.image_size", size))
    rows = bench.parts()()
    found = defaultdict(dict)
    for row in rows:
        found[row.group][row.what] = row.seconds or row.mb
    assert set(found) == set(bench.names)
    assert all(part["both"] > 0 and part["own"] > 0 and part["forward"] > 0 for part in found.values())
    assert [name for name, part in found.items() if "through" not in part] == [bench.names[0]], "nothing is before it"
    watch = stopwatch._Watch(bench.network, bench.module, bench._now)
    bench._thaw()
    answer = watch.along(bench._images(2))
    ends = answer
    for group in reversed(bench.network.groups):
        weights = [bench.module.get_parameter(name) for name in group.parameters]
        given = torch.autograd.grad(ends.sum(), weights, retain_graph=True, allow_unused=True)
        assert any(each is not None for each in given), group.name
        ends = watch.given[group.name]
