"""What went wrong, in words and of a kind."""

import errno
import os
import sys
from pathlib import Path

import pytest

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.parts.sources import Folder
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work import failures, worker


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_refuses_is_told_as_that(number: int) -> None:
    error = OSError(number, os.strerror(number), "somewhere")
    with pytest.raises(UserError) as told, places.writing("the checkpoint"):
        raise error
    for each in (error, told.value):
        assert (failures.told(each).kind, failures.told(each).state) == ("disk", "failed")


def test_the_log_has_it_before_the_run_says_that_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who hears that a run has failed looks into its log then, and not again."""
    run = store.create(Recipe().with_value("data.source", Folder(path=str(tmp_path / "nowhere")).model_dump()))
    logged, report = [], Run.report

    def told(run: Run, **facts: object) -> None:
        if facts.get("state") == "failed":
            logged.append(capsys.readouterr().err)
        report(run, **facts)

    monkeypatch.setattr(Run, "report", told)
    monkeypatch.setattr(sys, "argv", ["worker", str(run.path)])
    assert worker.main() == 2
    assert [str(tmp_path / "nowhere") in each for each in logged] == [True]
    assert capsys.readouterr().err == "", "and only once"
