"""What a run survives, in small numbers: `python -m benchmarks.faults` does all of it and more often."""

from collections.abc import Iterator

import pytest

from benchmarks.faults import crowds, disk, kills, troubles, wishes
from benchmarks.faults.lives import Lab
from benchmarks.faults.trials import Trial, outcome

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("faults"))


@pytest.fixture(autouse=True)
def _its_folders(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and cache of the laboratory, not of the single test."""
    for name, value in lab.variables.items():
        monkeypatch.setenv(name, value)


def some(trials: Iterator[Trial], count: int) -> list[Trial]:
    """So many of them, spread over all."""
    every = list(trials)
    return [every[len(every) * number // count] for number in range(count)]


def harmless(trials: list[Trial]) -> None:
    """None of them leaves a problem."""
    done = [(trial.name, trial.skipped, outcome(trial).problems) for trial in trials]
    assert not [each for each in done if each[2]]
    if all(skipped for _, skipped, _ in done):
        pytest.skip(done[0][1])


def test_kills_at_any_moment(lab: Lab) -> None:
    harmless(list(kills.killed(lab, 4))[1:])


def test_kills_at_the_files_of_a_checkpoint(lab: Lab) -> None:
    harmless(list(kills.aimed(lab, 3)))


def test_signals(lab: Lab) -> None:
    harmless(list(kills.signalled(lab, 1)))


@pytest.mark.parametrize("refusal", ["ENOSPC", "EROFS"])
def test_a_disk_that_refuses(lab: Lab, refusal: str) -> None:
    harmless(some(disk.refused(lab, refusal), 4))


def test_a_disk_that_is_full_really(lab: Lab) -> None:
    harmless(some(disk.full(lab), 2))


def test_damaged_files(lab: Lab) -> None:
    harmless(some(disk.damaged(lab), 6))


def test_numbers_that_are_none_and_memory_that_runs_out(lab: Lab) -> None:
    harmless(some(troubles.broken(lab), 3))


def test_two_resumes_at_once(lab: Lab) -> None:
    harmless(list(crowds.at_once(lab))[2:])


def test_a_pause_right_after_the_launch(lab: Lab) -> None:
    harmless(list(wishes.asked(lab))[1:2])


@pytest.mark.slow
def test_one_of_several_processes_is_killed(lab: Lab) -> None:
    harmless(list(crowds.several(lab, 1))[1:2])


@pytest.mark.slow
def test_a_queue_survives_a_kill(lab: Lab) -> None:
    harmless(list(crowds.queued(lab)))
