"""What the documents say of the code is so: names and files that they mention are there, and examples work."""

import importlib
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from finetune_core.cli import main
from finetune_core.parts import Job
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from tests.contracts import test_parts

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
OF_TODAY = (ARCHITECTURE, ROOT / "CONTRIBUTING.md", ROOT / "docs" / "what-failed.md")
FOLDERS = ("finetune_core", "pages", "tests", "docs", "benchmarks", ".streamlit")
OURS = [*ROOT.glob("*.*"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file())]
CODE = [path for path in OURS if path.suffix in (".py", ".js", ".toml") and path != Path(__file__)]
WORDS = {path: set(re.findall(r"\w+", path.read_text())) for path in CODE}
CLASSES = {path: set(re.findall(r"^class (\w+)", path.read_text(), re.M)) for path in CODE}
OUTSIDE = {"st.data_editor", "git", "log", "make", "num_batches_tracked", "shared"}  # no names of ours


def mentioned(path: Path) -> set[str]:
    """What stands in backticks, without what is only shown as a block."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", text))


def lacking(name: str) -> bool:
    """Whether a dotted name is nowhere; what follows a module or class has to be a module or stand where that does."""
    if any(path.as_posix().endswith(f"/{name.replace('.', '/')}.py") for path in CODE):
        return False
    *owners, last = name.split(".")
    owner = owners[-1] if owners else "nobody"
    own = [WORDS[path] for path in CODE if path.stem == owner or owner in CLASSES[path]]
    return not any(last in words for words in own or WORDS.values())


@pytest.mark.parametrize("path", OF_TODAY, ids=lambda path: path.name)
def test_every_name_is_there(path: Path) -> None:
    names = {each for each in mentioned(path) if re.fullmatch(r"[A-Za-z_][\w.]*", each)} - OUTSIDE
    assert len(names) > 10, "the words in backticks are seen"
    files = {each.name for each in OURS}
    assert not [name for name in names - files if lacking(name)]


@pytest.mark.parametrize("path", [*OF_TODAY, ROOT / "README.md"], ids=lambda path: path.name)
def test_every_file_is_there(path: Path) -> None:
    files = {each for each in mentioned(path) if re.fullmatch(r"(finetune_core|pages|tests|docs)/[\w./-]+", each)}
    links = {link for link in re.findall(r"\]\(([\w./-]+)\)", path.read_text()) if "://" not in link}
    assert not [each for each in files if "KEY" not in each and not (ROOT / each).exists()]
    assert not [link for link in links if not (path.parent / link).exists()]


def test_the_floor_plan_is_that_of_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each.get("containers") == ["finetune_core"])
    rows = re.findall(r"^\| (\d+) \| ([^|]+)", ARCHITECTURE.read_text(), re.MULTILINE)
    drawn: dict[str, int] = {}
    for floor, rooms in rows:
        for room in re.findall(r"`(\w+)(?:/|\.py)`", rooms):
            drawn[room] = int(floor)
    assert drawn == {room: len(layers) - place for place, layer in enumerate(layers) for room in layer.split(" | ")}


def test_every_module_of_the_core_is_on_the_floor_plan() -> None:
    rows = {
        found[0]: line for line in ARCHITECTURE.read_text().splitlines() if (found := re.findall(r"`(\S+)/`", line))
    }
    for path in (ROOT / "finetune_core").rglob("*.py"):
        room = path.parent.relative_to(ROOT / "finetune_core").as_posix().removesuffix("/script")
        if not path.stem.startswith("__") and room not in (".", "blooms"):
            assert f"`{path.stem}`" in rows[room], f"{room} has {path.stem}"


def test_the_index_lists_every_decision() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("0*.md"))
    assert [int(name[:4]) for name in listed] == list(range(1, len(listed) + 1)), "no number twice, none left out"


def test_the_example_of_a_job_works(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    (tmp_path / "a_new_job.py").write_text(f"from finetune_core.runs.jobs import *\n\n\n{example}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(Job, "_kinds", dict(Job.kinds()))
    new = importlib.import_module("a_new_job").CountImages
    monkeypatch.delitem(sys.modules, "a_new_job")
    test_parts.test_a_part_explains_itself(new)
    test_parts.test_a_part_survives_plain_data(new)
    test_parts.test_every_field_is_a_knob_with_help_and_bounds(new)
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(tiny.model_dump(mode="json")))
    assert main([new.kind, str(file), "--least", "5"]) == 0
    (run,) = store.list_runs(job=new.kind)
    assert json.loads(run.job_file.read_text()) == {"kind": new.kind, "least": 5}
    assert [row["text"] for row in run.records()[0]] == [f"class_{label}: 8 images" for label in range(3)]
    assert "class_2: 8 images" in capsys.readouterr().out
