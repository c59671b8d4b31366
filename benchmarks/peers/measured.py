"""What was measured, round by round, and what it comes to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from benchmarks.peers.processes import Answer
from benchmarks.peers.rows import THAW, Curve, Row, best, middle, until
from benchmarks.peers.task import READ, STEPPED


@dataclass
class Measured:
    """A row's answers by side: one a round, those `kept` with freed memory kept as Thaw does; and why others lack."""

    row: Row
    rounds: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    kept: dict[str, Answer] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def values(self, name: str) -> list[float]:
        """A side's numbers, round by round."""
        return [each.value for each in self.rounds[name] if each.value is not None]

    def medians(self) -> dict[str, float]:
        """Each side's number, as far as there is one."""
        return {name: median(values) for name in self.row.entries if (values := self.values(name))}

    def troubles(self) -> dict[str, str]:
        """Why a side has no number, or lacks a round."""
        broken = {
            name: f"a round failed: {each.problem}"
            for name, answers in self.rounds.items()
            for each in answers
            if each.problem
        }
        return {**self.missing, **broken}

    def reached(self) -> float | None:
        """How many times better Thaw is than its goal's peers."""
        return self.row.reached(self.medians())

    def cells(self, name: str) -> tuple[str, str, str]:
        """In words: the median with its range, how many times better Thaw is, the number with freed memory kept."""
        if name in self.missing:
            return "–", "", ""
        values, medians = self.values(name), self.medians()
        if not values:
            return "failed", "", ""
        spread = f" ({number(min(values))}–{number(max(values))})" if len(values) > 1 else ""
        ratio = f"{self.row.ratio(medians[THAW], medians[name]):.2f}" if name != THAW and THAW in medians else ""
        kept = self.kept[name].value if name in self.kept else None
        beside = "" if kept is None else number(kept)
        if kept is not None and THAW in medians:
            beside += f" ({self.row.ratio(medians[THAW], kept):.2f} ×)"
        return f"{number(medians[name])}{spread}", ratio, beside

    def footnote(self) -> str:
        """What is said below the table."""
        return ""


class Race(Measured):
    """How long it takes to fastai's best accuracy."""

    def curves(self) -> Iterator[dict[str, Curve]]:
        """Each round's accuracies by side."""
        for number in range(max(map(len, self.rounds.values()), default=0)):
            each = {name: answers[number].curve for name, answers in self.rounds.items() if number < len(answers)}
            yield {name: curve for name, curve in each.items() if curve}

    def times(self) -> list[tuple[float | None, float]]:
        """Seconds until fastai's best accuracy, round by round: Thaw's, if it gets there, and fastai's own."""
        found: list[tuple[float | None, float]] = []
        for curves in self.curves():
            peers = [best(curve) for name, curve in curves.items() if name != THAW]
            if THAW in curves and peers:
                seconds, accuracy = best(peers)
                found.append((until(curves[THAW], accuracy), seconds))
        return found

    def reached(self) -> float | None:
        """How many times sooner Thaw is there; None where it mostly never is."""
        times = self.times()
        inverse = middle([None if mine is None else mine / theirs for mine, theirs in times])
        return None if inverse is None else 1 / inverse

    def cells(self, name: str) -> tuple[str, str, str]:
        """In words: the best accuracy and when; how many times sooner Thaw is as high; the first with memory kept."""
        if name in self.missing:
            return "–", "", ""
        curves = [each for each in self.curves() if name in each]
        if not curves:
            return "failed", "", ""
        ratios = [self._sooner(each, name) for each in curves] if name != THAW else []
        inverse = middle([None if each is None else 1 / each for each in ratios])
        never = "Thaw's head does not get there" if ratios else ""
        kept = self.kept[name].curve if name in self.kept else []
        return (
            _at([best(each[name]) for each in curves]),
            f"{1 / inverse:.2f}" if inverse else never,
            _at([best(kept)]) if kept else "",
        )

    def footnote(self) -> str:
        """Where Thaw's seconds go in its middle round, if it gets there."""
        ways: list[tuple[float, ...]] = []
        for number, answer in enumerate(self.rounds[THAW]):
            peers = [each[number].curve for name, each in self.rounds.items() if name != THAW and number < len(each)]
            goal = max((best(curve)[1] for curve in peers if curve), default=math.inf)
            way = (until(answer.curve, goal), answer.until(READ), answer.until(STEPPED), until(answer.curve, 0))
            ways += [tuple(each for each in way if each is not None)]
        ways = sorted((way for way in ways if len(way) == 4), reverse=True)
        if len(ways) * 2 <= len(self.rounds[THAW]):
            return ""
        there, read, stepped, first = ways[len(ways) // 2]
        return (
            f"Of Thaw's {there:.0f} s, {read:.1f} pass until the recipe is read, {stepped - read:.1f} until the first "
            "step is done (PyTorch, torchvision and timm are imported, the images decoded, the network built), "
            f"{first - stepped:.1f} until the backbone has looked at one view of each image and at those to measure "
            f"on, and {there - first:.1f} until the head is as good."
        )

    def _sooner(self, curves: Mapping[str, Curve], name: str) -> float | None:
        seconds, accuracy = best(curves[name])
        mine = until(curves.get(THAW, ()), accuracy)
        return None if mine is None else seconds / mine


def _at(points: list[tuple[float, float]]) -> str:
    return f"{median(each for _, each in points):.1%} at {median(each for each, _ in points):.0f} s"


def number(value: float) -> str:
    """With three figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
