"""Changes of a running phase: what people type, what becomes of the phase, what is said of it. Thawing further."""

import json

import pytest

from finetune_core.errors import UserError
from finetune_core.parts import Progress
from finetune_core.parts.schedules import Constant, Cosine
from finetune_core.recipe import Phase, Recipe, plan
from finetune_core.recipe.changes import Change, Made, applied, kept, make, parsed
from finetune_core.recipe.thawing import further, next_groups, next_words, thawed_more

NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
TOP = Phase(thaw=("layer4", "head"), multipliers={"layer4": 0.1}, learning_rate=1e-3, epochs=5)
MIDST = Progress(23, 50, 10)  # two epochs done, in the third


def made(text: str, phase: Phase = TOP, at: Progress = MIDST) -> Made:
    return make(parsed(text), (phase,), 0, NAMES, at, at.step)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("rate x0.5", {"learning_rate": 5e-4}),
        ("Rate × 0,5", {"learning_rate": 5e-4}),
        ("rate /4", {"learning_rate": 2.5e-4}),
        ("rate 2e-4", {"learning_rate": 2e-4}),
        ("rate layer4 x0.5", {"multipliers": {"layer4": 0.05}}),
        ("rate layer* x0.5", {"multipliers": {"layer4": 0.05}}),
        ("rate head x2", {"multipliers": {"layer4": 0.1, "head": 2.0}}),
        ("rate layer4 1e-3", {"multipliers": {"layer4": 1.0}}),
        ("epochs +2", {"epochs": 7}),
        ("epochs -1", {"epochs": 4}),
        ("epochs 10", {"epochs": 10}),
        ("epochs 3", {"epochs": 3}),
        ("epochs 2", {"epochs": 3}),  # the third has begun
        ("thaw layer3", {"thaw": ("layer3", "layer4", "head"), "multipliers": {"layer4": 0.1, "layer3": 0.01}}),
        ("freeze layer4", {"thaw": ("head",)}),
    ],
)
def test_what_people_type_changes_the_phase(text: str, values: dict) -> None:
    assert made(text).values == values


@pytest.mark.parametrize(
    "text",
    ["rate x0.5", "rate layer4 0.0002", "epochs +2", "epochs -2", "epochs 10", "thaw layer3 stem", "freeze head"],
)
def test_a_change_goes_through_files_and_comes_back_as_it_is_typed(text: str) -> None:
    change = parsed(text)
    assert change.asked == text
    assert Change.parsed(json.loads(change.model_dump_json()), "The change") == change
    one = make(change, (TOP,), 0, NAMES, MIDST, 23)
    lines = [json.dumps({"wish": 3, **one.saved()}), '{"wish": 4, "refused": "It is so already."}']
    assert applied((TOP,), kept(map(json.loads, lines))) == applied((TOP,), [one]) != (TOP,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Known are rate, epochs, thaw, freeze"),
        ("colour 3", "no colour to set"),
        ("rate", "says nothing more"),
        ("rate quick", "A number"),
        ("rate x0", "1e-9 to"),
        ("rate x1e9", "1e-9 to 100"),
        ("rate 1.000,5,3", "A number"),
        ("rate layer3 layer4 x2", "One rate at a time"),
        ("rate layer3 x2", "layer3 is frozen"),
        ("rate tail x2", "no layer group called tail. This network has stem, layer1"),
        ("rate x1", "changes nothing"),
        ("epochs 1", "2 are done already"),
        ("epochs -4", "The least is 3"),
        ("epochs 1.5", "Whole numbers only"),
        ("epochs 5", "changes nothing"),
        ("thaw layer9", "no layer group called layer9"),
        ("thaw head", "changes nothing"),
        ("freeze *", "Nothing would train"),
        ("freeze stem", "changes nothing"),
    ],
)
def test_what_cannot_be_done_is_told_in_words(text: str, words: str) -> None:
    with pytest.raises(UserError) as told:
        made(text)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate x0.5", "Rate halved: 0.001 to 0.0005 (all groups)"),
        ("rate x2", "Rate doubled: 0.001 to 0.002 (all groups)"),
        ("rate layer4 x0.3", "Rate × 0.3: 0.0001 to 3e-5 (layer4)"),
        ("rate 1e-4", "Rate set: 0.001 to 0.0001 (all groups)"),
        ("thaw layer3", "Thawed: layer3 at 1e-5"),
        ("freeze layer4", "Frozen: layer4"),
    ],
)
def test_what_was_changed_is_said(text: str, words: str) -> None:
    assert made(text).text == words
    assert make(parsed(text), (TOP, TOP), 1, NAMES, MIDST, 73).text == f"Phase 2: {words}"


