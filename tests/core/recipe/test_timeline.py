"""The phases as a line of time: moving a border, and the order."""

from typing import Any

import pytest

from finetune_core.errors import UserError
from finetune_core.recipe import Phase, Recipe, timeline
from finetune_core.recipe.plan import full_length, plan, starts

NAMES = ("stem", "head")
PHASES = tuple(Phase(epochs=epochs, thaw=thaw) for epochs, thaw in ((2, ("head",)), (5, ("*",)), (1, ("stem",))))


def lengths(phases: tuple[Phase, ...]) -> list[int]:
    return [phase.epochs for phase in phases]


def test_a_border_gives_epochs_from_one_phase_to_the_other() -> None:
    assert lengths(timeline.with_end(PHASES, 0, 4)) == [4, 3, 1]
    assert lengths(timeline.with_end(PHASES, 1, 1)) == [2, 1, 5]
    assert [phase.thaw for phase in timeline.with_end(PHASES, 0, 4)] == [phase.thaw for phase in PHASES]


def test_the_last_end_is_that_of_the_last_phase_alone() -> None:
    assert lengths(timeline.with_end(PHASES, 2, 9)) == [2, 5, 9]
    assert lengths(timeline.with_end(PHASES[:1], 0, 1000)) == [1000]


@pytest.mark.parametrize(
    ("place", "epochs", "says"),
    [
        (0, 0, "Phase 1 cannot last 0 epochs."),
        (0, 7, "Phase 2 cannot last 0 epochs."),
        (2, 1001, "Phase 3 cannot last 1001 epochs. 1 to 1000."),
        (3, 1, "There is no phase 4."),
        (-1, 1, "There is no phase 0."),
    ],
)
def test_no_border_leads_out_of_the_bounds(place: int, epochs: int, says: str) -> None:
    with pytest.raises(UserError) as error:
        timeline.with_end(PHASES, place, epochs)
    assert str(error.value).startswith(says)


def test_two_long_phases_cannot_become_one_of_two_thousand() -> None:
    long = (Phase(epochs=1000), Phase(epochs=1000))
    with pytest.raises(UserError, match="Phase 1 cannot last 1500 epochs"):
        timeline.with_end(long, 0, 1500)
    with pytest.raises(UserError, match="Phase 2 cannot last 1001 epochs"):
        timeline.with_end(long, 0, 999)


def test_a_phase_takes_another_place_with_all_that_it_has() -> None:
    one, two, three = PHASES
    assert timeline.moved(PHASES, 2, 0) == (three, one, two)
    assert timeline.moved(PHASES, 0, 2) == (two, three, one)
    assert timeline.moved(PHASES, 1, 1) == PHASES
    for place, to in ((3, 0), (0, 3), (-1, 0)):
        with pytest.raises(UserError, match="There is no phase"):
            timeline.moved(PHASES, place, to)


def test_steps_are_done_one_after_another() -> None:
    steps = [{"end": 0, "epochs": 6}, {"move": 0, "to": 2}, {"end": 0, "epochs": 1}]
    made = timeline.arranged(PHASES, steps)
    assert [(phase.thaw, phase.epochs) for phase in made] == [(("*",), 1), (("stem",), 1), (("head",), 6)]
    assert timeline.arranged(PHASES, []) == PHASES


@pytest.mark.parametrize("step", [{}, {"end": 0}, {"end": "0", "epochs": 3}, {"move": 0, "to": None}, "end", None, 7])
def test_what_is_no_step_is_refused(step: Any) -> None:
    with pytest.raises(UserError, match="The phases were not changed"):
        timeline.arranged(PHASES, [step])


def test_the_plan_follows() -> None:
    """What is trained after a step is what the plan of rates shows: each phase's own rates, where it now lies."""
    recipe = Recipe(phases=timeline.arranged(PHASES, [{"move": 2, "to": 0}, {"end": 1, "epochs": 3}]))
    assert starts(full_length(recipe), 10) == [0, 10, 40]
    rows = plan(recipe, NAMES, 10)
    thawed = [{name for name, rate in row["lr"].items() if rate > 0} for row in rows]
    assert [thawed[step] for step in (5, 25, 45)] == [{"stem"}, {"head"}, {"stem", "head"}]
    assert len(rows) == 10 * sum(lengths(PHASES))
