"""Variants of a recipe: what can be varied, how values are read, and what is refused in words."""

import pytest

from finetune_core.errors import UserError
from finetune_core.recipe import Phase, Recipe
from finetune_core.recipe.variants import MOST, axis, knobs, variants

NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


def of(recipe: Recipe, *over: str, seeds: int = 1) -> list[Recipe]:
    axes = [axis(recipe, NAMES, *text.split("=")) for text in over]
    return [each.recipe.replace(name=recipe.name) for each in variants(recipe, axes, NAMES, seeds)]


def test_a_number_is_read_as_in_its_field() -> None:
    found = of(Recipe(), "phases.0.learning_rate=0,0001; 3·10⁻⁴ 1e-3")
    assert found == [Recipe().with_value("phases.0.learning_rate", rate) for rate in (1e-4, 3e-4, 1e-3)]
    rate = axis(Recipe(), NAMES, "learning_rate", "1e-3; 1e-4; 1e-3")
    assert (rate.path, rate.title, rate.values, rate.words) == (
        "phases.0.learning_rate",
        "Learning rate",
        (1e-3, 1e-4),
        ("0.001", "0.0001"),
    )
    assert rate.log
    assert rate.number


@pytest.mark.parametrize("path", knobs(Recipe(), NAMES))
def test_everything_that_is_offered_can_be_varied(path: str) -> None:
    found = knobs(Recipe(), NAMES)[path]
    texts = found.choices[:3] if found.choices else tuple(map(str, (found.scale.low, found.scale.high)))
    axes = [axis(Recipe(), NAMES, path, "; ".join(texts))]
    made = variants(Recipe(), axes, NAMES)
    assert len({each.recipe.replace(name="").to_yaml() for each in made}) == len(texts) >= 2
    assert [each.values for each in made] == [(value,) for value in axes[0].values]


@pytest.mark.parametrize("name", ["device", "processes", "save_minutes", "checkpoints"])
def test_what_changes_no_result_is_not_offered(name: str) -> None:
    assert f"training.{name}" not in knobs(Recipe(), NAMES)


def test_a_part_of_another_kind_keeps_what_both_have() -> None:
    recipe = Recipe().with_value("training.optimizer.weight_decay", 0.2)
    adamw, sgd = of(recipe, "optimizer=adamw, sgd")
    assert adamw == recipe
    assert (sgd.training.optimizer.kind, sgd.training.optimizer.weight_decay) == ("sgd", 0.2)


def test_what_thaws_goes_by_preset() -> None:
    head, everything = of(Recipe(), "thaw=head_only; everything")
    assert head.phases[0].thaw == ("head",)
    assert everything.phases[0].thaw == ("*",)
    assert everything.phases[0].multipliers["stem"] == 0.1


def test_two_knobs_and_seeds_multiply() -> None:
    recipe = Recipe(name="mine")
    axes = [axis(recipe, NAMES, "batch_size", "16; 32"), axis(recipe, NAMES, "image_size", "64; 96; 128")]
    made = variants(recipe, axes, NAMES, seeds=2)
    assert len(made) == 12
    assert made[0].recipe.name == "mine: batch size 16, image size 64, seed 0"
    assert [(each.values, each.seed) for each in made[:3]] == [((16, 64), 0), ((16, 64), 1), ((16, 96), 0)]
    last = made[-1].recipe
    assert (last.training.batch_size, last.data.image_size, last.training.seed) == (32, 128, 1)


def test_phases_are_told_apart() -> None:
    recipe = Recipe(phases=(Phase(), Phase(thaw=("*",))))
    assert axis(recipe, NAMES, "phases.1.learning_rate", "1e-3; 1e-4").title == "Phase 2: Learning rate"
    with pytest.raises(UserError, match=r"Several are called so.*phases\.0\.learning_rate, phases\.1\.learning_rate"):
        axis(recipe, NAMES, "learning_rate", "1e-3; 1e-4")


@pytest.mark.parametrize(
    ("over", "seeds", "said"),
    [
        (["batch_size=16; many"], 1, "Batch size cannot be tried at 16; many.*'many'"),
        (["batch_size=16; 0"], 1, "1 to 4096"),
        (["batch_size=16.5; 32"], 1, "Whole numbers only"),
        (["optimizer=adamw, adamx"], 1, "cannot be tried at adamx.*There are: adamw"),
        (["nonsense=1; 2"], 1, "no such number or choice"),
        (["valid_share=0.1; 0.2"], 1, "cannot be varied"),
        (["batch_size=16; 16"], 1, "one value is no comparison"),
        (["batch_size=16; 32"] * 2, 1, "one knob, or two"),
        ([], 1, "one knob, or two"),
        (["seed=1; 2"], 2, "varied already"),
        (["batch_size=" + "; ".join(map(str, range(1, MOST // 3 + 2)))], 3, f"would be {MOST + 3} runs"),
    ],
)
def test_what_does_not_fit_is_said(over: list[str], seeds: int, said: str) -> None:
    with pytest.raises(UserError) as told:
        of(Recipe(), *over, seeds=seeds)
    assert told.match(said)