def test_more_epochs_say_what_becomes_of_the_rate() -> None:
    cosine, constant = TOP.replace(schedule=Cosine()), TOP.replace(schedule=Constant())
    before, after = (1e-3 * Cosine().multiplier(Progress(23, steps, 10)) for steps in (50, 70))
    said = made("epochs +2", cosine).text
    assert said == (
        f"Epochs changed: 5 to 7. The schedule is stretched: the rate here is {after:.3g} instead of {before:.3g}."
    )
    assert made("epochs +2", constant).text == "Epochs changed: 5 to 7."
    assert made("epochs 3", constant).text == "Epochs changed: 5 to 3. The phase ends with this epoch."


def test_the_plan_takes_each_change_from_its_step_on() -> None:
    recipe = Recipe(phases=(TOP.replace(schedule=Cosine()), TOP.replace(thaw=("*",), epochs=2)))
    changes = [
        Made(step=30, phase=0, values={"epochs": 4, "thaw": ["layer3", "layer4", "head"]}),  # asked later, made later
        Made(step=12, phase=0, values={"learning_rate": 5e-4}),
        Made(step=45, phase=1, values={"learning_rate": 1e-5}),
    ]
    planned = plan.plan(recipe, NAMES, 10, changes=changes)
    assert [row["step"] for row in planned] == list(range(60))
    shape = Cosine().multiplier
    heads = [row["lr"]["head"] for row in planned]
    assert heads[:12] == [1e-3 * shape(Progress(step, 50, 10)) for step in range(12)]
    assert heads[12:30] == [5e-4 * shape(Progress(step, 50, 10)) for step in range(12, 30)]
    assert heads[30:40] == [5e-4 * shape(Progress(step, 40, 10)) for step in range(30, 40)]
    assert [step for step in range(40) if planned[step]["lr"]["layer3"]] == list(range(30, 40))
    later = TOP.replace(learning_rate=1e-5).schedule.multiplier
    assert heads[45:] == [1e-5 * later(Progress(step, 20, 10)) for step in range(5, 20)]
    assert plan.full_length(recipe, changes) == [4, 2]
    assert plan.plan(recipe, NAMES, 10) == plan.plan(recipe, NAMES, 10, changes=[])


def test_what_joins_learns_slower_than_what_is_above_it() -> None:
    joined = further(TOP, NAMES, ["layer3", "stem"])
    rates = plan.peak_rates(joined, NAMES)
    assert rates == pytest.approx(
        {"stem": 1e-6, "layer1": 0, "layer2": 0, "layer3": 1e-5, "layer4": 1e-4, "head": 1e-3}
    )
    own = TOP.replace(multipliers={"layer4": 0.1, "layer3": 0.7})
    assert further(own, NAMES, ["layer3"]).multipliers["layer3"] == 0.7, "its own rate is kept"
    assert further(TOP.replace(thaw=("layer4",)), NAMES, ["head"]).multipliers == TOP.multipliers


@pytest.mark.parametrize(
    ("thaw", "more"),
    [
        (("head",), ("layer4",)),
        (("layer4", "head"), ("layer3",)),
        (("layer2", "head"), ("layer1", "layer3", "layer4")),  # gaps are filled
        (("layer1", "layer2", "layer3", "layer4", "head"), ("stem",)),
        (("*",), ()),
    ],
)
def test_the_next_stage_thaws_what_lies_below(thaw: tuple[str, ...], more: tuple[str, ...]) -> None:
    assert next_groups(TOP.replace(thaw=thaw), NAMES) == more
    many = [f"blocks.{index}" for index in range(12)]
    assert next_groups(TOP.replace(thaw=("head",)), ["stem", *many, "head"]) == tuple(many[-3:])


def test_the_next_stage_goes_on_lower_and_shorter() -> None:
    recipe = Recipe(phases=(TOP, TOP.replace(thaw=("layer3", "layer4", "head"), epochs=3)))
    [stage] = thawed_more(recipe, NAMES).phases
    assert stage.thaw == ("layer2", "layer3", "layer4", "head")
    assert (stage.epochs, stage.learning_rate) == (2, 1e-4)
    rates = list(plan.peak_rates(stage, NAMES).values())
    assert rates[2] == pytest.approx(rates[3] / 10)
    assert "Thaws layer2 too" in next_words(recipe, NAMES)


def test_where_everything_is_thawed_the_next_stage_says_so() -> None:
    recipe = Recipe(phases=(TOP.replace(thaw=("*",)),))
    [stage] = thawed_more(recipe, NAMES).phases
    assert (stage.thaw, stage.learning_rate, stage.multipliers) == (("*",), 1e-4, TOP.multipliers)
    assert "Everything is thawed already" in next_words(recipe, NAMES)
