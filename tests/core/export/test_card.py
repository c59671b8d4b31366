"""A model card says what is known of a run, in words of nobody's making, as Markdown and as one page."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sklearn.metrics import recall_score

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.export import card
from finetune_core.parts.sources import Table
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand.outcomes import outcomes

HOSTILE = "`x` ` <script>alert(1)</script> | *a* [x](http://evil.example)"


def trained(recipe: Recipe) -> Run:
    run = store.create(recipe)
    assert work(run) == 0
    return run


class Tags(HTMLParser):
    """All tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_scores_and_weaknesses_are_those_of_the_run(tiny: Recipe) -> None:
    run = trained(tiny)
    by_title = {section.title: section for section in card.sections(run)}
    best = next(row for row in reversed(run.epochs()) if row["best"])
    [accuracy] = [row for row in by_title["Scores"].rows if row[0] == "Accuracy"]
    assert accuracy[1] == f"{best['scores']['accuracy']:.1%}"
    found = outcomes(run)
    recalls = recall_score(found.truth, found.guess, average=None)
    said = [row[3].split()[0] for row in by_title["Each class"].rows]
    assert said == [f"{each:.0%}" for each in recalls]
    assert "- 6 validation images can tell little: look at the ranges." in by_title["Known weaknesses"].lines
    assert "18 images learned from, 6 images validated on" in by_title["The data"].lines[0]


def test_names_of_strangers_stay_names(tiny: Recipe, images: Path, tmp_path: Path) -> None:
    hostile = images / HOSTILE.replace("/", "∕")
    (images / "class_0").rename(hostile)
    run = trained(tiny.replace(name=HOSTILE))
    assert main(["card", run.id, "--out", str(tmp_path / "card.html")]) == 0
    assert main(["card", run.id, "--out", str(tmp_path / "my card.md")]) == 0
    page = Tags((tmp_path / "card.html").read_text("utf-8"))
    assert "script" not in page.tags
    assert all(each.startswith("data:image/png;base64,") for each in page.addresses)
    assert len(page.addresses) == len(list((tmp_path / "my card-pictures").iterdir())) > 0
    text = (tmp_path / "my card.md").read_text("utf-8")
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert not re.search(r"(?<!\\)\]\(http", text), "no link of theirs"
    assert "](my%20card-pictures/1.png)" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "alert" in line]
    widths = {line.replace("\\|", "").count("|") for line in rows}
    assert len(rows) == 4, "what it answers, its id, the data, the class"
    assert widths == {3, 4, 6}


def test_a_run_of_numbers_has_one_too(tiny: Recipe, images: Path, tmp_path: Path) -> None:
    files = sorted(images.rglob("*.png"))
    rows = [f"{file.relative_to(images)},{number}" for number, file in enumerate(files)]
    table = images / "ages.csv"
    table.write_text("\n".join(["image,age", *rows]), "utf-8")
    data = tiny.data.replace(source=Table(path=str(table), task="regression", labels="age"))
    run = trained(tiny.replace(data=data).with_value("training.loss", {"kind": "smooth_l1"}))
    assert main(["card", run.id, "--out", str(tmp_path / "card.html")]) == 0
    assert "Mean error" in (tmp_path / "card.html").read_text("utf-8")


def test_what_cannot_be_written_is_said(tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = store.create(tiny)
    with pytest.raises(UserError, match="no model yet"):
        card.sections(run)
    assert main(["card", run.id, "--out", str(tmp_path / "card.html")]) == 2
    assert main(["card", run.id, "--out", str(tmp_path / "card.pdf")]) == 2
    assert "ends in neither .md nor .html" in capsys.readouterr().err
