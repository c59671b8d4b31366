"""The transforms on Augment: added, moved, removed, and never one taken for another."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from finetune_core import recipe as recipes
from finetune_core.parts import Transform
from finetune_core.parts.transforms import PRESETS, HorizontalFlip, Light, RandomResizedCrop, Rotation
from finetune_core.recipe import Recipe
from tests.pages.conftest import draft, saved

Open = Callable[[str], AppTest]
WEAK, STRONG = Light(amount=0.1), Light(amount=0.8)


@pytest.fixture
def opened(open_page: Open, tiny: Recipe) -> Callable[..., AppTest]:
    """Augment with these transforms, which go by the names #0, #1, …"""

    def opened(*transforms: Transform) -> AppTest:
        saved(tiny.replace(augment=transforms))
        return open_page("augment")

    return opened


Opened = Callable[..., AppTest]


def amounts() -> list[float]:
    return [part.amount for part in draft().augment if isinstance(part, Light)]


def click(app: AppTest, *keys: str) -> AppTest:
    """Click these at once: the browser sends what was done in a hurry together."""
    for key in keys:
        app.button(key=key).click()
    app.run()
    assert not app.exception, app.exception[0].value
    return app


def added(app: AppTest, kind: str) -> AppTest:
    app.menu_button(key="add-transform").click(kind).run()
    assert not app.exception, app.exception[0].value
    return app


def view(app: AppTest, kind: str) -> AppTest:
    app.button_group(key="augment-view").set_value(kind).run()
    assert not app.exception, app.exception[0].value
    return app


def test_every_transform_can_be_added_and_twice(opened: Opened) -> None:
    app = opened(HorizontalFlip())
    assert app.menu_button(key="add-transform").options == [part.title for part in Transform.kinds().values()]
    for kind in ("light", "light"):
        added(app, kind)
    assert draft().augment == (HorizontalFlip(), Light(), Light())
    assert "Mirror" in app.toggle(key="on:#0").label
    assert [app.toggle(key=f"on:#{number}").label for number in (1, 2)] == [
        "**Light and colour**",
        "**Light and colour 2**",
    ]


def test_two_of_a_kind_are_never_taken_for_each_other(opened: Opened) -> None:
    app = opened(WEAK, STRONG)
    click(app, "up:#1")
    assert amounts() == [0.8, 0.1]
    assert [app.slider(key=f"slide:field:augment.#{number}.amount").value for number in (0, 1)] == [0.1, 0.8]
    app.slider(key="slide:field:augment.#0.amount").set_value(0.3).run()
    assert amounts() == [0.8, 0.3]
    app.toggle(key="on:#1").set_value(False).run()
    assert [(part.amount, part.active) for part in draft().augment] == [(0.8, False), (0.3, True)]
    click(app, "remove:#1")
    assert amounts() == [0.3]
    app.slider(key="slide:field:augment.#0.amount").set_value(0.2).run()
    assert amounts() == [0.2]


@pytest.mark.parametrize(("press", "left"), [("up:#1", [0.8, 0.4]), ("remove:#0", [0.8]), ("remove:#1", [0.4])])
def test_a_value_that_comes_with_a_move_reaches_its_own_transform(opened: Opened, press: str, left: list) -> None:
    app = opened(WEAK, STRONG)
    app.slider(key="slide:field:augment.#0.amount").set_value(0.4)
    click(app, press)
    assert amounts() == left


def test_what_was_removed_takes_nothing_more(opened: Opened) -> None:
    app = opened(WEAK, STRONG, HorizontalFlip())
    app.toggle(key="on:#0").set_value(False)
    click(app, "up:#1", "remove:#0", "remove:#1")
    assert draft().augment == (HorizontalFlip(),)


def test_another_tabs_swap_is_noticed_before_a_value_is_written(opened: Opened) -> None:
    app = opened(WEAK, STRONG)
    saved(draft().replace(augment=(STRONG, WEAK)))
    app.slider(key="slide:field:augment.#0.amount").set_value(0.4).run()
    assert not app.exception
    assert amounts() == [0.8, 0.1]
    app.slider(key="slide:field:augment.#2.amount").set_value(0.5).run()
    assert amounts() == [0.5, 0.1]


def test_another_tabs_edit_elsewhere_disturbs_nothing(opened: Opened) -> None:
    app = opened(WEAK, STRONG)
    saved(draft().with_value("phases.0.epochs", 7))
    app.slider(key="slide:field:augment.#0.amount").set_value(0.4).run()
    assert amounts() == [0.4, 0.8]


def test_a_crop_is_always_first_and_the_page_says_so(opened: Opened) -> None:
    app = opened(HorizontalFlip(), Rotation(active=False), RandomResizedCrop(), WEAK)
    assert any("always first" in element.value for element in app.markdown)
    on = [toggle.key for toggle in app.toggle if toggle.value and toggle.key.startswith("on:")]
    assert on == ["on:#2", "on:#0", "on:#3"], "as it works"
    assert "up:#2" not in [button.key for button in app.button]
    assert app.button(key="up:#0").disabled
    assert "always first" in app.button(key="up:#0").help
    assert app.button(key="down:#3").disabled
    click(app, "down:#0")
    assert [part.kind for part in draft().augment if part.active] == ["random_resized_crop", "light", "horizontal_flip"]


