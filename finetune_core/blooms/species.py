"""The twelve species: what sets each apart, written down as numbers.

They come in families whose members differ in one thing only: three cups in their hue, three white flowers in the
number and form of their petals, two suns in their centre, two asters in their rows, two blue ones in petal form. So a
network has to learn colour *and* count *and* form, and an augmentation that wipes out one of them shows in the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetune_core.blooms.paint import Hsv, Outline


@dataclass(frozen=True)
class Row:
    """A ring of petals. Lengths and widths are shares of the flower's radius; angles are in radians."""

    count: tuple[int, int]
    length: float
    half_width: float
    outline: Outline
    rise: float = 0.25
    turn: float = 0.0
    foot: Hsv | None = None
    tip: Hsv | None = None


@dataclass(frozen=True)
class Centre:
    """The middle of a flower: a disc with florets, stamens on threads, or both."""

    radius: float
    inner: Hsv
    outer: Hsv
    florets: int = 9
    stamens: tuple[int, int] = (0, 0)
    reach: float = 0.0
    anther: Hsv = (0.13, 0.8, 0.95)


@dataclass(frozen=True)
class Leaf:
    """The leaves on the stem."""

    count: tuple[int, int]
    length: float
    half_width: float
    outline: Outline
    hue: float = 0.29


@dataclass(frozen=True)
class Species:
    """One kind of flower: its folder name, its title, what to look for, and how to paint it."""

    name: str
    title: str
    about: str
    foot: Hsv
    tip: Hsv
    rows: tuple[Row, ...]
    centre: Centre
    leaf: Leaf
    veins: float = 0.12
    vein_count: float = 3.0
    hue_spread: float = 0.014


_LANCE = Outline(0.6, 0.9)
_ROUND = Outline(0.7, 0.5)
_TOOTHED = Outline(0.6, 0.8, waves=7, depth=0.25)
_RAY = Outline(0.55, 0.32)

_CUP = Row((5, 6), 1.0, 0.52, Outline(0.75, 0.38), rise=0.4)
_CUP_CENTRE = Centre(0.15, (0.2, 0.6, 0.6), (0.16, 0.65, 0.75), 5, (8, 14), 0.36)
_CUP_LEAF = Leaf((1, 3), 0.9, 0.3, _ROUND, 0.3)
_BUTTON = Centre(0.24, (0.12, 0.85, 0.98), (0.1, 0.9, 0.8), 10)
_DAISY_LEAF = Leaf((1, 3), 0.8, 0.14, _TOOTHED, 0.27)
_SUN_ROWS = (
    Row((15, 20), 1.0, 0.17, Outline(0.5, 0.75), rise=0.12),
    Row((12, 16), 0.88, 0.15, Outline(0.5, 0.75), rise=0.22, turn=0.5),
)
_SUN_LEAF = Leaf((1, 3), 1.0, 0.36, Outline(0.5, 1.0), 0.26)
_ASTER_CENTRE = Centre(0.21, (0.13, 0.8, 0.9), (0.11, 0.85, 0.75), 9)
_ASTER_LEAF = Leaf((2, 4), 0.8, 0.1, _LANCE, 0.31)
_ASTER_ROW = Row((15, 19), 1.0, 0.12, Outline(0.6, 0.45), rise=0.15)

