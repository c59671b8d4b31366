"""Ice to ember: one colour for life per layer group, and the few others that charts need.

Every colour has a contrast of at least 3 : 1 on a white page and on a near-black one.
"""

from collections.abc import Sequence

# From the cool stem to the warm head, on the way round that blue and orange leave to colour-blind eyes.
_RAMP = ("#2F9BC6", "#4C7FD9", "#8A6CCB", "#B8609E", "#DB6167", "#E8732A")

ICE = "#3B8FDB"
EMBER = "#E8732A"
GREY = "#8A93A3"
FAINT = "rgba(138, 147, 163, 0.45)"
GRID = "rgba(138, 147, 163, 0.18)"
SHADE = "rgba(138, 147, 163, 0.08)"
BAND = "rgba(232, 115, 42, 0.10)"

# For runs over each other: neighbours in the list lie far apart on the circle of colours.
LINES = (ICE, EMBER, "#399D57", "#C96DAD", "#9A8700", "#A07CDB", "#009EA7", "#DB6C66", "#739425", "#7A89E7")


def group_colours(names: Sequence[str]) -> dict[str, str]:
    """One colour per layer group, from ice (the first, the stem) to ember (the last, the head), as `#RRGGBB`."""
    last = max(len(names) - 1, 1)
    return {name: _ramp(index / last if len(names) > 1 else 1.0) for index, name in enumerate(names)}


def warmth(share: float) -> str:
    """The colour of a phase that thaws this share of the groups, as `#RRGGBB`: the more, the warmer."""
    return _ramp(share)


def faded(colour: str, opacity: float) -> str:
    """The `#RRGGBB` colour as `rgba(…)` with an opacity in [0, 1]."""
    red, green, blue = _channels(colour)
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def _ramp(position: float) -> str:
    place = position * (len(_RAMP) - 1)
    index = min(int(place), len(_RAMP) - 2)
    pairs = zip(_channels(_RAMP[index]), _channels(_RAMP[index + 1]), strict=True)
    return "#" + "".join(f"{round(low + (high - low) * (place - index)):02X}" for low, high in pairs)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
