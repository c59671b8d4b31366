"""A new job is one class: store, worker, command line and a page know it, with no other edit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.parts import Job, knob
from finetune_core.parts.jobs import Doing, Rows, Work
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe
from finetune_core.records import Event
from finetune_core.runs import launch, store
from finetune_core.runs.work.worker import work


@pytest.fixture
def counting() -> Iterator[type[Job]]:
    """A job that counts, known as long as the test runs."""

    class Count(Job):
        """Count up to a number, and say each."""

        kind: ClassVar[str] = "count_up"
        title: ClassVar[str] = "Counting"
        command: ClassVar[str] = "count-up"
        to: int = knob(3, "To", "The last number.", low=1, high=100)
        loudly: bool = knob(False, "Loudly", "Whether to shout.")

        def run(self, work: Work) -> Doing:
            """One number a record."""
            work.report("Clearing the throat", 1, 2)
            work.begin("Counting", self.to)
            for number in range(1, self.to + 1):
                work.advance(number, now=True)
                yield Event("number", number, f"{number}{'!' if self.loudly else '.'}")
            work.conclude("Counted")

        def summary(self, rows: Rows, recipe: Any) -> dict[str, Any]:
            """The last number."""
            return {"last": rows[-1]["step"]}

        def lines(self, rows: Rows, recipe: Any) -> list[str]:
            """All of them."""
            return [" ".join(row["text"] for row in rows)]

    yield Count
    del Job._kinds["count_up"]


def page(run: store.Run, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.chdir(ROOT)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.query_params["run"] = run.id
    app = app.run().switch_page("pages/views/run.py").run()
    assert not app.exception, app.exception[0].value
    return app


def test_worker_and_store_know_it(tiny: Recipe, counting: type[Job]) -> None:
    run = store.create(tiny, counting.model_validate({"to": 4}))
    assert store.open_run(run.id).job == counting.model_validate({"to": 4})
    assert [each.id for each in store.list_runs(job="count_up")] == [run.id]
    assert store.list_runs() == [], "it is no training"
    seen: list[str] = []
    assert work(run, report=lambda what, done=0, total=0, unit="": seen.append(f"{what} {done}/{total}")) == 0
    assert "Clearing the throat 1/2" in seen
    assert [row["text"] for row in run.records()[0]] == ["1.", "2.", "3.", "4."]
    assert (run.status.state, run.status.message, run.status.step, run.status.share) == ("finished", "Counted", 4, 1.0)


def test_it_stops_when_asked_and_does_not_pretend_to_go_on(tiny: Recipe, counting: type[Job]) -> None:
    run = store.create(tiny, counting())
    assert work(run, watch=lambda record: run.ask("stop") if record.step == 2 else None) == 0
    assert [row["step"] for row in run.records()[0]] == [1, 2]
    assert (run.status.state, run.status.message) == ("stopped", "Stopped on request")
    with pytest.raises(UserError, match="cannot go on"):
        launch.check_resumable(run)


def test_the_command_line_knows_it_with_its_knobs(
    tiny: Recipe, tmp_path: Path, counting: type[Job], capsys: pytest.CaptureFixture
) -> None:
    tiny.save(tmp_path / "recipe.yaml")
    file = str(tmp_path / "recipe.yaml")
    assert main(["count-up", file, "--to", "2", "--loudly"]) == 0
    assert "1! 2!" in capsys.readouterr().out
    assert main(["count-up", file, "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["last"] == 3, out
    assert main(["count-up", file, "--to", "0"]) == 2
    assert "to does not fit" in capsys.readouterr().err
    assert main(["parts"]) == 0
    assert "Count up to a number" in capsys.readouterr().out


def test_a_page_shows_how_far_it_is_and_what_came_of_it(
    tiny: Recipe, counting: type[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(tiny, counting())
    run.claim(psutil.Process())  # this process stands in for its worker
    run.report(state="preparing", message="Clearing the throat", done=1, total=4)
    app = page(run, monkeypatch)
    assert "Counting" in app.title[0].value
    [bar] = app.get("progress")
    assert (bar.proto.value, bar.proto.text) == (25, "Clearing the throat\\: 1 of 4")
    assert work(run) == 0
    app = page(run, monkeypatch)
    assert "1. 2. 3." in [block.value for block in app.code]
    assert list(app.dataframe[0].value["text"]) == ["1.", "2.", "3."]
