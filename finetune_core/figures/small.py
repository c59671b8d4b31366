"""Small pictures in SVG: a bar for a layer group, ice when frozen and warm when thawed, and the course of a run."""

import html
from collections.abc import Sequence

WIDTH, HEIGHT = 600, 30
FROZEN = ("#A9D3F5", "#7FB6EC")
THAWED = ("#F2A950", "#E0652A")
SPARK = (240, 48)


def layer_bar(share: float, thawed: bool, colour: str) -> str:
    """A bar of `share` (0 to 1) of its track; the small plate before it wears the group's own `colour`.

    The smallest shares are drawn as a sliver of three, so that one sees that there is something.
    """
    first, last = THAWED if thawed else FROZEN
    length = max(3.0, share * (WIDTH - 20))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<defs><linearGradient id="g"><stop offset="0" stop-color="{first}"/>'
        f'<stop offset="1" stop-color="{last}"/></linearGradient></defs>'
        f'<rect x="0" y="3" width="10" height="24" rx="5" fill="{colour}"/>'
        f'<rect x="20" y="3" width="{WIDTH - 20}" height="24" rx="8" fill="#8A93A3" fill-opacity="0.13"/>'
        f'<rect x="20" y="3" width="{length:.1f}" height="24" rx="{min(8, length / 2):.1f}" fill="url(#g)"/></svg>'
    )


def sparkline(values: Sequence[float], told: str) -> str:
    """`values` as a line without axes, in the colour of the text around it; a screen reader is given `told`."""
    width, height = SPARK
    low, high = min(values), max(values)
    step, scale = (width - 4) / max(len(values) - 1, 1), (height - 4) / ((high - low) or 1.0)
    line = " ".join(f"{2 + step * n:.1f},{height - 2 - scale * (value - low):.1f}" for n, value in enumerate(values))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="100%" height="{height}"'
        f' preserveAspectRatio="none" role="img" aria-label="{html.escape(told)}">'
        f'<polygon points="2,{height} {line} {width - 2},{height}" fill="currentColor" fill-opacity="0.12"/>'
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round"'
        f' vector-effect="non-scaling-stroke"/></svg>'
    )
