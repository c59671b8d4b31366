"""What a range test's curve suggests, and who wins a race. Pure, without torch.

Suggestions are read from the raw losses, smoothed from both sides over log10 of the rate: an average of the past lags
behind (by almost a decade at 0.9 in 100 steps), and over the rate itself the steepest point lies at the noisy far left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finetune_core.records import Suggestions

FLAT = 0.02  # a curve that falls by less than this share of its first loss says nothing
NOISY = 2.5  # nor does one that falls by less than this many times its noise
ENOUGH = 10  # points
FEW_BATCHES = 10  # in an epoch; with fewer the test sees every image more than ten times
WIDTH = 1.2  # decades to either side that the smoothing looks
OUTLIER = 6.0  # times the noise
AGREE = 10.0  # suggestions within this factor of the steepest point support it
SURE = 3.0  # how far it may move for a high confidence, and the valley lie from it without a word
EDGE = 1  # points before the last one that lie at the edge of a test
REDRAWS = 20  # of the noise, to see how far it moves the steepest point of a single try


def together(rows: Sequence[Mapping[str, Any]], value: str = "loss") -> tuple[np.ndarray, np.ndarray]:
    """Rates (n,) and values (tries, n) of a finder's records, as far as at least half of the tries went.

    NaN where a try ended earlier, or its loss was no longer a number.
    """
    tries = max((row.get("trial", 0) for row in rows), default=-1) + 1
    steps = max((row["step"] for row in rows), default=-1) + 1
    rates, values, reached = np.full(steps, np.nan), np.full((tries, steps), np.nan), np.zeros(steps)
    for row in rows:
        rates[row["step"]] = row["lr"]
        values[row.get("trial", 0), row["step"]] = np.nan if row[value] is None else row[value]
        reached[row["step"]] += 1
    shared = reached * 2 >= tries
    return rates[shared], values[:, shared]


def middle(values: np.ndarray) -> np.ndarray:
    """The median over tries (tries, n) -> (n,), NaN where no try has a value."""
    known = np.isfinite(values).any(axis=0)
    result = np.full(values.shape[1], np.nan)
    result[known] = np.nanmedian(values[:, known], axis=0)
    return result


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far tries (tries, n) lie apart, (n,) each: lowest and highest, or the quartiles of four tries or more."""
    known = np.isfinite(values).any(axis=0)
    low, high = np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    share = 25 if len(values) >= 4 else 0
    low[known], high[known] = np.nanpercentile(values[:, known], [share, 100 - share], axis=0)
    return low, high


