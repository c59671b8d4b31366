"""How numbers are said in sentences."""

import pytest

from finetune_core.wording import lasting, roughly


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (0.42, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 min"),
        (61, "1 min 1 s"),
        (3599.7, "1 h"),
        (4200, "1 h 10 min"),
        (100 * 3600, "100 h"),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "60 s"), (200, "3 min"), (4200, "70 min"), (7500, "2 h 5 min")]
)
def test_times_are_said_roughly_in_passing(seconds: float, words: str) -> None:
    assert roughly(seconds) == words
