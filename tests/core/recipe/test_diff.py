"""What differs between recipes, in words that stand on the pages."""

from finetune_core.recipe import Recipe
from finetune_core.recipe.diff import in_words


def test_what_differs_is_said_as_pages_call_it() -> None:
    one = Recipe().with_values({"phases.0.multipliers": {"layer3": 0.5}, "training.optimizer": {"kind": "sgd"}})
    other = Recipe().with_values({"phases.0.multipliers": {"layer3": 0.1}, "phases.0.thaw": ["head"]})
    rows = {what: values for what, *values in in_words(one, other)}
    assert rows["Rate per group: layer3"] == ["0.5", "0.1"]
    assert rows["Thawed groups"] == ["layer3 + layer4 + head", "head only"]
    assert rows["Optimizer"] == ["SGD", "AdamW"]
    assert rows["Optimizer: Nesterov"] == ["no", "–"]


def test_a_choice_is_said_as_its_field_says_it() -> None:
    changes = {"phases.0.norm_statistics": "update", "training.loss": {"kind": "triplet", "compare": "features"}}
    triplet = Recipe().with_value("training.loss", {"kind": "triplet"})
    assert in_words(triplet, triplet.with_values(changes)) == [
        ("Norm statistics", "hold", "adapt"),
        ("Loss: Compare", "class scores", "features"),
    ]


def test_a_group_may_have_a_dot_in_its_name() -> None:
    rows = [
        Recipe().with_value("phases", [{"multipliers": {"blocks.6": rate}}, {"thaw": ["*"]}]) for rate in (0.1, 0.2)
    ]
    assert in_words(*rows) == [("Phase 1: Rate per group: blocks.6", "0.1", "0.2")]


def test_of_phases_that_only_one_has_the_other_says_nothing() -> None:
    found = in_words(Recipe(), Recipe().with_value("phases", [{"thaw": ["head"]}, {"thaw": []}]))
    assert ("Phase 2: Thawed groups", "–", "nothing") in found
    assert in_words(Recipe(), Recipe()) == []
