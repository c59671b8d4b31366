"""The house keeps its plan: rooms, no circles, and rules that no linter knows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_core.parts import FAMILIES

ROOT = Path(__file__).resolve().parent.parent.parent
GROUND = {
    "__init__",
    "__main__",
    "errors",
    "cores",
    "downloads",
    "memory",
    "patterns",
    "wording",
    "interrupting",
    "places",
    "records",
    "findings",
    "machine",
    "access",
}
HEAVY = ("torch", "torchvision", "timm", "plotly", "streamlit")


def modules() -> dict[str, Path]:
    """Every module of the core and the pages by its dotted name; a package stands for its __init__."""
    found = {}
    for path in [*ROOT.glob("finetune_core/**/*.py"), *ROOT.glob("pages/**/*.py")]:
        steps = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(steps[:-1] if steps[-1] == "__init__" else steps)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """What a file imports of this house, anywhere in it: at the top, in a function, or for the type checker alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are written in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES or node.module in MODULES:
                    yield inner if inner in MODULES else node.module


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """The names on some circle of arrows, in order; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return []
        for other in sorted(arrows[name]):
            if found := walk(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next(filter(None, (walk(name, []) for name in sorted(arrows))), [])


def test_nothing_goes_round_in_circles_not_even_for_the_type_checker() -> None:
    arrows = {name: set(imports(path)) - {name} for name, path in MODULES.items()}
    assert sum(map(len, arrows.values())) > 300, "the walk sees the imports"
    assert circle(arrows) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_every_file_of_the_core_stands_in_a_room_but_the_ground() -> None:
    assert {path.stem for path in (ROOT / "finetune_core").glob("*.py")} <= GROUND


def test_every_room_says_what_it_is_for() -> None:
    for folder in (path.parent for path in (ROOT / "finetune_core").rglob("__init__.py")):
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), f"{folder} says nothing"


READ_FIRST = "parts recipe network.catalogue runs.store runs.preflight runs.waiting.dispatcher finder.sweep"


@pytest.mark.parametrize("room", READ_FIRST.split())
def test_what_pages_read_first_needs_nothing_heavy(room: str) -> None:
    code = f"import sys, finetune_core.{room}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""


def holding(word: str) -> set[str]:
    """The modules in whose text a word stands."""
    return {name for name, path in MODULES.items() if word in path.read_text(encoding="utf-8")}


@pytest.mark.parametrize("key", ["single_label", "multi_label", '"regression"'])
def test_the_words_for_a_task_stand_in_one_module(key: str) -> None:
    assert holding(key) == {"finetune_core.parts.tasks"}


def test_pages_ask_a_part_instead_of_sorting_it_by_its_class() -> None:
    kinds = {cls.__name__ for family in FAMILIES.values() for cls in (family, *family.kinds().values())} | {"Files"}
    for name in filter(lambda name: name.startswith("pages"), MODULES):
        for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                named = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
                assert not named & kinds, f"{name}: {ast.unparse(node)}"


def test_pages_leave_for_others_in_one_way() -> None:
    """`shell.go`: Streamlit refuses its own where a widget's value stands in the address, as a run's tab does."""
    for name, path in MODULES.items():
        if name != "pages.ui.kit.shell":
            assert "switch_page" not in path.read_text(encoding="utf-8"), name


def test_nobody_searches_a_message_for_numbers() -> None:
    """How far something is stands in the status as numbers (`done`, `total`); words are for people alone."""
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                assert "message" not in ast.unparse(node), f"{name}: {ast.unparse(node)}"
