"""Painting one flower: a pose in space, a stem with leaves, petals from back to front, and the centre."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from finetune_core.blooms.paint import Array, Canvas, Finish, Frame, Hsv, Outline, Point, ramp, rgb
from finetune_core.blooms.species import Centre, Row, Species


@dataclass(frozen=True)
class Pose:
    """How a flower stands before the camera: where, how large, turned about its axis, tilted towards a side."""

    centre: Point
    radius: float
    spin: float
    tilt: float
    lean: float

    @staticmethod
    def drawn(rng: np.random.Generator, centre: Point, radius: float) -> Pose:
        """A random pose: most flowers face the camera, some are tilted, as a rule upwards or sideways."""
        tilt = min(abs(rng.normal(0.0, 0.5)), 1.1)
        return Pose(centre, radius, rng.uniform(0, 2 * math.pi), tilt, rng.normal(0.0, 0.9))

    def project(self, x: float, y: float, z: float) -> Point:
        """A vector of the flower (z along its axis, towards the viewer when not tilted) as an arrow in the picture."""
        y = y * math.cos(self.tilt) - z * math.sin(self.tilt)
        c, s = math.cos(self.lean), math.sin(self.lean)
        return ((x * c - y * s) * self.radius, (x * s + y * c) * self.radius)

    def petal(self, angle: float, rise: float, start: float, length: float, half_width: float) -> Frame:
        """Where a flat petal lies that leaves the axis at `angle` and stands up by `rise`."""
        angle += self.spin
        out, up = math.cos(rise), math.sin(rise)
        along = self.project(length * out * math.cos(angle), length * out * math.sin(angle), length * up)
        across = self.project(-half_width * math.sin(angle), half_width * math.cos(angle), 0.0)
        foot = self.project(start * math.cos(angle), start * math.sin(angle), 0.0)
        # Seen edge-on a petal would vanish; real ones are thick and curl, so keep some breadth.
        area, least = along[0] * across[1] - along[1] * across[0], 0.3 * half_width * self.radius
        size = math.hypot(*along) + 1e-9
        breadth = area / size
        if abs(breadth) < least:
            push = math.copysign(least, breadth) - breadth
            across = (across[0] - along[1] / size * push, across[1] + along[0] / size * push)
        return Frame((self.centre[0] + foot[0], self.centre[1] + foot[1]), along, across)

    def depth(self, angle: float) -> float:
        """Grows towards the viewer: the near side of a tilted flower is its lower side."""
        return math.sin(angle + self.spin) * math.sin(self.tilt)


@dataclass(frozen=True)
class Tints:
    """How this plant's colours differ from the species'."""

    hue: float
    saturation: float
    value: float

    def of(self, colour: Hsv) -> Array:
        """A colour of the species as this plant wears it."""
        return rgb((colour[0] + self.hue, colour[1] * self.saturation, colour[2] * self.value))


def _leaf_colours(rng: np.random.Generator, hue: float) -> Array:
    hue, value = hue + rng.normal(0, 0.025), rng.uniform(0.25, 0.5)
    return ramp([rgb((hue, 0.7, value * 0.8)), rgb((hue, 0.65, value)), rgb((hue - 0.03, 0.55, value * 1.15))])


def paint_stem(canvas: Canvas, rng: np.random.Generator, species: Species, pose: Pose, soft: float) -> None:
    """The stem from below the picture to the flower, its leaves, and often one leaf right behind the petals."""
    leaf = species.leaf
    back = pose.project(0.0, 0.0, -0.12)
    top = (pose.centre[0] + back[0], pose.centre[1] + back[1])
    foot = (top[0] + rng.normal(0, 0.12), max(1.08, top[1] + 0.3))
    rise, run = top[1] - foot[1], top[0] - foot[0]
    length, angle = math.hypot(run, rise), math.atan2(rise, run)
    stalk = Frame.turned(foot, angle, length, pose.radius * rng.uniform(0.045, 0.075))
    colours = _leaf_colours(rng, leaf.hue)
    canvas.blade(
        stalk, Outline(0.03, 0.03, bend=rng.normal(0, 0.8)), Finish(colours, shadow=0.25, bulge=1.0), soft=soft
    )
    for index in range(int(rng.integers(leaf.count[0], leaf.count[1] + 1))):
        at = rng.uniform(0.35, 0.95)
        side = 1 if (index % 2) else -1
        root = (foot[0] + run * at, foot[1] + rise * at)
        size = rng.uniform(0.75, 1.25) * pose.radius
        frame = Frame.turned(
            root, angle + side * rng.uniform(0.4, 1.3), leaf.length * size, leaf.half_width * size * rng.uniform(0.6, 1)
        )
        outline = replace(leaf.outline, bend=rng.normal(0, 0.25))
        canvas.blade(
            frame, outline, Finish(_leaf_colours(rng, leaf.hue), veins=0.12, vein_count=5, midrib=0.2), soft=soft
        )


def paint_row(
    canvas: Canvas, rng: np.random.Generator, species: Species, row: Row, pose: Pose, tints: Tints, soft: float
) -> None:
    """One ring of petals, the far ones first."""
    count = int(rng.integers(row.count[0], row.count[1] + 1))
    foot, tip = tints.of(row.foot or species.foot), tints.of(row.tip or species.tip)
    colours = ramp([foot, (foot + tip) / 2, tip, tip])
    finish = Finish(colours, veins=species.veins, vein_count=species.vein_count, shadow=0.3, edge=0.06)
    stretch, breadth, rise = rng.uniform(0.9, 1.1), rng.uniform(0.85, 1.15), row.rise + rng.normal(0, 0.1)
    start = 0.4 * species.centre.radius
    petals = [2 * math.pi * (i + row.turn + rng.normal(0, 0.07)) / count for i in range(count)]
    # A missing petal now and then, as after wind.
    if count > 8 and rng.random() < 0.2:
        petals.pop(int(rng.integers(count)))
    for angle in sorted(petals, key=lambda a: pose.depth(a) + rng.normal(0, 0.1)):
        length = row.length * stretch * (1 + rng.normal(0, 0.05)) - start
        width = row.half_width * breadth * (1 + rng.normal(0, 0.07))
        outline = replace(row.outline, bend=row.outline.bend + rng.normal(0, 0.08))
        tone = np.float32(1.0 + rng.normal(0, 0.045))
        frame = pose.petal(angle, rise + rng.normal(0, 0.1), start, length, width)
        canvas.blade(frame, outline, replace(finish, colours=colours * tone), soft=soft)


def paint_centre(
    canvas: Canvas, rng: np.random.Generator, centre: Centre, pose: Pose, tints: Tints, soft: float
) -> None:
    """The disc, then the stamens on it."""
    radius = centre.radius * rng.uniform(0.88, 1.12)
    lift = pose.project(0.0, 0.0, 0.45 * radius)
    middle = (pose.centre[0] + lift[0], pose.centre[1] + lift[1])
    disc = Frame(middle, pose.project(radius, 0.0, 0.0), pose.project(0.0, radius, 0.0))
    colours = ramp([tints.of(centre.inner), tints.of(centre.outer), tints.of(centre.outer) * np.float32(0.9)])
    canvas.dome(disc, Finish(colours, bulge=0.7, shadow=0.4), soft=soft, florets=centre.florets, relief=0.28)
    low, high = centre.stamens
    if not high:
        return
    count = int(rng.integers(low, high + 1))
    thread, anther = ramp([tints.of(centre.outer), tints.of(centre.anther)]), tints.of(centre.anther)
    tips = ramp([anther, anther * np.float32(0.75)])
    for i in range(count):
        reach = centre.reach * rng.uniform(0.7, 1.1)
        frame = pose.petal(2 * math.pi * (i + rng.normal(0, 0.15)) / count, 0.9, 0.3 * radius, reach, 0.016)
        canvas.blade(frame, Outline(0.05, 0.05), Finish(thread, shadow=0.2, mottle=0), soft=soft)
        end = (frame.foot[0] + frame.along[0], frame.foot[1] + frame.along[1])
        size = 0.05 * pose.radius
        canvas.dome(Frame.turned(end, 0.0, size, size), Finish(tips, shadow=0.25, mottle=0), soft=soft)


def paint_flower(canvas: Canvas, rng: np.random.Generator, species: Species, pose: Pose, soft: float = 0.0) -> None:
    """A whole plant; `soft` is how far it is out of focus, in pixels of a 192-pixel picture."""
    value = 1 + float(np.clip(rng.normal(0, 0.07), -0.2, 0.12))
    tints = Tints(float(np.clip(rng.normal(0, species.hue_spread), -0.03, 0.03)), rng.uniform(0.8, 1.1), value)
    paint_stem(canvas, rng, species, pose, soft)
    for row in species.rows:
        paint_row(canvas, rng, species, row, pose, tints, soft)
    paint_centre(canvas, rng, species.centre, pose, tints, soft)