def test_two_crops_change_places(opened: Opened) -> None:
    app = opened(RandomResizedCrop(min_scale=0.6), HorizontalFlip())
    added(app, "random_resized_crop")
    click(app, "up:#2")
    assert [getattr(part, "min_scale", None) for part in draft().augment] == [0.35, 0.6, None]
    assert app.button(key="up:#1").disabled, "nothing comes before a crop"


@pytest.mark.parametrize("kind", ["together", "single", "ladder"])
def test_every_view_draws_with_none_one_and_two_of_a_kind(opened: Opened, kind: str) -> None:
    app = view(opened(WEAK, STRONG), kind)
    assert app.get("image")
    for name in ("#0", "#1"):
        click(app, f"remove:{name}")
    assert draft().augment == ()
    assert bool(app.get("image")) == (kind == "together")
    added(app, "rotation")
    assert app.get("image")


def test_one_at_a_time_names_each_row_as_text(opened: Opened) -> None:
    app = view(opened(WEAK, Rotation(active=False), STRONG, RandomResizedCrop()), "single")
    rows = [each.proto.imgs[0].alt.partition(":")[0] for each in app.get("image")]
    assert rows == ["Random crop", "Light and colour", "Light and colour 2"]
    captions = [each.value for each in app.caption]
    assert [each for each in captions if each in rows] == rows


def test_the_ladder_follows_its_transform(opened: Opened) -> None:
    app = view(opened(HorizontalFlip(), WEAK, STRONG), "ladder")
    app.selectbox(key="ladder-of").set_value("#2").run()
    click(app, "up:#2")
    assert app.selectbox(key="ladder-of").value == "#2"
    click(app, "remove:#2")
    assert app.selectbox(key="ladder-of").value == "#0"
    app.toggle(key="on:#0").set_value(False).run()
    assert not app.exception
    assert app.selectbox(key="ladder-of").options == ["Light and colour", "Mirror"]


def test_an_earlier_draft_offers_what_came_later(open_page: Open, tmp_path: Path, tiny: Recipe) -> None:
    """Written when there was but one transform; what it lacks is added."""
    file = tmp_path / "runs" / "draft.yaml"
    file.parent.mkdir()
    tiny.replace(augment=(HorizontalFlip(),)).save(file)
    app = added(open_page("augment"), "random_erasing")
    assert [part.kind for part in recipes.load(file).augment] == ["horizontal_flip", "random_erasing"]
    assert [toggle.key for toggle in app.toggle if toggle.key.startswith("on:")] == ["on:#0", "on:#1"]


def test_a_preset_takes_the_place_of_the_stack_before_and_is_lit_while_it_holds(open_page: Open, blooms: None) -> None:
    app = open_page("augment")
    assert app.button_group(key="augment-preset").value == "standard", "the default recipe's"
    app.button_group(key="augment-preset").set_value("documents").run()
    assert not app.exception
    assert draft().augment == PRESETS["documents"].transforms
    assert app.button_group(key="augment-preset").value == "documents"
    titles = [each.label for each in app.toggle]
    assert "**JPEG**" in titles
    assert "**Random crop**" not in titles
    app.slider(key=next(each.key for each in app.slider if each.key.endswith(".degrees"))).set_value(20.0).run()
    assert not app.button_group(key="augment-preset").value
    assert any("A preset replaces it" in each.value for each in app.caption)


def epochs(app: AppTest) -> str:
    return next(each.value for each in app.caption if "what the model gets" in each.value)


def test_the_draw_stays_while_a_knob_is_tuned_unless_it_is_not_pinned(opened: Opened) -> None:
    app = opened(WEAK)
    slider = "slide:field:augment.#0.amount"
    assert "epochs 1 to 5" in epochs(app)
    app.slider(key=slider).set_value(0.3).run()
    assert "epochs 1 to 5" in epochs(app)
    click(app, "redraw")
    assert "epochs 6 to 10" in epochs(app)
    app.toggle(key="augment-pin").set_value(False).run()
    assert "epochs 6 to 10" in epochs(app), "nothing has changed yet"
    app.slider(key=slider).set_value(0.4).run()
    assert "epochs 11 to 15" in epochs(app)
    app.toggle(key="augment-pin").set_value(True).run()
    app.slider(key=slider).set_value(0.5).run()
    assert "epochs 11 to 15" in epochs(app)


def test_the_order_is_said(opened: Opened) -> None:
    said = [each.value for each in opened(WEAK, RandomResizedCrop()).caption]
    assert any("What cuts out the square is always first" in each for each in said)
