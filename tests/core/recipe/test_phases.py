"""Phases by rule: every preset against its formula, and seed 002's milestones there and back."""

import json

import pytest
import yaml

from finetune_core.errors import UserError
from finetune_core.parts.schedules import Cosine, OneCycle
from finetune_core.recipe import Phase, Recipe, plan
from finetune_core.recipe.milestones import from_milestones, from_text, to_milestones, to_text
from finetune_core.recipe.names import freeze_to
from finetune_core.recipe.rules import (
    PRESETS,
    RATE_RULES,
    apply_rule,
    between,
    current_preset,
    decayed,
    divided,
    head_times,
    reduced,
    with_rates,
)

NAMES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
ALL = Phase(thaw=("*",), learning_rate=1e-2)

SEED = """milestones = {
    1: { 'freeze_to': -1, 'duration': 1, 'pct_start': .3, 'lrs': [.0, .0, .0, .0, .0, 1e-3] },
    2: { 'freeze_to': -2, 'duration': 1, 'pct_start': .3, 'lrs': [.0, .0, .0, .0, 5e-4, 5e-4] },
    3: { 'freeze_to': -3, 'duration': 1, 'pct_start': .3, 'lrs': [.0, .0, .0, 5e-5, 1e-4, 1e-4] },
    4: { 'freeze_to': -4, 'duration': 1, 'pct_start': .3, 'lrs': [.0, .0, 1e-5, 1e-5, 5e-5, 5e-5] },
    5: { 'freeze_to': -5, 'duration': 1, 'pct_start': .3, 'lrs': [.0, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5] },
    6: { 'freeze_to': 0, 'duration': 1, 'pct_start': .3, 'lrs': [1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6] },
}
"""
LRS = [
    [0.0, 0.0, 0.0, 0.0, 0.0, 1e-3],
    [0.0, 0.0, 0.0, 0.0, 5e-4, 5e-4],
    [0.0, 0.0, 0.0, 5e-5, 1e-4, 1e-4],
    [0.0, 0.0, 1e-5, 1e-5, 5e-5, 5e-5],
    [0.0, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5],
    [1e-6] * 6,
]


def peaks(phase: Phase) -> list[float]:
    return list(plan.peak_rates(phase, NAMES).values())


def close(*rates: float) -> object:
    return pytest.approx(rates, rel=1e-12)


# Rates of one phase


@pytest.mark.parametrize(("n", "thawed"), [(-1, NAMES[-1:]), (-2, NAMES[-2:]), (0, NAMES), (2, NAMES[2:]), (-6, NAMES)])
def test_freeze_to_counts_as_fastai_and_seed_002(n: int, thawed: tuple[str, ...]) -> None:
    assert freeze_to(n, NAMES) == thawed


@pytest.mark.parametrize("n", [6, -7, 100])
def test_freeze_to_says_what_fits(n: int) -> None:
    with pytest.raises(UserError, match="from -6 to 5"):
        freeze_to(n, NAMES)