SPECIES: tuple[Species, ...] = (
    Species(
        "amber_cup",
        "Amber cup",
        "Five or six broad petals in amber; only its colour tells it from the coral cup and the plum cup.",
        (0.115, 0.95, 0.85),
        (0.125, 0.78, 1.0),
        (_CUP,),
        _CUP_CENTRE,
        _CUP_LEAF,
    ),
    Species(
        "coral_cup",
        "Coral cup",
        "The same broad cup as the amber and the plum cup, in coral pink.",
        (0.985, 0.8, 0.8),
        (0.0, 0.58, 0.98),
        (_CUP,),
        _CUP_CENTRE,
        _CUP_LEAF,
    ),
    Species(
        "plum_cup",
        "Plum cup",
        "The same broad cup again, in plum purple.",
        (0.83, 0.75, 0.55),
        (0.84, 0.55, 0.8),
        (_CUP,),
        _CUP_CENTRE,
        _CUP_LEAF,
    ),
    Species(
        "snow_daisy",
        "Snow daisy",
        "Many narrow white petals around a yellow button.",
        (0.2, 0.08, 0.82),
        (0.15, 0.02, 0.99),
        (Row((17, 23), 1.0, 0.115, _RAY, rise=0.12),),
        _BUTTON,
        _DAISY_LEAF,
        veins=0.07,
        vein_count=2,
    ),
    Species(
        "moon_daisy",
        "Moon daisy",
        "A daisy with few and broad white petals: nine to twelve, where the snow daisy has about twenty.",
        (0.2, 0.08, 0.82),
        (0.15, 0.02, 0.99),
        (Row((9, 12), 1.0, 0.22, _RAY, rise=0.12),),
        _BUTTON,
        _DAISY_LEAF,
        veins=0.07,
        vein_count=2,
    ),
    Species(
        "frost_star",
        "Frost star",
        "Six or seven white petals that end in a point, around a small tuft of stamens.",
        (0.22, 0.14, 0.8),
        (0.15, 0.02, 0.99),
        (Row((6, 7), 1.0, 0.24, Outline(0.6, 1.0), rise=0.2),),
        Centre(0.12, (0.19, 0.6, 0.75), (0.17, 0.6, 0.85), 5, (7, 12), 0.3),
        Leaf((2, 4), 0.9, 0.09, _LANCE, 0.33),
        veins=0.08,
    ),
    Species(
        "night_sun",
        "Night sun",
        "Golden rays around a large dark disc.",
        (0.095, 0.95, 0.85),
        (0.13, 0.88, 0.99),
        _SUN_ROWS,
        Centre(0.4, (0.07, 0.7, 0.14), (0.06, 0.75, 0.36), 15),
        _SUN_LEAF,
    ),
    Species(
        "honey_sun",
        "Honey sun",
        "The golden rays of the night sun, around a disc the colour of honey and moss.",
        (0.095, 0.95, 0.85),
        (0.13, 0.88, 0.99),
        _SUN_ROWS,
        Centre(0.4, (0.2, 0.7, 0.5), (0.1, 0.9, 0.72), 15),
        _SUN_LEAF,
    ),
    Species(
        "plain_aster",
        "Plain aster",
        "One row of narrow lilac petals around a yellow centre.",
        (0.76, 0.4, 0.75),
        (0.75, 0.42, 0.95),
        (_ASTER_ROW,),
        _ASTER_CENTRE,
        _ASTER_LEAF,
        hue_spread=0.022,
    ),
    Species(
        "frilled_aster",
        "Frilled aster",
        "A lilac aster with a second, shorter row of petals that stands up inside the first.",
        (0.76, 0.4, 0.75),
        (0.75, 0.42, 0.95),
        (
            _ASTER_ROW,
            Row((13, 16), 0.62, 0.1, Outline(0.6, 0.5), rise=0.45, turn=0.5, tip=(0.77, 0.3, 0.99)),
        ),
        _ASTER_CENTRE,
        _ASTER_LEAF,
        hue_spread=0.022,
    ),
    Species(
        "blue_quartet",
        "Blue quartet",
        "Four blue petals, each notched like a heart.",
        (0.62, 0.75, 0.62),
        (0.6, 0.6, 0.95),
        (Row((4, 4), 1.0, 0.5, Outline(0.8, 0.42, notch=0.3), rise=0.2),),
        Centre(0.13, (0.15, 0.5, 0.98), (0.14, 0.6, 0.9), 5, (4, 6), 0.24),
        Leaf((2, 4), 0.7, 0.2, _ROUND, 0.33),
        veins=0.16,
        vein_count=4,
        hue_spread=0.02,
    ),
    Species(
        "blue_pinwheel",
        "Blue pinwheel",
        "Five or six blue petals bent to one side, like the vanes of a pinwheel.",
        (0.62, 0.75, 0.62),
        (0.6, 0.6, 0.95),
        (Row((5, 6), 1.0, 0.27, Outline(0.7, 0.55, bend=0.55), rise=0.2),),
        Centre(0.13, (0.15, 0.5, 0.98), (0.14, 0.6, 0.9), 5, (4, 6), 0.24),
        Leaf((2, 4), 0.7, 0.2, _ROUND, 0.33),
        veins=0.16,
        vein_count=4,
        hue_spread=0.02,
    ),
)
