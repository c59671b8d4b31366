"""The strip of phases on the pages: what it is given to draw, and what the draft makes of what it tells."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.recipe import Phase, Recipe
from tests.pages.conftest import component, draft, saved, tell

Open = Callable[[str], AppTest]
PHASES = (Phase(epochs=2, thaw=("head",)), Phase(epochs=5, thaw=("*",)), Phase(epochs=1, thaw=("layer4", "head")))


@pytest.fixture
def three() -> Recipe:
    return saved(Recipe(phases=PHASES))


def strip(app: AppTest) -> dict[str, Any]:
    """What the browser is given to draw."""
    found: dict[str, Any] = json.loads(component(app, "thaw_timeline").json)
    return found


def let_go(app: AppTest, *steps: Any, look: Any = 0, name: Any = "a") -> AppTest:
    """A hand has done these steps."""
    return tell(app, "thaw_timeline", "arranged", {"id": name, "steps": list(steps), "look": look})


def lengths() -> list[tuple[tuple[str, ...], int]]:
    return [(phase.thaw, phase.epochs) for phase in draft().phases]


def errors(app: AppTest) -> str:
    """What the card of an error says."""
    return " ".join(each.value for each in [*app.markdown, *app.text])


def test_blocks_say_what_a_phase_thaws_and_how_long_it_lasts(open_page: Open, three: Recipe) -> None:
    told = strip(open_page("train"))
    assert [(each["words"], each["epochs"]) for each in told["phases"]] == [
        ("head only", 2),
        ("everything", 5),
        ("layer4 + head", 1),
    ]
    assert [sum(map(bool, each["groups"])) for each in told["phases"]] == [1, 6, 2]
    head, everything, two = (each["colour"] for each in told["phases"])
    assert len({head, everything, two}) == 3
    assert everything == "#E8732A", "all thawed is as warm as it gets"
    assert (told["chosen"], told["low"], told["high"]) == (0, 1, 1000)


def test_a_single_phase_is_drawn_on_train_and_can_be_made_longer(open_page: Open) -> None:
    app = open_page("train")
    assert len(strip(app)["phases"]) == 1
    let_go(app, {"end": 0, "epochs": 9})
    assert draft().epochs == 9
    assert app.text_input(key="field:phases.0.epochs").value == "9"


@pytest.mark.parametrize("page", ["layers", "rate", "train"])
def test_a_border_and_the_order_reach_draft_chips_and_fields(open_page: Open, three: Recipe, page: str) -> None:
    app = open_page(page)
    let_go(app, {"end": 0, "epochs": 4})
    assert lengths() == [(("head",), 4), (("*",), 3), (("layer4", "head"), 1)]
    assert [each["epochs"] for each in strip(app)["phases"]] == [4, 3, 1]
    let_go(app, {"move": 2, "to": 0}, look=1, name="b")
    assert lengths() == [(("layer4", "head"), 1), (("head",), 4), (("*",), 3)]
    told = strip(app)
    assert (told["heard"], told["taken"], told["chosen"]) == ("b", True, 1), "the phase looked at has gone along"
    assert draft().replace(phases=PHASES) == three, "nothing else has changed"


def test_the_planned_rates_follow(open_page: Open, three: Recipe) -> None:
    app = open_page("train")
    let_go(app, {"move": 1, "to": 0}, {"end": 0, "epochs": 6})
    figure = json.loads(json.loads(component(app, "thaw_chart").json)["figure"])
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["phase 1", "phase 2", "phase 3"]
    first, second, third = (note["x"] for note in figure["layout"]["annotations"])
    assert first == 0
    assert third * 6 == second * 7, "six epochs, then one"


def test_what_is_told_twice_is_done_once(open_page: Open, three: Recipe) -> None:
    app = open_page("train")
    once = {"id": "same", "steps": [{"move": 0, "to": 1}], "look": 0}
    tell(app, "thaw_timeline", "arranged", once)
    tell(app, "thaw_timeline", "arranged", once)
    assert [thaw for thaw, _ in lengths()] == [("*",), ("head",), ("layer4", "head")]


def test_a_hand_on_phases_that_another_tab_has_changed_does_nothing(open_page: Open, three: Recipe) -> None:
    app = open_page("train")
    other = three.replace(phases=(PHASES[1], PHASES[0]))
    saved(other)
    let_go(app, {"end": 0, "epochs": 4})
    assert draft() == other
    assert "The phases were not changed" in errors(app)
    told = strip(app)
    assert (told["taken"], [each["words"] for each in told["phases"]]) == (False, ["everything", "head only"])
    let_go(app, {"end": 0, "epochs": 4}, name="b")  # now it is meant
    assert lengths() == [(("*",), 4), (("head",), 3)]


def test_what_another_tab_has_changed_elsewhere_stays(open_page: Open, three: Recipe) -> None:
    app = open_page("train")
    saved(three.with_value("training.batch_size", 7))
    let_go(app, {"end": 0, "epochs": 4})
    assert [epochs for _, epochs in lengths()] == [4, 3, 1]
    assert draft().training.batch_size == 7


@pytest.mark.parametrize("step", [{"end": 0, "epochs": 7}, {"move": 0, "to": 3}, {"end": 5, "epochs": 1}, "nonsense"])
def test_what_cannot_be_done_is_said_and_changes_nothing(open_page: Open, three: Recipe, step: Any) -> None:
    app = open_page("train")
    let_go(app, step)
    assert draft() == three
    assert not strip(app)["taken"]
    assert ":red[:material/error:]" in errors(app)


def test_a_wrong_entry_does_not_pass_to_another_phase(open_page: Open) -> None:
    saved(Recipe(phases=(Phase(thaw=("head",)), Phase(thaw=("*",)))))
    app = open_page("train")
    app.text_input(key="field:phases.0.epochs").set_value("many").run()
    assert app.button(key="primary").disabled
    let_go(app, {"move": 0, "to": 1}, look=0)
    assert not app.button(key="primary").disabled
    assert app.text_input(key="field:phases.0.epochs").value == "5"


def test_names_that_match_no_group_are_drawn_without_colours(open_page: Open) -> None:
    saved(Recipe(phases=(Phase(thaw=("nothing_like_it",)), Phase())))
    told = strip(open_page("train"))
    assert told["phases"][0]["words"] == "nothing_like_it"
    assert not any(told["phases"][0]["groups"])
