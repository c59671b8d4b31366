"""What a run has said, read once and kept small: against what all its records say."""

import json
import os

import numpy as np
import pytest

from finetune_core.errors import UserError
from finetune_core.records import Epoch, Event, Step
from finetune_core.runs.telling import history
from finetune_core.runs.telling.blocks import parse
from finetune_core.runs.telling.history import LOSS, History, Reading, read_on, sketch
from finetune_core.runs.telling.lines import POINTS, Line, extremes
from finetune_core.runs.telling.remembered import remember, remembered


def step(number, loss=1.0, **more):
    lr = {"stem": 0.0, "head": 1e-3 * number}
    row = Step(number, number // 100, 0, loss, lr, 1.0, {"head": 0.5}, 180.0, 900.0, number / 10)
    return json.dumps({**json.loads(row.line()), **more}).encode() + b"\n"


def epoch(number, score=0.5, best=False):
    told = {"train_loss": 1.0, "train_score": score, "valid_loss": 1.0, "valid_score": score}
    row = Epoch(number, 0, step=(number + 1) * 100, **told, scores={}, by_name={"owl": score}, best=best, seconds=1.0)
    return row.line().encode() + b"\n"


def event(number, name="paused"):
    return Event(name, number, "Something happened.").line().encode() + b"\n"


def losses(count=30_000):
    found = np.random.default_rng(0).normal(size=count)
    found[count // 3], found[count // 2] = 99.0, -99.0
    return found


def long_file(path, count=30_000):
    """Steps with an epoch each hundred, the best one early, and one event."""
    with path.open("wb") as file:
        for number, loss in enumerate(losses(count)):
            file.write(step(number, float(loss)))
            if (number + 1) % 100 == 0:
                file.write(epoch(number // 100, 0.5 + 0.4 * (number < 300), best=number < 300))
        file.write(event(count))
    return path


# Lines


@pytest.mark.parametrize("chunk", [1, 7, 1000, 30_000])
def test_a_line_is_bounded_and_keeps_every_peak_however_it_grew(chunk):
    values, line = losses(3_000 if chunk == 1 else 30_000), Line()
    x = np.arange(len(values), dtype=float)
    for start in range(0, len(x), chunk):
        line = line.plus(x[start : start + chunk], values[start : start + chunk])
    assert POINTS / 4 < len(line.x) <= POINTS
    assert {99.0, -99.0} <= set(line.y)
    assert (line.x[0], line.x[-1]) == (0, len(x) - 1)
    assert (np.diff(line.x) > 0).all()
    assert np.array_equal(values[line.x.astype(int)], line.y)


def test_the_extremes_are_those_of_a_plain_search():
    values = np.random.default_rng(1).normal(size=500)
    values[100:120] = np.nan
    bucket = np.arange(500) // 10
    wanted = {0, 499}
    for start in range(0, 500, 10):
        part = values[start : start + 10]
        known = np.isfinite(part).any()
        wanted |= {start + int(np.nanargmin(part)), start + int(np.nanargmax(part))} if known else {start}
    assert set(extremes(bucket, values).tolist()) == wanted


# Blocks


def test_as_a_table_or_one_by_one_the_numbers_are_the_same():
    text = b"".join(step(number, loss) for number, loss in enumerate([1.5, 2, None, 1e-9]))
    table, single = parse(text).measured["step"], parse(text + b'{"step": 9, "kind": "step"}\n').measured["step"]
    assert table.keys() <= single.keys()
    for key, values in table.items():
        np.testing.assert_array_equal(values, single[key][:4])


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\xff garbage \xfe",
        b'{"kind": "step", "step": 5, "lo',
        b'{"kind": "step", "step": 5, "lo{"kind": "step", "step": 6}',
        b'{"kind": "step", "step": "five"}',
        b'{"kind": "step"}',
        b'{"kind": "epoch", "step": null}',
        b'{"kind": 3}',
        b"[1, 2]",
        b"3",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_record_is_counted_and_left_out(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(step(0) + step(1) + line + b"\n" + epoch(0, best=True) + step(2))
    told = read_on(path, Reading()).history
    assert (told.unreadable, told.steps, len(told.epochs)) == (1, 3, 1)
    assert told.lines[LOSS].x.tolist() == [0, 1, 2]


def test_what_is_no_number_in_a_record_is_a_gap():
    told = History().plus(parse(step(0) + step(1, loss="much") + step(2, lr=7)))
    np.testing.assert_array_equal(told.lines[LOSS].y, [1, np.nan, 1])
    np.testing.assert_array_equal(told.of("lr")["head"].y, [0, 1e-3, np.nan])


def test_any_number_and_any_number_by_group_becomes_a_line():
    rows = step(0, new=3) + b'{"kind": "gauges", "step": 0, "distance": {"head": 0.1}, "said": "no", "yes": true}\n'
    told = History().plus(parse(rows))
    assert told.of("new")[""].y.tolist() == [3]
    assert told.of("distance")["head"].y.tolist() == [0.1]
    assert not told.of("said")
    assert not told.of("yes")
    assert told.steps == 1


def test_a_group_that_is_measured_later_leaves_a_gap_before():
    told = History().plus(parse(step(0))).plus(parse(step(1, group_grad_norm={"stem": 2.0})))
    np.testing.assert_array_equal(told.of("group_grad_norm")["head"].y, [0.5, np.nan])
    assert told.of("group_grad_norm")["stem"].x.tolist() == [1]


# Reading


def test_epochs_events_and_the_best_are_never_thinned_away(tmp_path):
    told = read_on(long_file(tmp_path / "metrics.jsonl"), Reading()).history
    assert [row["epoch"] for row in told.epochs] == list(range(300))
    assert (told.best["epoch"], told.best["by_name"]) == (2, {"owl": 0.9})
    assert [row["name"] for row in told.events] == ["paused"]
    assert (told.steps, len(told.lines[LOSS].x) <= POINTS) == (30_000, True)
    assert {99.0, -99.0} <= set(told.lines[LOSS].y)


def test_reading_on_says_what_reading_at_once_says(tmp_path):
    """But for the tail, which may be thinned later: the smooth line, the newest numbers and the count."""
    path = long_file(tmp_path / "whole.jsonl", 3_000)
    growing, reading = tmp_path / "growing.jsonl", Reading()
    text = path.read_bytes()
    for end in range(0, len(text), 50_001):
        growing.write_bytes(text[:end]) if end == 0 else growing.open("ab").write(text[end - 50_001 : end])
        reading = read_on(growing, reading)
    growing.open("ab").write(text[growing.stat().st_size :])
    grown, whole = read_on(growing, reading).history, read_on(path, Reading()).history
    assert (grown.steps, grown.epochs, grown.events) == (whole.steps, whole.epochs, whole.events)
    assert grown.mean.total == pytest.approx(whole.mean.total)
    np.testing.assert_array_equal(grown.latest("loss"), whole.latest("loss"))
    assert grown.smooth.y[-1] == pytest.approx(whole.smooth.y[-1])


def test_a_half_written_line_waits(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(step(0) + step(1)[:20])
    reading = read_on(path, Reading())
    assert (reading.history.steps, reading.whole, reading.history.unreadable) == (1, True, 0)
    path.open("ab").write(step(1)[20:])
    assert read_on(path, reading).history.steps == 2


def test_another_file_in_its_place_is_read_from_the_start(tmp_path):
    """As when a resumed run has taken back what it will say again, even if it has meanwhile said more than before."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(step(0) + step(1) + step(2))
    reading = read_on(path, Reading())
    draft = tmp_path / "draft"
    draft.write_bytes(step(0) + step(1, 7.0) + step(2) + step(3))
    draft.replace(path)
    assert read_on(path, reading).history.lines[LOSS].y.tolist() == [1, 7, 1, 1]
    path.write_bytes(step(0))
    assert read_on(path, reading).history.steps == 1
    path.unlink()
    assert read_on(path, reading).history.steps == 0


def test_a_long_file_is_read_in_parts(tmp_path, monkeypatch):
    path = long_file(tmp_path / "metrics.jsonl")
    monkeypatch.setattr(history, "CHUNK", path.stat().st_size // 4)
    reading = read_on(path, Reading(), seconds=0)
    assert 0 < reading.share < 1
    while not reading.whole:
        reading = read_on(path, reading, seconds=0)
    assert reading.history.steps == 30_000


def test_a_sketch_has_all_epochs_and_events_and_steps_from_start_to_end(tmp_path):
    drawn = sketch(long_file(tmp_path / "metrics.jsonl"))
    assert len(drawn.epochs) == 300
    assert (drawn.best["epoch"], len(drawn.events)) == (2, 1)
    assert 600 < drawn.steps < 1200
    assert (drawn.lines[LOSS].x[0], drawn.lines[LOSS].x[-1]) == (0, 29_999)
    np.testing.assert_array_equal(drawn.latest("loss"), losses()[-20:])


# Kept


def test_a_history_that_was_kept_is_the_same(tmp_path):
    path = long_file(tmp_path / "metrics.jsonl", 3_000)
    reading = read_on(path, Reading())
    remember(path, reading)
    again = remembered(path)
    assert (again.cursor, again.before) == (reading.cursor, reading.before)
    path.open("ab").write(step(3_000))
    one, other = read_on(path, reading).history, read_on(path, again).history
    assert (one.epochs, one.best, one.events, one.mean) == (other.epochs, other.best, other.events, other.mean)
    assert list(one.lines) == list(other.lines)
    for key, line in one.lines.items():
        np.testing.assert_array_equal(line.x, other.lines[key].x)
        np.testing.assert_array_equal(line.y, other.lines[key].y)
        np.testing.assert_array_equal(one.recent[key], other.recent[key])


@pytest.mark.parametrize("damage", [lambda _: b"", lambda text: text[:200], lambda text: os.urandom(len(text))])
def test_what_was_kept_and_is_damaged_is_made_anew(tmp_path, damage):
    path = long_file(tmp_path / "metrics.jsonl", 300)
    remember(path, read_on(path, Reading()))
    from finetune_core.runs.telling.remembered import _file

    _file(path).write_bytes(damage(_file(path).read_bytes()))
    assert remembered(path).cursor == 0


def test_a_folder_in_place_of_the_records_is_told(tmp_path):
    with pytest.raises(UserError, match="is damaged"):
        history.read(tmp_path)
