"""Numbers as people type them: read as they were meant, or refused in words; what is written reads back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finetune_core.runs.jobs  # noqa: F401 - the jobs are parts, too
from finetune_core import recipe as recipes
from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.parts import FAMILIES, Section
from finetune_core.parts.numbers import Scale, Several, apart, listed, written
from finetune_core.recipe import Data, Phase, Recipe, Training
from finetune_core.recipe.presets import group_rate, group_scale

SCALES = {
    f"{section.__name__}.{knob.name}": knob.scale
    for section in (*(kind for family in FAMILIES.values() for kind in family.kinds().values()), Data, Phase, Training)
    for knob in section.knobs()
    if isinstance(knob.scale, Scale)
}
SCALE = st.sampled_from(list(SCALES.values()))
RATE, EPOCHS, SHARE, SIZE = (
    SCALES[name] for name in ("Phase.learning_rate", "Phase.epochs", "Data.valid_share", "Data.image_size")
)
ALPHABET = "0123456789.,'  \u202f\u2009\u00a0eE+-−–·×*x10^()/%°_٣１²½⁻³∞ \u200bpxochsnaitruyf;"
NONE = "|nan|inf|∞|yes|0x10|1_0|½|①|1-5|1 5|3²|--5|1,2,3|1,00.5|1e-3.5|1/0|1:30| "


def _inside(scale: Scale) -> st.SearchStrategy[float]:
    if scale.whole:
        return st.integers(int(scale.low or 0), int(scale.high or 0))
    return st.floats(scale.low, scale.high)


@pytest.mark.parametrize(
    ("scale", "text", "number"),
    [
        (RATE, "0,003", 0.003),
        (RATE, "0.003", 0.003),
        (RATE, ",003", 0.003),
        (RATE, "1,5", 1.5),
        (RATE, "1.234", 1.234),
        (RATE, "1e-3", 0.001),
        (RATE, "1E−3", 0.001),
        (RATE, "1·10⁻³", 0.001),
        (RATE, "2,5 × 10^-3", 0.0025),
        (RATE, "10^(-3)", 0.001),
        (RATE, "３ｅ－３", 0.003),
        (RATE, "٠٫٠٠٣", 0.003),
        (RATE, "\u200e0,003\u00a0", 0.003),
        (RATE, "1/3", 1 / 3),
        (RATE, "+0.5", 0.5),
        (EPOCHS, "5 epochs", 5),
        (EPOCHS, "1 Epoch", 1),
        (EPOCHS, "5.0", 5),
        (EPOCHS, "5,0", 5),
        (EPOCHS, "010", 10),
        (EPOCHS, "1,000", 1000),
        (EPOCHS, "1\u202f000", 1000),
        (EPOCHS, "1’000", 1000),
        (EPOCHS, "1e2", 100),
        (SIZE, "128 px", 128),
        (SIZE, "128 pixels", 128),
        (SHARE, "20 %", 0.2),
        (SHARE, "35％", 0.35),
        (Scale(), "1.000,5", 1000.5),
        (Scale(), "1,000.5", 1000.5),
        (Scale(), "1 234 567,8", 1234567.8),
        (Scale(), "1.234.567", 1234567.0),
        (Scale(), "−3", -3.0),
        (Scale(), "-0", 0.0),
    ],
)
def test_a_number_is_read_as_it_was_meant(scale: Scale, text: str, number: float) -> None:
    assert scale.read(text) == number


@pytest.mark.parametrize(
    ("scale", "text", "words"),
    [
        (RATE, "1,234", "1.234 or 1234? Write one of them."),
        (EPOCHS, "1.000", "1 or 1000? Write one of them."),
        (EPOCHS, "2.5", "Whole numbers only: 2 or 3."),
        (EPOCHS, "2,5", "Whole numbers only: 2 or 3."),
        (EPOCHS, "0", "1 to 1000."),
        (EPOCHS, "-3", "1 to 1000."),
        (EPOCHS, "99999", "1 to 1000."),
        (RATE, "0", "1e-9 to 100."),
        (RATE, "1e9", "1e-9 to 100."),
        (RATE, "1e999", "1e-9 to 100."),
        (RATE, "3 %", "A number, 1e-9 to 100, without “%”."),
        (EPOCHS, "5 apples", "A whole number, 1 to 1000, without “apples”."),
        (SHARE, "20", "0.02 to 0.9."),
        (Scale(0.0, 1.0), "1e-400", "A number, 0 to 1, less close to 0."),
        (EPOCHS, True, "A whole number, not yes."),
        *((RATE, text, "A number, 1e-9 to 100.") for text in NONE.split("|")),
    ],
)
def test_what_does_not_fit_is_refused_in_words(scale: Scale, text: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        scale.read(text)
    assert str(refused.value) == words


@given(SCALE, st.text() | st.text(ALPHABET, max_size=14))
def test_any_text_is_a_number_that_fits_or_refused(scale: Scale, text: str) -> None:
    try:
        number = scale.read(text)
    except UserError:
        return
    assert isinstance(number, int if scale.whole else float)
    assert (scale.low or 0) <= number <= (scale.high or 0)
    assert scale.read(written(number)) == number


@given(st.data())
def test_what_is_written_reads_back_exactly(data: st.DataObject) -> None:
    scale = data.draw(SCALE)
    number = data.draw(_inside(scale))
    for text in (written(number), written(number).replace("e", " · 10^"), f" {written(number)} ".replace("-", "−")):
        assert scale.read(text) == number
    if "e" not in written(number) and len(written(number).partition(".")[2]) != 3:
        assert scale.read(written(number).replace(".", ",")) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float_is_written_as_short_as_it_can_be(number: float) -> None:
    assert float(written(number)) == number
    assert len(written(number)) <= len(repr(number))


def test_a_number_is_written_one_way() -> None:
    numbers = (0.003, 9.9e-4, 1e-4, 9.9e-5, 1e-9, 100.0, 5, -0.0, 1e8, 1e22)
    assert [*map(written, numbers)] == [
        "0.003",
        "0.00099",
        "0.0001",
        "9.9e-5",
        "1e-9",
        "100",
        "5",
        "0",
        "100000000",
        "1e22",
    ]
    assert written(0.00123456, 3) == "0.00123"
    assert written(12345678, 3) == written(12345678.0, 3) == "12300000"
    assert written(7, 3) == "7"
    assert listed((0.5, 1.0)) == "0.5, 1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,5; 1,5", ["0,5", "1,5"]),
        ("0,5 1,5", ["0,5", "1,5"]),
        ("0.5,1.5", ["0.5", "1.5"]),
        ("1, 1; 10", ["1", "1", "10"]),
        ("1,2,3", ["1", "2", "3"]),
        ("", []),
    ],
)
def test_several_numbers_are_told_apart(text: str, words: list[str]) -> None:
    assert apart(text) == words
    with pytest.raises(UserError, match=r"0\.5, or 0 and 5"):
        apart("0,5")


@given(st.data())
def test_a_step_lies_beyond_and_within_the_bounds(data: st.DataObject) -> None:
    scale = data.draw(SCALE)
    number = data.draw(_inside(scale))
    up, down = scale.stepped(number, 1), scale.stepped(number, -1)
    assert down < number or number == scale.low
    assert up > number or number == scale.high
    assert scale.read(up) == up
    assert scale.read(down) == down


def test_steps_are_round_and_of_the_scale() -> None:
    assert [RATE.stepped(0.003, way) for way in (1, -1)] == [0.005, 0.002]
    assert [RATE.stepped(0.005, way) for way in (1, -1)] == [0.01, 0.002]
    assert [SIZE.stepped(130, way) for way in (1, -1)] == [160, 128]
    assert [SCALES["Training.batch_size"].stepped(32, way) for way in (1, -1)] == [64, 16]
    assert [SHARE.stepped(0.2, way) for way in (1, -1)] == [0.21, 0.19]
    decay = SCALES["AdamW.weight_decay"]
    assert decay.stepped(0.0, 1) == pytest.approx(1e-5)
    assert decay.stepped(1e-5, -1) == 0.0


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("ends", [(0, None), (None, None), (None, 10), (-5, None), (1, None), (0, 10)])
def test_any_scale_can_be_stepped_from_anywhere(ends: tuple[float, float], log: bool, whole: bool) -> None:
    scale = Scale(*ends, whole=whole, log=log)
    for number in (0, 1, 3, 7, -4, -1e300, 1e300):
        low, high = scale.stepped(number, -1), scale.stepped(number, 1)
        assert scale.read(low) <= scale.read(high)
    assert Scale(0, None, log=True).stepped(0, 1) == 1e-5
    assert Scale(0, None, log=True).stepped(1e-5, -1) == 0
    assert Scale(log=True).stepped(-2, -1) == -5


class TestRecipes:
    """Files and `--set` are read by the same reader as fields."""

    @pytest.mark.parametrize("text", ["0,003", "3e-3", "3·10⁻³", "0.003"])
    def test_a_number_is_understood(self, text: str) -> None:
        recipe = Recipe().with_value("phases.0.learning_rate", 0.5)
        file = recipe.to_yaml().replace("learning_rate: 0.5", f"learning_rate: {text}")
        assert recipes.loads(file).phases[0].learning_rate == 0.003

    @pytest.mark.parametrize("text", ["true", "yes", "2.5", "0", "99999", ".inf", "0x10", "1_0", "1:30", "[5]", "null"])
    def test_what_is_no_such_number_is_refused(self, text: str) -> None:
        file = Recipe().with_value("phases.0.epochs", 77).to_yaml()
        with pytest.raises(UserError, match=r"value for phases\.0\.epochs does not fit"):
            recipes.loads(file.replace("epochs: 77", f"epochs: {text}"))

    def test_a_leading_zero_is_no_octal_number(self) -> None:
        file = Recipe().with_value("phases.0.epochs", 77).to_yaml()
        assert recipes.loads(file.replace("epochs: 77", "epochs: 010")).phases[0].epochs == 10

    @pytest.mark.parametrize("name", ["1e-3", "010", "1_0", "1:30", "5", "1.5", ".inf", "true", "2024-01-01"])
    def test_a_name_like_a_number_stays_a_name(self, name: str) -> None:
        assert recipes.loads(Recipe(name=name).to_yaml()).name == name

    @pytest.mark.parametrize(
        ("path", "value", "words"),
        [
            ("phases.0.multipliers", {"layer3": 1, "layer4": -1}, "For 'layer4': 1e-45 to 10000. It was {"),
            ("phases.0.multipliers", {"layer4": 0}, "For 'layer4': 1e-45 to 10000."),
            ("phases.0.multipliers", {"layer4": "1,234"}, "For 'layer4': 1.234 or 1234?"),
            ("training.decay", {"stem": 1e5}, "For 'stem': 0 to 10000."),
            ("training.loss.weights", [1, -1], "For -1: 1e-9 to 10000."),
            ("training.loss.weights", "1; 1e9", "For '1e9': 1e-9 to 10000."),
            ("training.loss.weights", {"a": 1}, "For {'a': 1}: A number, 1e-9 to 10000."),
            ("phases.0.schedule", {"kind": "table", "shares": [1, 2]}, "For 2: 0 to 1."),
        ],
    )
    def test_bounds_hold_for_each_of_several_and_the_wrong_one_is_named(
        self, path: str, value: object, words: str
    ) -> None:
        with pytest.raises(UserError) as refused:
            Recipe().with_value(path, value)
        assert words in str(refused.value)
        assert f"value for {path}" in str(refused.value)

    def test_numbers_within_values_are_read_too(self) -> None:
        assert Phase(multipliers={"layer4": "0,1"}).multipliers == {"layer4": 0.1}
        weighted = Recipe().with_value("training.loss.weights", "0,5; 1")
        assert weighted.training.loss.weights == (0.5, 1.0)
        for path in ("phases.0.multipliers.layer4", "data.channels", "training.decay"):
            with pytest.raises(UserError, match="does not fit"):
                Recipe().with_value(path, {"stem": True} if path == "training.decay" else True)


def test_the_command_line_answers_alike(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    def told(*words: str) -> tuple[int, str]:
        code = main(["init", "-"]) if not words else main([*words])
        return code, "".join(capsys.readouterr())

    file = f"{tmp_path}/recipe.yaml"
    assert main(["init", file]) == 0
    capsys.readouterr()
    assert "0.003" in told("phases", file, "--set", "phases.0.learning_rate=0,003")[1]
    for text, words in (("1,234", "1.234 or 1234?"), ("0", "1e-9 to 100."), ("true", "A number, not yes.")):
        code, said = told("phases", file, "--set", f"phases.0.learning_rate={text}")
        assert (code, words in said) == (2, True), said
    for text, words in (("2.5", "Whole numbers only: 2 or 3."), ("1.000", "1 or 1000?"), ("1_0", "A whole number")):
        code, said = told("phases", file, "--set", f"phases.0.epochs={text}")
        assert (code, words in said) == (2, True), said
    code, said = told("lr-find", file, "--low", "1,234")
    assert (code, "1.234 or 1234?" in said) == (2, True), said
    code, said = told("tree", file, "--depth", "0")
    assert (code, "At least 1" in said) == (2, True), said


def _sections(cls: type[Section] = Section) -> list[type[Section]]:
    return [each for sub in cls.__subclasses__() for each in (sub, *_sections(sub))]


def test_no_knob_has_bounds_that_nothing_holds() -> None:
    loose = [
        f"{section.__name__}.{knob.name}"
        for section in _sections()
        for knob in section.knobs()
        if (knob.low, knob.high) != (None, None) and knob.scale is None
    ]
    assert loose == []


def test_several_numbers_answer_as_one_does() -> None:
    several = Several(Scale(0.0, 1.0))
    assert several.read("0,5; 1") == several.read([0.5, 1]) == (0.5, 1.0)
    assert several.read(several.shown((0.25, 1.0))) == (0.25, 1.0)
    assert several.read(1) == (1.0,)
    assert several.words() == "Numbers, with “;” between them, each 0 to 1"
    assert Several().words() == "Numbers, with “;” between them"
    assert several.stepped((0.5,), 1) == (0.5,)


def test_a_group_takes_the_rates_that_its_factor_reaches() -> None:
    phase = Phase(learning_rate=1e-5, multipliers={"head": 0.5})
    assert group_scale(phase, "layer4").words() == "1e-9 to 0.1"
    assert group_scale(phase, "head").words() == "5e-10 to 50"
    assert group_scale(Phase(), "layer4").words() == "1e-9 to 30"
    for name in ("layer4", "head"):
        for end in (group_scale(phase, name).low, group_scale(phase, name).high):
            field, value = group_rate(phase, ("layer4", "head"), name, end or 0.0)
            assert phase.replace(**{field: value})


def test_bounds_in_words() -> None:
    assert RATE.words() == "1e-9 to 100"
    assert Scale(1, whole=True).words() == "At least 1"
    assert Scale(high=3.0).words() == "At most 3"
    assert Scale(whole=True).words() == "A finite whole number"
    for number in (math.nan, math.inf, 10**400):
        with pytest.raises(UserError, match=r"finite|1e-9"):
            Scale().read(number)
