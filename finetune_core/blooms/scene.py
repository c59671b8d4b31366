"""What lies around the subject: backgrounds out of focus, the light of the hour, and the finish of the photograph."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from finetune_core.blooms.paint import Array, Canvas, Finish, Frame, Light, Outline, noise, ramp, resized, rgb

SMALL = 64  # Backgrounds are out of focus, so they are painted this small and enlarged.


def _wash(rng: np.random.Generator, stops: list[Array], slant: float, rough: float) -> Array:
    """A gradient from top to bottom through the stops, stirred by smooth noise."""
    t = np.linspace(0.0, 1.0, SMALL, dtype=np.float32)
    field = t[:, None] * (1.0 - abs(slant)) + np.float32(slant) * (t[None, :] - 0.5)
    field = field + np.float32(rough) * noise(rng, SMALL, 4, 9)
    table = ramp(stops)
    return table[(np.clip(field, 0.0, 1.0) * (len(table) - 1)).astype(np.intp)]


def _bokeh(canvas: Canvas, rng: np.random.Generator, count: int, hue: float, value: float) -> None:
    """Discs of light, as an open lens makes them of bright points."""
    for _ in range(count):
        colour = rgb((hue + rng.normal(0, 0.05), rng.uniform(0.1, 0.6), value * rng.uniform(0.7, 1.1)))
        radius = rng.uniform(0.03, 0.11)
        frame = Frame.turned((rng.uniform(0, 1), rng.uniform(0, 1)), 0.0, radius, radius)
        canvas.dome(
            frame,
            Finish(ramp([colour, colour * np.float32(1.08)]), opacity=rng.uniform(0.1, 0.45), bulge=0, shadow=0),
            soft=rng.uniform(2, 8),
            round_=0,
        )


def _strew(canvas: Canvas, rng: np.random.Generator, count: int, hue: float, length: float, width: float) -> None:
    """Blades of grass or fallen leaves, out of focus."""
    for _ in range(count):
        value = rng.uniform(0.18, 0.62)
        foot, tip = rgb((hue + rng.normal(0, 0.03), 0.6, value)), rgb((hue + rng.normal(0, 0.03), 0.5, value + 0.15))
        angle = -math.pi / 2 + rng.normal(0, 0.45) if length > 0.5 else rng.uniform(0, 2 * math.pi)
        frame = Frame.turned(
            (rng.uniform(-0.1, 1.1), rng.uniform(0.4, 1.2) if length > 0.5 else rng.uniform(-0.1, 1.1)),
            angle,
            length * rng.uniform(0.6, 1.3),
            width * rng.uniform(0.6, 1.5),
        )
        outline = Outline(0.5, 0.9, bend=rng.normal(0, 1.2) if length > 0.5 else rng.normal(0, 0.2))
        canvas.blade(frame, outline, Finish(ramp([foot, tip]), shadow=0.25, midrib=0.1), soft=rng.uniform(3, 9))


def meadow(rng: np.random.Generator) -> Canvas:
    """Sunlit green with bokeh."""
    hue, value = rng.uniform(0.2, 0.38), rng.uniform(0.25, 0.6)
    stops = [rgb((hue - 0.03, 0.4, value + 0.25)), rgb((hue, 0.6, value)), rgb((hue + 0.05, 0.7, value * 0.55))]
    canvas = Canvas(SMALL, _wash(rng, stops, rng.uniform(-0.4, 0.4), 0.16))
    _bokeh(canvas, rng, int(rng.integers(4, 14)), hue - 0.06, 1.0)
    return canvas


def grass(rng: np.random.Generator) -> Canvas:
    """Standing grass behind the subject."""
    hue = rng.uniform(0.2, 0.36)
    stops = [rgb((hue, 0.5, rng.uniform(0.35, 0.7))), rgb((hue + 0.04, 0.65, 0.2))]
    canvas = Canvas(SMALL, _wash(rng, stops, 0.0, 0.12))
    _strew(canvas, rng, int(rng.integers(12, 22)), hue, 0.9, 0.025)
    return canvas


def soil(rng: np.random.Generator) -> Canvas:
    """Garden earth with pebbles."""
    hue, value = rng.uniform(0.04, 0.1), rng.uniform(0.2, 0.45)
    stops = [rgb((hue, 0.35, value * 1.3)), rgb((hue, 0.5, value)), rgb((hue - 0.02, 0.55, value * 0.45))]
    canvas = Canvas(SMALL, _wash(rng, stops, rng.uniform(-0.5, 0.5), 0.3))
    canvas.pixels *= (1.0 + 0.12 * noise(rng, SMALL, 24, 48))[..., None]
    for _ in range(int(rng.integers(2, 9))):
        tone = rgb((rng.uniform(0.03, 0.14), rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.7)))
        length = rng.uniform(0.03, 0.09)
        frame = Frame.turned((rng.uniform(0, 1), rng.uniform(0, 1)), rng.uniform(0, 3), length, length * 0.7)
        canvas.dome(frame, Finish(ramp([tone, tone * np.float32(0.8)]), shadow=0.5), soft=2.0)
    return canvas


def sky(rng: np.random.Generator) -> Canvas:
    """Open sky with a little cloud, seen from below."""
    hue, value = rng.uniform(0.53, 0.62), rng.uniform(0.65, 0.95)
    top, low = rgb((hue, rng.uniform(0.35, 0.65), value)), rgb((hue - 0.03, rng.uniform(0.08, 0.3), value + 0.05))
    canvas = Canvas(SMALL, _wash(rng, [top, low], rng.uniform(-0.3, 0.3), 0.05))
    cloud = np.clip(noise(rng, SMALL, 4, 8, 16) * 0.35 + rng.uniform(-0.3, 0.2), 0.0, 0.7)[..., None]
    canvas.pixels += cloud * (np.float32(0.97) - canvas.pixels)
    return canvas


def dusk(rng: np.random.Generator) -> Canvas:
    """The last light: violet above, embers below, lamps far away."""
    top, low = rgb((rng.uniform(0.66, 0.82), 0.5, rng.uniform(0.2, 0.45))), rgb((rng.uniform(0.02, 0.1), 0.65, 0.7))
    canvas = Canvas(SMALL, _wash(rng, [top, rgb((0.93, 0.45, 0.45)), low], rng.uniform(-0.3, 0.3), 0.12))
    _bokeh(canvas, rng, int(rng.integers(3, 10)), 0.09, 1.0)
    return canvas


def shade(rng: np.random.Generator) -> Canvas:
    """A dark thicket, so that the subject stands out."""
    hue = rng.uniform(0.25, 0.5)
    stops = [rgb((hue, 0.5, rng.uniform(0.1, 0.3))), rgb((hue + 0.05, 0.6, 0.06))]
    canvas = Canvas(SMALL, _wash(rng, stops, rng.uniform(-0.5, 0.5), 0.2))
    _bokeh(canvas, rng, int(rng.integers(0, 6)), hue, 0.6)
    return canvas


def litter(rng: np.random.Generator) -> Canvas:
    """A floor of leaves, green or autumnal."""
    hue = rng.uniform(0.05, 0.12) if rng.random() < 0.5 else rng.uniform(0.22, 0.36)
    canvas = Canvas(SMALL, _wash(rng, [rgb((hue, 0.5, 0.32)), rgb((hue + 0.03, 0.55, 0.15))], 0.2, 0.2))
    _strew(canvas, rng, int(rng.integers(10, 18)), hue, 0.3, 0.07)
    return canvas


BACKGROUNDS: tuple[Callable[[np.random.Generator], Canvas], ...] = (meadow, grass, soil, sky, dusk, shade, litter)


def sunlight(rng: np.random.Generator) -> Light:
    """Light from somewhere above, of a colour between candle and overcast sky."""
    angle = rng.uniform(-2.8, -0.35)
    warmth = float(np.clip(rng.normal(0.0, 0.55), -1.0, 1.3))
    tint = (1.0 + 0.10 * warmth, 1.0 + 0.01 * warmth, 1.0 - 0.14 * warmth)
    return Light((math.cos(angle), math.sin(angle)), rng.uniform(0.2, 0.7), tint)


def stage(rng: np.random.Generator, size: int) -> Canvas:
    """A canvas with a background and a light, ready for the subject."""
    background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))](rng)
    planes = [resized(np.ascontiguousarray(background.pixels[..., c]), size) for c in range(3)]
    return Canvas(size, np.stack(planes, axis=2), sunlight(rng), noise(rng, size, 12, 48))


def foreground(canvas: Canvas, rng: np.random.Generator) -> None:
    """A blade of grass or a leaf close to the lens: it hides part of the subject."""
    hue = rng.uniform(0.2, 0.36)
    value = rng.uniform(0.2, 0.6)
    colours = ramp([rgb((hue, 0.7, value)), rgb((hue - 0.03, 0.55, value + 0.15))])
    broad = rng.random() < 0.4
    frame = Frame.turned(
        (rng.uniform(0.0, 1.0), 1.1),
        -math.pi / 2 + rng.normal(0, 0.5),
        rng.uniform(0.6, 1.1),
        rng.uniform(0.06, 0.11) if broad else rng.uniform(0.012, 0.03),
    )
    outline = Outline(0.4, 0.8, bend=rng.normal(0, 0.3 if broad else 1.5))
    canvas.blade(frame, outline, Finish(colours, midrib=0.12, veins=0.06, vein_count=6), soft=rng.uniform(1.5, 6.0))


def develop(canvas: Canvas, rng: np.random.Generator) -> None:
    """What the camera adds: the tint of the light, exposure, contrast, darker corners and a little grain."""
    size = canvas.size
    tint = np.asarray(canvas.light.tint, np.float32) * np.float32(rng.uniform(0.82, 1.15))
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    corners = 1.0 - np.float32(rng.uniform(0.0, 0.28)) * 0.5 * (axis[None, :] ** 2 + axis[:, None] ** 2)
    # Light falls off across the picture, away from where it comes from.
    dx, dy = canvas.light.direction
    falloff = 1.0 + np.float32(0.18 * canvas.light.strength) * (np.float32(dx) * axis[None, :] + dy * axis[:, None])
    contrast = np.float32(rng.uniform(0.85, 1.2))
    pixels = canvas.pixels
    pixels *= (corners * falloff)[..., None].astype(np.float32)
    pixels *= tint
    pixels -= np.float32(0.42)
    pixels *= contrast
    pixels += np.float32(0.42)
    sensor = noise(rng, size, 192) * np.float32(rng.uniform(0.002, 0.009))
    pixels += sensor[..., None]
