"""A small painting kit: shapes with soft shading, stamped on a float canvas.

Everything is drawn in picture units (0..1 across the canvas), so one scene looks the same at any pixel size. A shape
works out its own coverage at its edge, which gives clean edges without drawing larger and shrinking: that is what
keeps a whole picture under some fifteen milliseconds.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating[Any]]  # Single precision throughout; sums with Python numbers keep it.
Point = tuple[float, float]
Hsv = tuple[float, float, float]

TABLE = 512  # Entries of the look-up tables along a shape: finer than any shape is long in pixels.


def rgb(colour: Hsv) -> Array:
    """Hue (turns, any real number), saturation and value (clipped to 0..1) as an RGB triple."""
    hue, saturation, value = colour
    return np.array(
        colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)), np.float32
    )


def ramp(stops: Sequence[Array]) -> Array:
    """A table of colours running evenly through the stops."""
    at = np.linspace(0.0, 1.0, len(stops))
    t = np.linspace(0.0, 1.0, TABLE)
    return np.stack([np.interp(t, at, [stop[c] for stop in stops]) for c in range(3)], axis=1).astype(np.float32)


def resized(plane: Array, size: int) -> Array:
    """A small grey plane, smoothly enlarged (or shrunk) to size x size."""
    return np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC), np.float32)


def noise(rng: np.random.Generator, size: int, *cells: int) -> Array:
    """Smooth noise around 0: a sum of random grids, each enlarged; finer grids weigh less."""
    total = np.zeros((size, size), np.float32)
    for octave, cell in enumerate(cells):
        total += resized(rng.standard_normal((cell, cell), np.float32), size) / (1.0 + octave)
    return total


@dataclass(frozen=True)
class Light:
    """Where the light comes from (unit vector in the picture; y points down), how hard it is, and its tint."""

    direction: Point = (-0.6, -0.8)
    strength: float = 0.35
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Frame:
    """Where a shape lies: its foot, the arrow along it to its tip, and the arrow across it to its widest edge."""

    foot: Point
    along: Point
    across: Point

    @staticmethod
    def turned(foot: Point, angle: float, length: float, half_width: float) -> Frame:
        """An upright frame: `angle` in radians, 0 to the right, growing clockwise as y points down."""
        c, s = math.cos(angle), math.sin(angle)
        return Frame(foot, (c * length, s * length), (-s * half_width, c * half_width))


@dataclass(frozen=True)
class Outline:
    """The edge of a blade: widest nearer the foot or the tip, blunt or pointed, notched, wavy, bent sideways."""

    foot: float = 0.8
    tip: float = 0.5
    notch: float = 0.0
    waves: float = 0.0
    depth: float = 0.0
    bend: float = 0.0

    def tables(self, soft: float) -> tuple[Array, Array]:
        """Half-width along the blade (0..1, largest 1) and its slope, as tables."""
        return _profile(self.foot, self.tip, self.waves, self.depth, int(4 + 12 * soft))


@lru_cache(maxsize=256)
def _profile(foot: float, tip: float, waves: float, depth: float, reach: int) -> tuple[Array, Array]:
    u = np.linspace(0.0, 1.0, TABLE)
    widest = foot / (foot + tip)
    width = (u / widest) ** foot * ((1.0 - u) / (1.0 - widest)) ** tip
    if waves:
        width *= 1.0 + depth * (np.abs(np.sin(np.pi * waves * u)) - 1.0)
    # The slope turns widths into distances from the edge. At a blunt end it is infinite, but only there, so it is
    # taken over a stretch that grows with the softness of the edge.
    padded = np.pad(width, reach)
    slope = (padded[2 * reach :] - padded[: -2 * reach]) * (TABLE / (2.0 * reach))
    return width.astype(np.float32), slope.astype(np.float32)


@dataclass(frozen=True)
class Finish:
    """What a surface is like: colours from foot to tip, veins, how it bulges under the light, its contact shadow."""

    colours: Array
    veins: float = 0.0
    vein_count: float = 3.0
    midrib: float = 0.0
    bulge: float = 0.6
    shadow: float = 0.35
    edge: float = 0.0
    mottle: float = 0.03
    bands: float = 0.0
    band_count: float = 0.0
    opacity: float = 1.0


@dataclass
class Canvas:
    """An RGB picture of floats that shapes are stamped on."""

    size: int
    pixels: Array
    light: Light = field(default_factory=Light)
    grain: Array | None = None

    def window(self, frame: Frame, low: float, high: float, side: float, margin: float) -> Window | None:
        """The part of the canvas that u in [low, high], v in [-side, side] of the frame can touch."""
        (fx, fy), (ax, ay), (bx, by) = frame.foot, frame.along, frame.across
        xs = [fx + u * ax + v * bx for u in (low, high) for v in (-side, side)]
        ys = [fy + u * ay + v * by for u in (low, high) for v in (-side, side)]
        n, margin = self.size, margin * max(1.0, self.size / 192)
        x0, x1 = max(int((min(xs)) * n - margin), 0), min(int((max(xs)) * n + margin) + 2, n)
        y0, y1 = max(int((min(ys)) * n - margin), 0), min(int((max(ys)) * n + margin) + 2, n)
        det = ax * by - ay * bx
        if x0 >= x1 or y0 >= y1 or abs(det) < 1e-9:
            return None
        x = (np.arange(x0, x1, dtype=np.float32) + 0.5) / n - fx
        y = (np.arange(y0, y1, dtype=np.float32) + 0.5) / n - fy
        du, dv = (by / det, -bx / det), (-ay / det, ax / det)
        u = np.float32(du[0]) * x[None, :] + np.float32(du[1]) * y[:, None]
        v = np.float32(dv[0]) * x[None, :] + np.float32(dv[1]) * y[:, None]
        return Window((slice(y0, y1), slice(x0, x1)), u, v, du, dv)

    def lit(self, arrow: Point) -> float:
        """How much a surface that leans along the arrow faces the light, -1..1 times the strength of the light."""
        length = math.hypot(*arrow) + 1e-9
        dx, dy = self.light.direction
        return self.light.strength * (arrow[0] * dx + arrow[1] * dy) / length

    def blend(self, area: tuple[slice, slice], inside: Array, colour: Array, finish: Finish, soft: float) -> None:
        """Lay colour where `inside` (signed distance from the edge, pixels) is positive, a faint shadow around it."""
        part = self.pixels[area]
        scale = self.size / 192.0
        if finish.shadow:
            reach = np.float32((4.0 + 2.0 * soft) * scale)
            near = np.clip(1.0 + inside / reach, 0.0, 1.0)
            part *= (1.0 - np.float32(finish.shadow) * near * near)[..., None]
        alpha = np.clip(inside / np.float32(max(soft * scale, 1.3)) + 0.5, 0.0, 1.0) * np.float32(finish.opacity)
        part += alpha[..., None] * (colour - part)

    def blade(self, frame: Frame, outline: Outline, finish: Finish, soft: float = 0.0) -> None:
        """A petal, leaf, wing, stalk or grass blade: anything longer than wide that tapers at its ends."""
        side = 1.0 + abs(outline.bend)
        window = self.window(frame, -0.02, 1.02, side, 3.0 + 5.0 * soft)
        if window is None:
            return
        u, v = window.u, window.v
        if outline.bend:
            v = v - np.float32(outline.bend) * 4.0 * u * (1.0 - u)
        if outline.notch:
            u = u * (1.0 + np.float32(outline.notch) * np.exp(-(v * v) * 8.0))
        at = (np.clip(u, 0.0, 1.0) * (TABLE - 1)).astype(np.intp)
        widths, slopes = outline.tables(soft)
        width, slope = widths[at], slopes[at]
        cross = v / (width + 0.05)
        colour = finish.colours[at]
        # Curvature across and along turns the surface to or from the light.
        (du, dv), sign = (window.du, window.dv), np.sign(v)
        shade = np.float32(1.0) + np.clip(cross, -1.2, 1.2) * np.float32(finish.bulge * self.lit(frame.across))
        shade += (u - 0.45) * np.float32(finish.bulge * self.lit(frame.along))
        if finish.veins:
            fan = np.cos(cross * np.float32(math.pi * finish.vein_count))
            shade -= np.float32(finish.veins) * fan * fan * fan * np.clip(1.15 - u, 0.0, 1.0)
        if finish.bands:
            shade -= np.float32(finish.bands) * np.cos(u * np.float32(2 * math.pi * finish.band_count) + np.abs(cross))
        if finish.midrib:
            shade += np.float32(finish.midrib) * np.exp(-cross * cross * 60.0)
        if finish.edge:
            shade -= np.float32(finish.edge) * np.clip(np.abs(cross) * 2.5 - 1.5, 0.0, 1.0)
        if self.grain is not None and finish.mottle:
            shade += np.float32(finish.mottle) * self.grain[window.area]
        gx = slope * np.float32(du[0]) - sign * np.float32(dv[0])
        gy = slope * np.float32(du[1]) - sign * np.float32(dv[1])
        inside = (width - np.abs(v)) * np.float32(self.size) / np.sqrt(gx * gx + gy * gy + 1e-6)
        # That estimate is too small far beside a blunt end, where the slope is steep.
        wide = math.hypot(*frame.across) * self.size
        inside = np.minimum(inside, (width + np.float32(0.25) - np.abs(v)) * np.float32(wide))
        # Beyond foot and tip the width is 0, so the distance across no longer tells how far away the shape is.
        beyond = np.maximum(np.maximum(-u, u - 1.0), 0.0) * np.float32(math.hypot(*frame.along) * self.size)
        self.blend(window.area, inside - beyond, colour * shade[..., None], finish, soft)

    def dome(
        self, frame: Frame, finish: Finish, soft: float = 0.0, florets: int = 0, relief: float = 0.3, round_: float = 1
    ) -> None:
        """A ball, button, berry or flower centre around the foot; `florets` lays a spiral lattice of bumps on it."""
        window = self.window(frame, -1.0, 1.0, 1.0, 3.0 + 5.0 * soft)
        if window is None:
            return
        u, v = window.u, window.v
        radius = np.sqrt(u * u + v * v)
        at = (np.clip(radius, 0.0, 1.0) * (TABLE - 1)).astype(np.intp)
        colour = finish.colours[at]
        lean = u * np.float32(self.lit(frame.along)) + v * np.float32(self.lit(frame.across))
        shade = 1.0 + np.float32(1.6 * finish.bulge) * lean - np.float32(0.25 * round_) * radius * radius
        if florets:
            turn = np.arctan2(v, u) * np.float32(florets)
            whorl = np.sqrt(radius) * np.float32(florets * 2.2)
            shade += np.float32(relief) * np.sin(turn + whorl) * np.sin(turn - whorl)
        if finish.bands:
            shade -= np.float32(finish.bands) * np.cos(radius * np.float32(2 * math.pi * finish.band_count))
        if self.grain is not None and finish.mottle:
            shade += np.float32(finish.mottle) * self.grain[window.area]
        span = 0.5 * (math.hypot(*frame.along) + math.hypot(*frame.across))
        inside = (1.0 - radius) * np.float32(span * self.size)
        self.blend(window.area, inside, colour * shade[..., None], finish, soft)

    def image(self) -> Image.Image:
        """The picture as 8-bit RGB."""
        return Image.fromarray((np.clip(self.pixels, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


@dataclass(frozen=True)
class Window:
    """A part of the canvas with a frame's coordinates (u along, v across) at each pixel, and their gradients."""

    area: tuple[slice, slice]
    u: Array
    v: Array
    du: Point
    dv: Point