def test_a_slice_is_geometric_over_the_thawed_groups() -> None:
    assert peaks(between(ALL, NAMES, 1e-6, 1e-1)) == close(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    part = ALL.replace(thaw=("layer3", "layer4", "head"))
    assert peaks(between(part, NAMES, 1e-5, 1e-3)) == close(0, 0, 0, 1e-5, 1e-4, 1e-3)
    assert peaks(between(ALL.replace(thaw=("head",)), NAMES, 1e-6, 1e-5)) == close(0, 0, 0, 0, 0, 1e-5)


def test_a_division_per_group_is_layer_decay_by_its_inverse() -> None:
    assert peaks(divided(ALL, NAMES, 10)) == close(1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    assert peaks(decayed(ALL, NAMES, 0.75)) == close(*(1e-2 * 0.75**step for step in (5, 4, 3, 2, 1, 0)))
    assert peaks(divided(ALL, NAMES, 4)) == peaks(decayed(ALL, NAMES, 0.25))


def test_the_head_times_ten_leaves_the_body_at_one_rate() -> None:
    assert peaks(head_times(ALL, NAMES, 10)) == close(*[1e-3] * 5, 1e-2)


def test_after_the_head_alone_the_body_is_cut_by_50_and_the_head_by_2() -> None:
    part = ALL.replace(thaw=("layer4", "head"))
    assert peaks(reduced(part, NAMES, 2e-2, 50, 2)) == close(0, 0, 0, 0, 4e-4, 1e-2)


def test_a_table_by_hand_freezes_what_has_no_rate() -> None:
    made = with_rates(ALL, NAMES, {"layer4": 3e-4, "head": 7e-3, "stem": 0.0})
    assert made.thaw == ("layer4", "head")
    assert made.learning_rate == 7e-3
    assert peaks(made) == close(0, 0, 0, 0, 3e-4, 7e-3)
    with pytest.raises(UserError, match="Nothing would train"):
        with_rates(ALL, NAMES, {"head": 0.0})


@pytest.mark.parametrize("key", RATE_RULES)
def test_every_rule_offers_numbers_that_work_and_refuses_others(key: str) -> None:
    phases = (Phase(), ALL)
    rule = RATE_RULES[key]
    numbers = rule.defaults(phases, 1)
    first, made = apply_rule(phases, 1, NAMES, key, numbers)
    assert first == phases[0]
    assert made.thaw == ("*",)
    assert all(rate > 0 for rate in peaks(made))
    for wrong in ((), [0.0] * len(numbers), [float("nan")] * len(numbers)):
        with pytest.raises(UserError):
            apply_rule(phases, 1, NAMES, key, wrong)


def test_a_rate_out_of_bounds_is_told_in_words() -> None:
    with pytest.raises(UserError, match="do not fit"):
        apply_rule((ALL,), 0, NAMES, "slice", (1e-6, 1e6))


# Whole runs


def test_two_stages_are_the_head_and_then_everything_slower() -> None:
    head, everything = PRESETS["two_stage"].make(Recipe().phases, NAMES)
    assert (head.thaw, head.epochs, head.learning_rate) == (("head",), 2, 3e-3)
    assert (everything.thaw, everything.epochs) == (("*",), 3)
    assert peaks(everything) == close(*(1.5e-3 * 100 ** (-step / 5) for step in (5, 4, 3, 2, 1, 0)))


def test_gradual_unfreezing_thaws_one_group_more_and_falls_as_seed_002() -> None:
    made = PRESETS["gradual"].make((Phase(epochs=8, learning_rate=1e-3),), NAMES)
    thawed = [sum(rate > 0 for rate in peaks(phase)) for phase in made]
    assert thawed == [1, 2, 3, 4, 5, 6]
    assert [phase.epochs for phase in made] == [1, 1, 1, 1, 1, 3]
    assert [phase.learning_rate for phase in made] == close(*(row[-1] for row in LRS))
    for phase in made[1:]:
        newest, *others = [rate for rate in peaks(phase) if rate]
        assert [newest, *others] == close(phase.learning_rate / 2, *[phase.learning_rate] * len(others))


def test_gradual_unfreezing_fits_any_number_of_groups() -> None:
    names = (*(f"blocks.{number}" for number in range(9)), "head")
    made = PRESETS["gradual"].make((Phase(epochs=3),), names)
    assert len(made) == len(names)
    assert made[-1].thaw == ("*",)
    rates = [phase.learning_rate for phase in made]
    assert rates == sorted(rates, reverse=True)
    assert len(PRESETS["gradual"].make((Phase(),), ("head",))) == 1


def test_presets_keep_the_epochs_and_know_themselves() -> None:
    phases = (Phase(epochs=9),)
    for key in ("two_stage", "gradual", "two_stage", "single"):
        phases = PRESETS[key].make(phases, NAMES)
        assert sum(phase.epochs for phase in phases) == 9
        assert current_preset(phases, NAMES) == key
    assert phases == (Phase(epochs=9),)
    changed = PRESETS["two_stage"].make(phases, NAMES)
    assert current_preset((changed[0], changed[1].replace(learning_rate=1e-5)), NAMES) is None


# Milestones


def test_the_seeds_six_milestones_there_and_back() -> None:
    imported = from_text(SEED, NAMES)
    assert [peaks(phase) for phase in imported.phases] == [pytest.approx(row, rel=1e-12) for row in LRS]
    assert [phase.epochs for phase in imported.phases] == [1] * 6
    assert {phase.schedule for phase in imported.phases} == {OneCycle(pct_start=0.3)}
    assert len(imported.notes) == 1
    assert "count epochs from 1" in imported.notes[0]

    exported = to_milestones(imported.phases, NAMES)
    assert [entry["lrs"] for entry in exported.values()] == LRS
    assert [entry["freeze_to"] for entry in exported.values()] == [-1, -2, -3, -4, -5, 0]
    assert list(exported) == [1, 2, 3, 4, 5, 6]
    for text in (to_text(exported), json.dumps(exported), yaml.safe_dump(exported), f"# of seed 002\n{SEED}"):
        assert from_text(text, NAMES) == imported


def test_the_seeds_milestones_train_at_torchs_rates() -> None:
    import torch
    from torch.optim.lr_scheduler import OneCycleLR

    phases = from_text(SEED, NAMES).phases
    rows = plan.plan(Recipe(phases=phases), NAMES, 10)
    for number, lrs in enumerate(LRS):
        optimizer = torch.optim.AdamW([{"params": [torch.zeros(1, requires_grad=True)]} for _ in NAMES])
        scheduler = OneCycleLR(optimizer, lrs, 10, pct_start=0.3)
        for row in rows[10 * number : 10 * number + 10]:
            expected = [group["lr"] for group in optimizer.param_groups]
            assert list(row["lr"].values()) == pytest.approx(expected, rel=1e-12, abs=1e-18)
            optimizer.step()
            scheduler.step()


def test_longer_milestones_and_yaml_numbers() -> None:
    text = """
        0: {freeze_to: -1, duration: 3, lrs: [0, 0, 0, 0, 0, 1e-3]}
        3: {freeze_to: 0, duration: 2, lrs: [1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4]}
    """
    imported = from_text(text, NAMES)
    assert imported.notes == ()
    assert [(phase.epochs, phase.learning_rate) for phase in imported.phases] == [(3, 1e-3), (2, 1e-4)]
    assert list(to_milestones(imported.phases, NAMES)) == [1, 4]


def test_rates_that_contradict_freeze_to_are_told() -> None:
    entry = {"freeze_to": -2, "duration": 1, "lrs": [0, 0, 0, 1e-3, 0, 1e-3]}
    imported = from_milestones({0: entry}, NAMES)
    assert peaks(imported.phases[0]) == close(0, 0, 0, 0, 0, 1e-3)
    assert "gives layer3 a rate but freezes it" in imported.notes[0]
    assert "thaws layer4 at rate 0" in imported.notes[1]


GOOD = {"freeze_to": -1, "duration": 1, "pct_start": 0.3, "lrs": [0, 0, 0, 0, 0, 1e-3]}


@pytest.mark.parametrize(
    ("milestones", "words"),
    [
        ({}, "no milestones"),
        ([GOOD], "no milestones"),
        ({"one": GOOD}, "not an epoch"),
        ({1: 3}, "not a dictionary"),
        ({1: {"freeze_to": -1, "duration": 1}}, "has no lrs"),
        ({1: {**GOOD, "lr": 1}}, "unknown lr"),
        ({1: {**GOOD, "freeze_to": 6}}, "freeze_to 6 does not fit"),
        ({1: {**GOOD, "freeze_to": "all"}}, "whole number"),
        ({1: {**GOOD, "duration": 0}}, "epochs that does not fit"),
        ({1: {**GOOD, "pct_start": 2}}, r"pct_start that does not fit\. 0 to 0\.95\.$"),
        ({1: {**GOOD, "lrs": [1e-3]}}, "has 1 rates"),
        ({1: {**GOOD, "lrs": "fast"}}, "no list of rates"),
        ({1: {**GOOD, "lrs": [0] * 6}}, "Nothing would train"),
        ({1: {**GOOD, "lrs": [0, 0, 0, 0, 0, -1]}}, "number from 0 on"),
        ({1: {**GOOD, "lrs": [0, 0, 0, 0, 0, 10**400]}}, "number from 0 on"),
        ({1: {**GOOD, "lrs": [0, 0, 0, 0, 0, 1e9]}}, "learning_rate that does not fit"),
        ({1: GOOD, 3: GOOD}, "does not meet the next"),
        ({1: {**GOOD, "duration": 4}, 2: GOOD}, "does not meet the next"),
    ],
)
def test_wrong_milestones_are_told_in_words(milestones: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        from_milestones(milestones, NAMES)


@pytest.mark.parametrize("text", ["", "import os", "{1: ", "{1: open('x')}", "[" * 1500, "x" * 200_000, "a: [b"])
def test_text_that_is_no_dictionary_is_told_in_words(text: str) -> None:
    with pytest.raises(UserError):
        from_text(text, NAMES)


@pytest.mark.parametrize("phase", [Phase(schedule=Cosine()), Phase(schedule=OneCycle(div=10)), Phase(thaw=())])
def test_what_a_milestone_cannot_say_is_not_written(phase: Phase) -> None:
    with pytest.raises(UserError, match="Phase 1 cannot be written"):
        to_milestones((phase,), NAMES)
