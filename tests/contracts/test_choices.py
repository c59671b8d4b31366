"""A choice is no mistake: whatever is chosen, the checks tell the next step; red is for what was said wrongly."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune_core.errors import UserError
from finetune_core.network import catalogue, refit
from finetune_core.parts import Loss, Part, Section, Source, Weights, changed_kind
from finetune_core.recipe import Recipe, rules
from finetune_core.runs import preflight
from tests.conftest import paint

Choice = tuple[str, Any, Callable[[], Recipe]]
OTHERWISE = {("data.source.classes", "inner")}  # no next step: what lies in the folder says that it cannot be so


@pytest.fixture
def table(images: Path) -> dict[str, Any]:
    """A table with a class, tags and a number for each image."""
    rows = [
        f"{path.relative_to(images).as_posix()},{path.parent.name},{'big red' if number % 2 else 'red'},{number}"
        for number, path in enumerate(sorted(images.rglob("*.png")))
    ]
    (images / "labels.csv").write_text("\n".join(["file,kind,words,age", *rows]), encoding="utf-8")
    return {"kind": "table", "path": str(images / "labels.csv")}


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, Section]]:
    """Every section and part of a recipe, by its dotted path."""
    if isinstance(node, Section):
        yield path, node
        for name in type(node).model_fields:
            yield from nodes(getattr(node, name), f"{path}.{name}".strip("."))
    elif isinstance(node, tuple):
        for number, each in enumerate(node):
            yield from nodes(each, f"{path}.{number}")


def choices(recipe: Recipe, *under: str) -> Iterator[Choice]:
    """What a click can choose in a recipe, as pages do it: another part, another word, another preset."""
    for path, node in nodes(recipe):
        if under and not path.startswith(under):
            continue
        if isinstance(node, Part):
            for kind in {*type(node)._kinds} - {node.kind}:
                yield path, kind, lambda path=path, node=node, kind=kind: chosen(recipe, path, node, kind)
        for knob in node.knobs():
            now = getattr(node, knob.name)
            for value in {"choice": knob.choices, "bool": (True, False)}.get(knob.type, ()):
                place = f"{path}.{knob.name}".strip(".")
                if value != now:
                    yield place, value, lambda place=place, value=value: recipe.with_value(place, value)
    if not under:
        names = catalogue.layer_names(recipe.model)
        for key, preset in rules.PRESETS.items():
            yield "phases", key, lambda preset=preset: recipe.replace(phases=preset.make(recipe.phases, names))


def chosen(recipe: Recipe, path: str, part: Part, kind: str) -> Recipe:
    """The recipe with another part of the same family, as its page chooses it."""
    if path == "model.backbone":  # by its name, in another way
        first = next(each for each in catalogue.entries() if each.library == kind)
        return refit.with_backbone(recipe, refit.best_backbone(first))
    if path == "model.head":
        return refit.with_model(recipe, recipe.model.replace(head=changed_kind(part, kind)))
    return recipe.with_value(path, changed_kind(part, kind))


def mistakes(found: Iterator[Choice]) -> list[str]:
    """What answers a choice in red, or leaves without saying what to do next."""
    wrong = []
    for path, value, make in found:
        if (path, value) in OTHERWISE:
            continue
        for finding in preflight.findings(make()):
            told = finding.mend or (finding.error and (finding.error.hint or finding.error.why))
            if finding.level == "error" or (finding.level == "next" and not told):
                wrong.append(f"{path} = {value}: {finding.line()}")
    return wrong


def test_no_choice_of_a_fresh_recipe_is_a_mistake() -> None:
    found = [*choices(Recipe())]
    assert len(found) > 300, "or nothing was looked at"
    assert not mistakes(iter(found))


@pytest.mark.parametrize("kind", Loss.kinds())
def test_no_choice_of_a_loss_is_a_mistake(kind: str) -> None:
    """Also where it asks for something that has yet to be said."""
    assert not mistakes(choices(Recipe().with_value("training.loss", {"kind": kind}), "training.loss"))


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_no_choice_of_a_table_is_a_mistake(task: str, table: dict[str, Any]) -> None:
    """With its columns not named yet; those named for another task are asked for anew by the page."""
    labels = {"single_label": "kind", "multi_label": "words", "regression": "age"}[task]
    fits = {"single_label": "cross_entropy", "multi_label": "bce", "regression": "smooth_l1"}[task]
    recipe = Recipe().with_value("data.source", {**table, "task": task, "labels": labels})
    recipe = recipe.with_value("training.loss", fits)
    assert not [each for each in preflight.findings(recipe) if each.error], "it can be trained as it is"
    assert not mistakes(choices(recipe, "training"))
    assert not mistakes(choice for choice in choices(recipe, "data") if choice[0] != "data.source.task")
    assert not mistakes(choices(recipe.with_value("data.source.labels", ""), "data"))


def test_no_choice_of_a_folder_is_a_mistake(images: Path) -> None:
    recipe = Recipe().with_value("data.source", {"kind": "folder", "path": str(images)})
    assert not mistakes(choices(recipe, "data"))
    momentum = recipe.with_value("training.optimizer", "sgd").with_value("phases.0.schedule.cycle_momentum", True)
    assert not mistakes(choices(momentum, "training.optimizer"))


@pytest.mark.parametrize("family", [Source, Weights])
def test_what_has_yet_to_be_said_is_the_next_step_of_its_own_chip(family: type[Part]) -> None:
    path, about, title = {
        Source: ("data.source", "data", "Data"),
        Weights: ("model.backbone.weights", "layers", "Weights"),
    }[family]
    asked = 0
    for kind, part in family.kinds().items():
        recipe = Recipe().with_value(path, {"kind": kind})
        if not part().unsaid():  # type: ignore[attr-defined]
            continue
        asked += 1
        (look,) = preflight.glance(recipe).items()
        assert (look[0], look[1].level, look[1].title) == (about, "next", part().unsaid())  # type: ignore[attr-defined]
        (found,) = [each for each in preflight.findings(recipe) if each.title == title]
        assert found.level == "next"
        assert found.error, "a run cannot begin without"
        assert found.error.hint, "the next step"
    assert asked


WRONG = {
    "data": ("data.source", {"kind": "folder", "path": "/nowhere"}),
    "layers": ("model.backbone.weights", {"kind": "file", "path": "/nowhere.pth"}),
    "thawed": ("phases.0.thaw", []),
}


@pytest.mark.parametrize("about", WRONG)
def test_a_chip_tells_of_nothing_but_its_own(about: str) -> None:
    """What was said wrongly is red in the checks, and colours one chip, whatever else is chosen."""
    path, value = WRONG[about]
    recipe = Recipe().with_value(path, value)
    assert [(name, look.level) for name, look in preflight.glance(recipe).items()] == [(about, "warn")]
    assert [each for each in preflight.findings(recipe) if each.level == "error"]


def test_what_goes_along_to_another_part_means_the_same_there(tmp_path: Path) -> None:
    folder = Source.kinds()["folder"](path=str(paint(tmp_path / "pets")))
    assert changed_kind(folder, "file_names") == {"kind": "file_names", "path": folder.path}
    assert changed_kind(folder, "table") == {"kind": "table"}, "a folder is no table"
    for family in (type(part) for _, part in nodes(Recipe()) if isinstance(part, Part)):
        for kind in family._kinds:
            for other in family._kinds.values():
                other._kinds[kind].model_validate(changed_kind(other(), kind))


def test_a_run_that_lacks_something_does_not_begin() -> None:
    with pytest.raises(UserError, match="No folder is chosen yet"):
        Source.kinds()["folder"]().samples()
