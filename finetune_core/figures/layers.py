"""The layer stack: one bar per group as a small SVG picture, ice when frozen and warm when thawed."""

WIDTH, HEIGHT = 600, 30
FROZEN = ("#A9D3F5", "#7FB6EC")
THAWED = ("#F2A950", "#E0652A")


def layer_bar(share: float, thawed: bool, colour: str) -> str:
    """A bar of `share` (0 to 1) of the full width; the small plate before it wears the group's own `colour`."""
    first, last = THAWED if thawed else FROZEN
    length = 6 + share * (WIDTH - 26)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<defs><linearGradient id="g"><stop offset="0" stop-color="{first}"/>'
        f'<stop offset="1" stop-color="{last}"/></linearGradient></defs>'
        f'<rect x="0" y="3" width="10" height="24" rx="5" fill="{colour}"/>'
        f'<rect x="20" y="3" width="{WIDTH - 20}" height="24" rx="8" fill="#8A93A3" fill-opacity="0.13"/>'
        f'<rect x="20" y="3" width="{length:.1f}" height="24" rx="{min(8, length / 2):.1f}" fill="url(#g)"/></svg>'
    )
