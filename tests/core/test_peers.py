"""What the benchmark of peers makes of its measurements: medians, ratios, goals, and words where something lacks."""

import pytest

from benchmarks.peers import page
from benchmarks.peers.measured import Measured, Race
from benchmarks.peers.processes import Answer
from benchmarks.peers.rows import ACCURACY, ALONE, ROWS, THAW, TUNED, Row

WHOLE = next(row for row in ROWS if row.title == "Whole network")
FINDER = next(row for row in ROWS if row.title.startswith("Finder"))


def measured(row: Row, **values: list[float]) -> Measured:
    found = Measured(row)
    for name, numbers in values.items():
        found.rounds[name.replace("_", " ")] = [Answer(((1.0, {"value": each}),)) for each in numbers]
    return found


def curve(*points: tuple[float, float]) -> Answer:
    return Answer(tuple((seconds, {"accuracy": accuracy}) for seconds, accuracy in points))


def race(*rounds: dict[str, Answer]) -> Race:
    found = Race(ACCURACY)
    for each in rounds:
        for name, answer in each.items():
            found.rounds[name].append(answer)
    return found


def test_a_goal_is_held_against_the_best_peer_by_medians() -> None:
    found = measured(WHOLE, Thaw=[30, 40, 100], plain_torch=[20, 20, 99], fastai=[10])
    assert found.reached() == pytest.approx(2)
    assert found.cells("plain torch") == ("20 (20–99)", "2.00", "")


def test_less_is_better_for_seconds() -> None:
    assert measured(FINDER, Thaw=[5], fastai=[200]).reached() == pytest.approx(40)


def test_the_race_goes_to_the_best_accuracy_that_fastai_reaches() -> None:
    found = race(
        {
            THAW: curve((5, 0.5), (10, 0.8), (12, 0.9)),
            ALONE: curve((50, 0.7)),
            TUNED: curve((60, 0.6), (120, 0.8), (180, 0.8)),
        }
    )
    assert found.times() == [(10, 120)]
    assert found.reached() == pytest.approx(12)
    assert found.cells(ALONE)[:2] == ("70.0% at 50 s", "5.00")


def test_who_mostly_never_gets_there_has_reached_nothing() -> None:
    lost = {THAW: curve((5, 0.5)), ALONE: curve((50, 0.7))}
    won = {THAW: curve((5, 0.7)), ALONE: curve((50, 0.7))}
    assert race(lost, lost, won).reached() is None
    assert race(lost, won, won).reached() == pytest.approx(10)


def test_the_race_tells_where_the_time_goes() -> None:
    marked = ((1.0, {"mark": "read"}), (6.0, {"mark": "stepped"}), *curve((12, 0.5), (15, 0.7)).said)
    found = race({THAW: Answer(marked), ALONE: curve((50, 0.7))})
    words = found.footnote()
    assert "Of Thaw's 15 s, 1.0 pass" in words
    assert all(f" {each} until" in words for each in ("5.0", "6.0", "3.0"))
    assert words in page.page(
        [found], dict.fromkeys(("machine", "versions", "train", "valid", "command", "rounds"), "")
    )
    never = {THAW: Answer(marked), ALONE: curve((50, 0.9))}
    assert not race(never).footnote(), "it does not get there"
    assert not race({THAW: curve((15, 0.7)), ALONE: curve((50, 0.7))}).footnote(), "nothing was marked"
    assert not race(never, never, {THAW: Answer(marked), ALONE: curve((50, 0.7))}).footnote(), "it mostly does not"
    broken = {THAW: Answer((), "killed"), ALONE: curve((50, 0.4))}
    assert (
        "Of Thaw's 15 s"
        in race(
            broken,
            {THAW: Answer(marked), ALONE: curve((50, 0.7))},
            never,
            *[{THAW: Answer(marked), ALONE: curve((50, 0.7))}] * 2,
        ).footnote()
    ), "each round has its own goal"


def test_what_is_missing_is_said_on_the_page() -> None:
    found = measured(WHOLE, Thaw=[30])
    found.missing["fastai"] = "it cannot be installed: no wheel"
    found.rounds["Lightning"] = [Answer((), "KeyError: 'net'")]
    about = dict.fromkeys(("machine", "versions", "train", "valid", "command", "rounds"), "so")
    text = page.page([found], about)
    assert "- fastai: it cannot be installed: no wheel" in text
    assert "- Lightning: a round failed: KeyError: 'net'" in text
    assert "| Whole network | 1.4 × the best peer | not measured, or not reached at all |" in text