def trend(lrs: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smoothed losses (n,) and their slope per decade of the rate in the order tried, without lag.

    Robust local regression (LOESS, Cleveland 1979): at each point a parabola through the neighbours within `WIDTH`
    decades, near ones weighing more and outliers less.
    """
    x, y = np.log10(np.asarray(lrs, float)), np.asarray(losses, float)
    apart = (x[None, :] - x[:, None]) * (-1 if x[-1] < x[0] else 1)
    reach = np.maximum(WIDTH, np.sort(np.abs(apart), axis=1)[:, min(len(x), ENOUGH) - 1])
    near = np.clip(1 - (np.abs(apart) / reach[:, None]) ** 3, 0, None) ** 3
    powers = np.stack([np.ones_like(apart), apart, apart**2], axis=-1)
    trusted = np.ones(len(x))
    for _ in range(3):
        weighted = powers * (near * trusted)[..., None]
        normal = weighted.swapaxes(1, 2) @ powers + 1e-9 * np.eye(3)
        level, slope, _ = np.linalg.solve(normal, weighted.swapaxes(1, 2) @ y[:, None])[..., 0].T
        off = np.abs(y - level)
        spread = max(1.4826 * float(np.median(off)), _noise(y), 0.02 * float(np.ptp(y)), 1e-9)
        trusted = np.clip(1 - (off / (OUTLIER * spread)) ** 2, 0.1, None) ** 2
    return level, slope


def smoothed(lrs: np.ndarray, tries: np.ndarray) -> np.ndarray:
    """The lines (tries, n) that suggestions are read from: each try without lag, NaN from where it was no number."""
    lines = np.full(tries.shape, np.nan)
    for line, losses in zip(lines, tries, strict=True):
        x, y = _usable(lrs, losses)
        if len(x) >= ENOUGH:
            line[: len(x)] = trend(x, np.minimum(y, _scale(x, y)[2]))[0]
    return lines


def suggest(
    lrs: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray, batches: int | None = None
) -> Suggestions:
    """What the raw losses suggest: those of one try (n,) or of several (tries, n), NaN where a try ended earlier.

    `lrs` (n,) rise, or fall in a test from high to low. `batches` is the number of batches in an epoch, if known.
    """
    tries = np.atleast_2d(np.asarray(losses, float))
    read = _read(lrs, middle(tries))
    if isinstance(read, str):
        return Suggestions(None, None, None, read)
    between = _between(np.asarray(lrs, float), tries, read)
    picks = read.picks()
    confidence, why = _confidence(picks, between, len(tries))
    found = replace(picks, confidence=confidence, why=why, between=between)
    if read.cut_short:
        note = "The loss fell fastest at the last rates tried: the test ended too early. Test higher rates, or more."
        return replace(found, confidence="low", note=note)
    if batches is None or batches >= FEW_BATCHES:
        return found
    note = f"Too few batches: an epoch has only {batches}, so the test met the same images again and again."
    return replace(found, confidence="low", note=note)


def blow_up(lrs: np.ndarray, tries: np.ndarray) -> float | None:
    """The rate from which on the loss stayed above where it began, in a test whose rates rise; None where it did not.

    `lrs` (n,) and `tries` (tries, n) as `together` gives them.
    """
    losses = middle(tries)
    x, y = _usable(lrs, losses)
    if len(x) < ENOUGH or x[-1] < x[0]:
        return None
    below = np.flatnonzero(y < _scale(x, y)[2])
    start = int(below[-1]) + 1 if len(below) else 0
    return float(lrs[start]) if start < len(lrs) else None


@dataclass(frozen=True)
class _Reading:
    """A curve that falls: rates, losses as they came (blow-up cut), smoothed losses and slopes, index of the lowest."""

    lrs: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    slope: np.ndarray
    lowest: int
    end: int  # where it has blown up, or its length

    @property
    def _fastest(self) -> int:
        return int(np.argmin(self.slope[: self.lowest + 1]))

    @property
    def steepest(self) -> float:
        """The rate at which the loss falls fastest before its lowest point."""
        return float(self.lrs[self._fastest])

    @property
    def cut_short(self) -> bool:
        """Whether the loss still fell ever faster where the test ended, rates rising."""
        return bool(self.lrs[-1] > self.lrs[0]) and self._fastest >= len(self.lrs) - 1 - EDGE

    def picks(self) -> Suggestions:
        """The suggestions; going down only two make sense, as the loss ends low whatever the rate was."""
        down = self.lrs[-1] < self.lrs[0]
        return Suggestions(
            steepest=self.steepest,
            minimum_tenth=None if down else float(self.lrs[self.lowest] / 10),
            valley=float(self.lrs[valley(self.smooth)]),
            slide=None if down else self._slide(),
            lowest=None if down else float(self.lrs[self.lowest]),
        )

    def _slide(self) -> float | None:
        """The rate that the slide rule finds, unless it slid past the fall to where nothing is learned."""
        index = slide(self.smooth[: self.end])
        if index is None:
            return None
        top = self.smooth[: self.lowest + 1].max()
        fallen = (top - self.smooth[index]) / (top - self.smooth[self.lowest])
        return float(self.lrs[index]) if fallen > FLAT else None


def _read(lrs: Sequence[float] | np.ndarray, losses: np.ndarray) -> _Reading | str:
    """The curve made ready for suggestions, or in words why it supports none."""
    x, y = _usable(lrs, losses)
    if len(x) < ENOUGH:
        return "The loss diverged at once or the test was too short to suggest a rate."
    level, noise, ceiling = _scale(x, y)
    cut = np.minimum(y, ceiling)  # else the blow-up would bend the fit beside it
    smooth, slope = trend(x, cut)
    lowest = int(np.argmin(smooth))
    drop = smooth[: lowest + 1].max() - smooth[lowest]
    if lowest < 3 or drop < max(FLAT * abs(level), NOISY * noise):
        if np.median(y[-3:]) >= ceiling:
            return "The loss diverged at once: no rate lowered it before it rose."
        return "The curve is flat: no rate lowered the loss noticeably."
    blown_up = np.flatnonzero(cut[lowest:] >= ceiling)
    end = lowest + int(blown_up[0]) + 1 if len(blown_up) else len(cut)
    return _Reading(x, cut, smooth, slope, lowest, end)


def _scale(lrs: np.ndarray, losses: np.ndarray) -> tuple[float, float, float]:
    """The loss before anything was learned, the noise, and the height above which a loss counts as blown up."""
    # The first loss of a test from high to low is the only one before the weights were thrown about.
    level = float(losses[0] if lrs[-1] < lrs[0] else np.median(losses[: max(3, len(losses) // 10)]))
    noise = _noise(losses)
    return level, noise, level + max(0.1 * abs(level), 3 * noise)


def _usable(lrs: Sequence[float] | np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve up to where it stopped being a number."""
    bad = np.flatnonzero(~np.isfinite(losses))
    end = bad[0] if len(bad) else len(losses)
    return np.asarray(lrs, float)[:end], losses[:end]


def _noise(losses: np.ndarray) -> float:
    """The standard deviation of the noise, from neighbours' differences; a few outliers do not move it."""
    return float(1.4826 * np.median(np.abs(np.diff(losses))) / np.sqrt(2))


def _between(lrs: np.ndarray, tries: np.ndarray, read: _Reading) -> list[float] | None:
    """Between which rates the steepest point lies: over the tries, or over redraws of a single try's noise."""
    if len(tries) > 1:
        found = [_read(lrs, one) for one in tries]
    else:
        # Signs alone are drawn anew (the wild bootstrap): noise grows with the rate, so it must stay in its place.
        signs = np.random.default_rng(0).choice((-1, 1), (REDRAWS, len(read.lrs)))
        found = [_read(read.lrs, read.smooth + sign * (read.losses - read.smooth)) for sign in signs]
    rates = [one.steepest for one in found if isinstance(one, _Reading)]
    ends = (0, 100) if len(tries) > 1 else (10, 90)
    between = [float(rate) for rate in np.percentile(rates, ends, method="nearest")] if rates else None
    return between if len(rates) * 2 > len(found) else None


def _confidence(picks: Suggestions, between: list[float] | None, tries: int) -> tuple[str, str]:
    """High, medium or low, and why in words: how far noise moves the steepest point, and who agrees with it."""
    if between is None:
        return "low", "In most tries the loss fell too little to tell a good rate."
    moved = between[1] / between[0]
    others = [rate for rate in (picks.valley, picks.slide, picks.minimum_tenth) if rate]
    agree = sum(1 / AGREE <= rate / (picks.steepest or rate) <= AGREE for rate in others)
    source = f"From try to try ({tries})" if tries > 1 else "By its noise alone"
    why = f"{source} the steepest point moves by a factor of {moved:.1f}; {agree} of {len(others)} others lie near it."
    if picks.valley and picks.steepest and not 1 / SURE <= (ratio := picks.valley / picks.steepest) <= SURE:
        lies = f"{ratio:.1f} times higher" if ratio > 1 else f"{1 / ratio:.1f} times lower"
        why += f" The valley, which is the middle of the fall and not its fastest place, lies {lies}."
    if moved <= SURE:
        return ("high" if agree * 2 >= len(others) else "medium"), why
    return ("medium" if moved <= AGREE and agree else "low"), why


def valley(losses: np.ndarray) -> int:
    """The index in the middle of the longest falling stretch (longest decreasing subsequence), as fastai's `valley`."""
    length = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        lower = losses[:i] > losses[i]
        length[i] = 1 + (length[:i][lower].max() if lower.any() else 0)
    end = int(np.argmax(length))
    start = end - int(length[end])
    third = (end - start) / 3
    return max(0, start + int(third) + int(third / 2))


def slide(losses: np.ndarray, apart: int = 15, threshold: float = 0.005) -> int | None:
    """The index that the interval slide rule finds, as fastai's `slide` in callback/schedule.py has it.

    Two points `apart` steps from each other slide down from the highest rate until the loss changes at both by the same
    amount per step, give or take `threshold`; the left one is the suggestion.
    """
    if len(losses) <= apart:
        return None
    change = np.gradient(losses)
    right = len(losses) - 1
    found = right - apart
    while right - apart >= 0 and abs(change[right] - change[right - apart]) > threshold:
        found, right = right - apart, right - 1
    return found


def winner(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The place of a race's winner, the lowest validation loss; None while nobody has arrived."""
    arrived = [row for row in rows if row["kind"] == "place" and row["valid_loss"] is not None]
    return min(arrived, key=lambda row: row["valid_loss"], default=None)
