"""The source task: drawn things that are not flowers, and what can be said of each.

Leaves, shells, butterflies, beetles, mushrooms, starfish, berries, feathers, caterpillars and radial ornaments, painted
with Blooms' kit on the same kinds of background. What is asked of a picture is what tells natural things apart: their
kind, how many parts they have, the form of a part, its hue and a second hue, and the number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace

import numpy as np
from PIL import Image

from finetune_core.blooms import scene
from finetune_core.blooms.flower import Pose
from finetune_core.blooms.paint import Array, Canvas, Finish, Frame, Outline, Point, ramp, rgb

HUES = 13  # Twelve sectors of the colour circle, and white.
COUNTS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 21)  # The lowest number of each bin of "how many".
FORMS = (
    Outline(0.7, 0.4),
    Outline(1.0, 1.0),
    Outline(0.6, 0.9),
    Outline(0.8, 0.42, notch=0.3),
    Outline(0.7, 0.55, bend=0.55),
    Outline(0.6, 0.7, waves=6, depth=0.3),
    Outline(0.12, 0.12),
    Outline(1.3, 0.4),
)
# Ornaments are jewels, gears and snowflakes: no form that could pass for a petal.
CUT = {1: Outline(1.0, 1.0), 4: Outline(1.0, 1.0, bend=0.55), 5: Outline(0.3, 0.5, waves=5, depth=0.5), 6: FORMS[6]}


@dataclass(frozen=True)
class Facts:
    """The answers for one picture: kind, bin of the count, form, hue, second hue, rows."""

    kind: int
    count: int
    form: int
    hue: int
    second: int
    rows: int


QUESTIONS = {"kind": 11, "count": len(COUNTS), "form": len(FORMS), "hue": HUES, "second": HUES, "rows": 3}


@dataclass(frozen=True)
class Subject:
    """What is to be drawn, before its place and pose are chosen."""

    facts: Facts
    count: int
    seed: int

    @property
    def form(self) -> Outline:
        """The outline of its parts."""
        return FORMS[self.facts.form]


def _colour(rng: np.random.Generator, sector: int, value: float = 1.0) -> Array:
    """A colour inside a sector of the colour circle; the last sector is white."""
    if sector == HUES - 1:
        return rgb((rng.uniform(0, 1), rng.uniform(0.0, 0.08), rng.uniform(0.85, 1.0) * value))
    hue = (sector + rng.uniform(0.15, 0.85)) / (HUES - 1)
    return rgb((hue, rng.uniform(0.5, 0.95), rng.uniform(0.55, 1.0) * value))


def _surface(rng: np.random.Generator, sector: int) -> Finish:
    foot, tip = _colour(rng, sector, rng.uniform(0.65, 1.0)), _colour(rng, sector)
    return Finish(
        ramp([foot, (foot + tip) / 2, tip]),
        veins=rng.uniform(0, 0.2) if rng.random() < 0.6 else 0.0,
        vein_count=float(rng.integers(2, 7)),
        bulge=rng.uniform(0.4, 1.2),
        shadow=rng.uniform(0.15, 0.4),
        edge=rng.uniform(0, 0.15),
    )


def _ring(
    canvas: Canvas,
    pose: Pose,
    count: int,
    outline: Outline,
    finish: Finish,
    reach: tuple[float, float, float],
    soft: float,
) -> list[Frame]:
    """Blades around an axis, the far ones first; reach is start, length and half-width in radii."""
    start, length, width = reach
    frames = []
    for angle in sorted((2 * math.pi * i / count for i in range(count)), key=pose.depth):
        frame = pose.petal(angle, 0.15, start, length, width)
        canvas.blade(frame, outline, finish, soft=soft)
        frames.append(frame)
    return frames


def _end(frame: Frame) -> Point:
    return (frame.foot[0] + frame.along[0], frame.foot[1] + frame.along[1])


def _ball(canvas: Canvas, at: Point, radius: float, finish: Finish, soft: float, florets: int = 0) -> None:
    canvas.dome(Frame.turned(at, 0.0, radius, radius), finish, soft=soft, florets=florets)


def ornament(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """A brooch, gear or snowflake: rows of equal parts around a boss, often with beads at their ends."""
    finish, second = _surface(rng, subject.facts.hue), _surface(rng, subject.facts.second)
    width = min(rng.uniform(0.8, 1.6) * 2.0 / subject.count, 0.3)
    finish = replace(finish, veins=0.0, bulge=1.6)
    if rng.random() < 0.4:
        canvas.dome(Frame.turned(pose.centre, 0, pose.radius * 0.7, pose.radius * 0.7), second, soft=soft)
    beads = rng.random() < 0.5
    for row in range(subject.facts.rows + 1):
        size = 1.0 - 0.33 * row
        turned = replace(pose, spin=pose.spin + row * math.pi / subject.count)
        reach = (0.05, size * 0.95, width * (0.6 + 0.4 * size))
        frames = _ring(canvas, turned, subject.count, CUT[subject.facts.form], finish, reach, soft)
        if row == 0 and beads:
            for frame in frames:
                _ball(canvas, _end(frame), 0.06 * pose.radius, second, soft)
    boss = rng.uniform(0.1, 0.4)
    disc = Frame(pose.centre, pose.project(boss, 0, 0), pose.project(0, boss, 0))
    canvas.dome(disc, second, soft=soft, florets=int(rng.choice((0, 6, 9, 13))))


def starfish(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """Fat arms that taper, with a line of knobs along each."""
    finish, knobs = _surface(rng, subject.facts.hue), _surface(rng, subject.facts.second)
    frames = _ring(canvas, pose, subject.count, Outline(0.3, 0.8), replace(finish, shadow=0.1), (0.0, 1.0, 0.24), soft)
    _ball(canvas, pose.centre, 0.22 * pose.radius, replace(finish, shadow=0.0), soft)
    for frame in frames:
        for share in (0.15, 0.4, 0.65):
            at = (frame.foot[0] + share * frame.along[0], frame.foot[1] + share * frame.along[1])
            _ball(canvas, at, 0.05 * pose.radius, knobs, soft)


def spray(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """A twig with leaflets in pairs, or alternating."""
    finish, r = replace(_surface(rng, subject.facts.hue), midrib=0.2), pose.radius
    angle = pose.spin
    foot = (pose.centre[0] - math.cos(angle) * r, pose.centre[1] - math.sin(angle) * r)
    twig = Frame.turned(foot, angle, 2 * r, 0.05 * r)
    pairs, slant, size = subject.count, rng.uniform(0.6, 1.2), rng.uniform(0.45, 0.8)
    for i in range(pairs):
        for side in (-1, 1):
            share = (i + 0.6 + (0.25 * side if subject.facts.rows else 0.0)) / (pairs + 0.4)
            root = (foot[0] + twig.along[0] * share, foot[1] + twig.along[1] * share)
            leaf = Frame.turned(root, angle + side * slant, size * r, min(1.2 / pairs, 0.28) * r)
            canvas.blade(leaf, subject.form, finish, soft=soft)
    canvas.blade(twig, Outline(0.05, 0.2), _surface(rng, subject.facts.second), soft=soft)


def palm(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """A fan of leaflets on one stalk."""
    finish, r = replace(_surface(rng, subject.facts.hue), midrib=0.2), pose.radius
    stalk = Frame.turned(pose.centre, math.pi / 2 + rng.normal(0, 0.3), 2.5 * r, 0.05 * r)
    canvas.blade(stalk, Outline(0.05, 0.05, bend=rng.normal(0, 0.6)), _surface(rng, subject.facts.second), soft=soft)
    span = rng.uniform(2.4, 5.2)
    for i in range(subject.count):
        angle = -math.pi / 2 + span * ((i + 0.5) / subject.count - 0.5)
        half = min(span / subject.count * 0.5, 0.35) * r
        canvas.blade(Frame.turned(pose.centre, angle, r, half), subject.form, finish, soft=soft)


def mushroom(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """A stalk and a cap with spots."""
    (x, y), r, lean = pose.centre, pose.radius, rng.normal(0, 0.15)
    second = _surface(rng, subject.facts.second)
    canvas.blade(Frame.turned((x, y + r), -math.pi / 2 + lean, 1.2 * r, 0.2 * r), Outline(0.2, 0.1), second, soft=soft)
    cap = Frame.turned((x - 0.8 * r, y), lean, 1.6 * r, rng.uniform(0.35, 0.75) * r)
    canvas.blade(cap, Outline(0.5, 0.5, bend=-rng.uniform(0.2, 0.7)), _surface(rng, subject.facts.hue), soft=soft)
    for i in range(subject.count):
        at = (x + (i + 0.5 - subject.count / 2) / subject.count * 1.2 * r, y - rng.uniform(0.0, 0.3) * r)
        _ball(canvas, at, rng.uniform(0.05, 0.1) * r, second, soft)


def butterfly(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """Two pairs of wings with eyespots, a body and feelers."""
    wing, spots, r = _surface(rng, subject.facts.hue), _surface(rng, subject.facts.second), pose.radius
    wing = replace(wing, bands=rng.uniform(0, 0.2), band_count=float(rng.integers(1, 4)))
    axis, fold = pose.spin, rng.uniform(0.5, 1.0)
    for side in (-1, 1):
        for angle, length, width in ((2.2, 0.75, 0.33), (1.0, 1.0, 0.42)):
            frame = Frame.turned(pose.centre, axis + side * angle * fold, length * r, side * width * r)
            canvas.blade(frame, subject.form, wing, soft=soft)
            for i in range(min(subject.count, 4)):
                share = 0.45 + 0.13 * i
                at = (pose.centre[0] + frame.along[0] * share, pose.centre[1] + frame.along[1] * share)
                _ball(canvas, at, 0.06 * r, spots, soft)
        feeler = Frame.turned(pose.centre, axis + side * 0.3, 0.8 * r, 0.015 * r)
        canvas.blade(feeler, Outline(0.1, 0.1), Finish(ramp([rgb((0.1, 0.4, 0.15))] * 2)), soft=soft)
    canvas.blade(
        Frame.turned(pose.centre, axis + math.pi, 0.7 * r, 0.08 * r), Outline(0.3, 0.6), _surface(rng, 1), soft=soft
    )


def beetle(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """Six legs, two wing cases with spots, a head."""
    case, spots, r, axis = _surface(rng, subject.facts.hue), _surface(rng, subject.facts.second), pose.radius, pose.spin
    dark = Finish(ramp([rgb((0.08, 0.5, 0.12))] * 2))
    for i in range(6):
        side, share = (-1 if i % 2 else 1), (i // 2 - 1) * 0.35
        root = (pose.centre[0] + math.cos(axis) * share * r, pose.centre[1] + math.sin(axis) * share * r)
        leg = Frame.turned(root, axis + side * (1.57 - share), 0.85 * r, 0.04 * r)
        canvas.blade(leg, Outline(0.1, 0.4, bend=side * 1.5), dark, soft=soft)
    head = (pose.centre[0] + math.cos(axis) * 0.75 * r, pose.centre[1] + math.sin(axis) * 0.75 * r)
    _ball(canvas, head, 0.25 * r, dark, soft)
    body = Frame.turned(pose.centre, axis, 0.78 * r, rng.uniform(0.45, 0.65) * r)
    canvas.dome(body, replace(case, veins=0, bands=rng.choice((0.0, 0.2)), band_count=3), soft=soft)
    seam = Frame.turned((2 * pose.centre[0] - head[0], 2 * pose.centre[1] - head[1]), axis, 1.5 * r, 0.02 * r)
    canvas.blade(seam, Outline(0.1, 0.1), dark, soft=soft)
    for i in range(subject.count):
        turn = 2 * math.pi * (i + 0.5) / subject.count
        u, v = 0.5 * math.cos(turn), 0.5 * math.sin(turn)
        at = tuple(pose.centre[k] + u * body.along[k] + v * body.across[k] for k in (0, 1))
        _ball(canvas, (at[0], at[1]), 0.1 * r, spots, soft)


def shell(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """A scallop: ribs fanned from the hinge, with growth bands."""
    rib, r = _surface(rng, subject.facts.hue), pose.radius
    rib = replace(rib, bands=0.12, band_count=float(rng.integers(2, 6)), bulge=1.4)
    hinge = (pose.centre[0] - math.cos(pose.spin) * 0.7 * r, pose.centre[1] - math.sin(pose.spin) * 0.7 * r)
    _ball(canvas, hinge, 0.3 * r, _surface(rng, subject.facts.second), soft)
    span = rng.uniform(1.4, 2.3)
    for i in sorted(range(subject.count), key=lambda k: -abs(k + 0.5 - subject.count / 2)):
        angle = pose.spin + span * ((i + 0.5) / subject.count - 0.5)
        length = (1.6 - 0.25 * abs((i + 0.5) / subject.count - 0.5)) * r
        canvas.blade(Frame.turned(hinge, angle, length, span / subject.count * r), Outline(1.1, 0.25), rib, soft=soft)


def berries(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """A bunch of round fruit with a leaf of the given form."""
    fruit, leaf, r = _surface(rng, subject.facts.hue), _surface(rng, subject.facts.second), pose.radius
    canvas.blade(Frame.turned(pose.centre, pose.spin, 1.1 * r, 0.35 * r), subject.form, replace(leaf, midrib=0.2), soft)
    size = r * min(0.75 / math.sqrt(subject.count), 0.55)
    for i in range(subject.count):
        turn, out = i * 2.399963, 0.72 * r * math.sqrt(i / subject.count)
        at = (pose.centre[0] + math.cos(turn) * out, pose.centre[1] + math.sin(turn) * out)
        _ball(canvas, at, size * rng.uniform(0.85, 1.1), fruit, soft)


def feather(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """A quill with a banded vane and an eye near its tip."""
    r, bend = pose.radius, rng.normal(0, 0.4)
    foot = (pose.centre[0] - math.cos(pose.spin) * r, pose.centre[1] - math.sin(pose.spin) * r)
    vane = replace(
        _surface(rng, subject.facts.hue), veins=0.12, vein_count=12, midrib=0.3, bands=0.2, band_count=subject.count
    )
    frame = Frame.turned(foot, pose.spin, 2 * r, rng.uniform(0.25, 0.45) * r)
    canvas.blade(frame, replace(subject.form, bend=subject.form.bend + bend), vane, soft=soft)
    canvas.blade(Frame.turned(foot, pose.spin, 1.5 * r, 0.03 * r), Outline(0.1, 0.3), vane, soft=soft)
    if subject.facts.rows:
        at = (foot[0] + math.cos(pose.spin) * 1.4 * r, foot[1] + math.sin(pose.spin) * 1.4 * r)
        _ball(canvas, at, 0.15 * r, _surface(rng, subject.facts.second), soft)


def caterpillar(canvas: Canvas, rng: np.random.Generator, subject: Subject, pose: Pose, soft: float) -> None:
    """A bent chain of balls with a head of another colour."""
    body, head, r = _surface(rng, subject.facts.hue), _surface(rng, subject.facts.second), pose.radius
    size, bend = r * min(1.1 / subject.count, 0.4), rng.normal(0, 0.6)
    c, s = math.cos(pose.spin), math.sin(pose.spin)
    for i in range(subject.count + 1):
        t = 2.0 * i / subject.count - 1.0
        u, v = t * r, bend * (1 - t * t) * r
        at = (pose.centre[0] + c * u - s * v, pose.centre[1] + s * u + c * v)
        _ball(canvas, at, size * 1.15, head if i == subject.count else body, soft)


Painter = Callable[[Canvas, np.random.Generator, Subject, Pose, float], None]
# The painter, and the least and largest number of parts.
KINDS: tuple[tuple[Painter, int, int], ...] = (
    (ornament, 3, 24),
    (starfish, 4, 10),
    (spray, 2, 7),
    (palm, 3, 12),
    (mushroom, 1, 7),
    (butterfly, 1, 4),
    (beetle, 1, 9),
    (shell, 5, 14),
    (berries, 1, 16),
    (feather, 1, 6),
    (caterpillar, 3, 12),
)
ORNAMENTS = 0.35  # Share of ornaments: they carry count, form, hue, rows and centre all at once.


def subject_of(rng: np.random.Generator) -> Subject:
    """A random thing with random properties; counts are even over the bins, not over the numbers."""
    kind = 0 if rng.random() < ORNAMENTS else int(rng.integers(1, len(KINDS)))
    _, low, high = KINDS[kind]
    bins = [i for i, least in enumerate(COUNTS) if low <= least <= high]
    bin_ = int(rng.choice(bins))
    top = COUNTS[bin_ + 1] if bin_ + 1 < len(COUNTS) else high + 1
    facts = Facts(
        kind,
        bin_,
        int(rng.choice(tuple(CUT) if kind == 0 else range(len(FORMS)))),
        int(rng.integers(HUES)),
        int(rng.integers(HUES)),
        int(rng.integers(3 if kind == 0 else 2)),
    )
    return Subject(facts, int(rng.integers(COUNTS[bin_], min(top, high + 1))), int(rng.integers(2**31)))


def draw(seed: int, number: int, size: int) -> tuple[Image.Image, tuple[int, ...]]:
    """Picture `number` of the source task and the answers to its questions."""
    rng = np.random.Generator(np.random.PCG64((seed, 77, number)))
    subject = subject_of(rng)
    painter = KINDS[subject.facts.kind][0]
    canvas = scene.stage(rng, size)
    radius = rng.uniform(0.17, 0.42)
    reach = 0.5 - 0.6 * radius
    centre = (0.5 + rng.uniform(-reach, reach), 0.5 + rng.uniform(-reach, reach))
    if rng.random() < 0.3:
        away = (centre[0] + (-1 if centre[0] > 0.5 else 1) * rng.uniform(0.3, 0.5), centre[1] + rng.uniform(-0.3, 0.3))
        twin = np.random.Generator(np.random.PCG64(subject.seed))
        painter(canvas, twin, subject, Pose.drawn(rng, away, radius * rng.uniform(0.5, 0.8)), rng.uniform(0.8, 4.0))
    same = np.random.Generator(np.random.PCG64(subject.seed))
    painter(canvas, same, subject, Pose.drawn(rng, centre, radius), 0.0)
    for _ in range(int(rng.choice((0, 0, 0, 1, 1, 2)))):
        scene.foreground(canvas, rng)
    scene.develop(canvas, rng)
    return canvas.image(), astuple(subject.facts)
