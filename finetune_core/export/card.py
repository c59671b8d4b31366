"""A model card (Mitchell et al. 2019): what a run's model is, learned from what, how good, where weak. Without torch.

The card is a list of sections, and is written from these as Markdown, or as one HTML page with its pictures inside.
"""

from __future__ import annotations

import html
import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

import numpy as np

from finetune_core.errors import UserError
from finetune_core.places import ASSETS
from finetune_core.recipe import Recipe
from finetune_core.recipe.words import model_words, rate_words, schedule_words, source_words, thaw_words
from finetune_core.runs.shelf import naming
from finetune_core.runs.states import fitted, predictions
from finetune_core.runs.states.predictions import Predictions
from finetune_core.runs.store import Run
from finetune_core.understand import outcomes
from finetune_core.understand.outcomes import Outcomes
from finetune_core.understand.resampled import Interval, draws, interval, resampled, weighted
from finetune_core.wording import count, few, megabytes, shown, tidy

FEW = 100  # validation images, below which scores say little
GAP = 0.05  # of confidence and accuracy, from which on it is said
WEAK = 0.1  # below the mean recall, from which on a class is called weak
CONFUSED = 0.1  # of a class's images that are taken for one other class
FIGURES = 6  # pictures with where it looked
MOST = 5  # weak classes and confusions that are named
LONG = 2000  # letters of a sentence
MARKS = re.compile(r"[\\`*_\[\]<>#|~]")  # what Markdown would read as its own


@dataclass(frozen=True)
class Figure:
    """A picture as a PNG file, and what it shows."""

    caption: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """Something about the model: sentences ("- " begins an item), lines of code, rows below a head, pictures."""

    title: str
    lines: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    figures: tuple[Figure, ...] = ()
    code: tuple[str, ...] = ()


def sections(run: Run, figures: Sequence[Figure] = ()) -> list[Section]:
    """All that is known of the run's best model. A UserError before its first epoch has ended."""
    if not run.best.exists():
        raise UserError(f"The run {run.id} has no model yet.", "Its first epoch has not ended.", "Wait for it.")
    found: Outcomes | None = None
    with suppress(
        UserError
    ):  # tags and numbers have no confusions, early runs no answers: the rest is said all the same
        found = outcomes.outcomes(run)
        if found and (kept := fitted.load(run)):  # it answers so from then on
            found = replace(found, outputs=found.outputs / np.float32(kept.temperature))
    every = [_model(run), _data(run, found), _training(run.recipe_at()), _scores(run)]
    if found:
        every += [_classes(found)]
    every += [Section("Known weaknesses", tuple(f"- {line}" for line in _weaknesses(run, found)))]
    if figures:
        hint = "Warm is what speaks for the guess. A hint, not a proof."
        every += [Section("Where it looks", (hint,), figures=tuple(figures))]
    return [*every, _use(run)]


def title(run: Run) -> str:
    """What the card is called."""
    return naming.title(run)


def figures_of(found: Sequence[tuple[str, Any]]) -> list[Figure]:
    """Figures of what `explain.telling` found."""

    def caption(truth: str, guess: str) -> str:
        return f"{shown(truth)}, and taken for it" if truth == guess else f"{shown(truth)}, taken for {shown(guess)}"

    return [Figure(caption(truth, looked.name), looked.png()) for truth, looked in found]


def markdown(name: str, every: Sequence[Section], folder: str = "") -> str:
    """As Markdown; pictures are named as they lie in a `folder` beside it; without one, their section is left out."""
    lines = [f"# {_plain(name)}"]
    for section in every:
        if section.figures and not folder:
            continue
        lines += ["", f"## {section.title}", *([""] * bool(section.lines)), *map(_listed, section.lines)]
        if section.code:
            lines += ["", "```bash", *section.code, "```"]
        if section.rows:
            head = section.head or ("",) * len(section.rows[0])
            lines += ["", _row(head), _row(("---",) * len(head), plain=False), *map(_row, section.rows)]
        if section.figures:
            figures = enumerate(section.figures, start=1)
            lines += [f"\n![{_plain(each.caption)}]({quote(folder)}/{number}.png)" for number, each in figures]
    return "\n".join(lines) + "\n"


def page(name: str, every: Sequence[Section]) -> str:
    """As one HTML page that asks nobody for anything."""
    body = "\n".join(_html(section) for section in every)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_safe(name)}</title>'
    style = (ASSETS / "card.css").read_text("utf-8")
    return f"""<!doctype html>
<html lang="en"><head>{head}<style>{style}</style></head>
<body><h1>{_safe(name)}</h1>
{body}
</body></html>
"""


def _model(run: Run) -> Section:
    recipe, targets = run.recipe_at(), run.targets
    names = targets.names if targets else ()
    rows = (
        ("Backbone", f"{model_words(recipe)}, weights: {recipe.model.backbone.weights.title.lower()}"),
        ("Answers", f"{recipe.task.there(len(names))}: {few(map(shown, names), 12)}"),
        ("Sees", f"{recipe.data.image_size} × {recipe.data.image_size} px, {count(recipe.data.channels, 'channel')}"),
        ("Weights", megabytes(run.best.stat().st_size)),
        *_fitted(run),
        ("Made", f"{datetime.fromtimestamp(run.best.stat().st_mtime):%d %B %Y}, with Thaw, as {run.id}"),
    )
    return Section("The model", rows=rows)


def _fitted(run: Run) -> Iterator[tuple[str, str]]:
    """What was fitted to its answers and is kept with it."""
    with suppress(UserError):
        kept, targets = fitted.load(run), run.targets
        if kept and kept.temperature != 1:
            yield "Confidence", f"divided by a temperature of {kept.temperature:.2f}, fitted on its validation images"
        if kept and targets and len(kept.thresholds) == len(targets.names):
            bars = (f"{shown(name)} {bar:.2f}" for name, bar in zip(targets.names, kept.thresholds, strict=True))
            yield "Thresholds", f"{', '.join(bars)}, fitted on its validation images"


def _data(run: Run, found: Outcomes | None) -> Section:
    recipe, begun, targets = run.recipe, run.begun, run.targets
    lines = [f"{source_words(recipe)}."]
    if begun:
        sides = (("learned from", begun.train), ("validated on", begun.valid), ("put aside for a test", begun.test))
        lines[0] += " " + ", ".join(f"{count(len(each), 'image')} {words}" for words, each in sides if each) + "."
    lines += [f"- {fix.line()}" for fix in recipe.data.fixes]
    if not (targets and targets.counts):
        return Section("The data", tuple(lines))
    measured = dict.fromkeys(targets.names, 0)
    if found:
        measured |= {name: int((found.truth == place).sum()) for place, name in enumerate(found.names)}
    rows = [
        (shown(name), f"{images:,}", *((f"{measured[name]:,}",) if found else ()))
        for name, images in zip(targets.names, targets.counts, strict=True)
    ]
    head = (targets.about.noun.capitalize(), "Learned from", *(("Validated on",) if found else ()))
    return Section("The data", tuple(lines), head, tuple(rows))


def _training(recipe: Recipe) -> Section:
    training = recipe.training
    drawn = [part.title for part in recipe.augment if part.active]
    rows = (
        ("Thawed", thaw_words(recipe)),
        ("Epochs", str(sum(phase.epochs for phase in recipe.phases))),
        ("Learning rate", f"{rate_words(recipe)}, {schedule_words(recipe)}"),
        ("Optimizer", training.optimizer.title),
        ("Loss", training.loss.title),
        ("Batch size", str(training.batch_size)),
        ("Augmentation", ", ".join(drawn) or "none"),
        ("Seed", str(training.seed)),
    )
    return Section("Training", rows=rows)


def _scores(run: Run) -> Section:
    recipe, kept, targets = run.recipe, _kept(run), run.targets
    looks = [
        f"Test, {count(look['images'], 'image')}: "
        + ", ".join(
            f"{s.inside} {s.shown(look['scores'][s.key])}" for s in recipe.task.scores if s.key in look["scores"]
        )
        + (f", mean of {look['views'] + 1} views" if look.get("views") else "")
        + ("." if look["look"] == 1 else f". Look {look['look']}: chosen by, it is no test any more.")
        for look in run.tests()
    ]
    if kept is None or targets is None:
        best = run.status.best_score
        return Section("Scores", (f"Validation {recipe.task.score.inside} {recipe.task.score.shown(best)}.", *looks))
    score = weighted(targets, kept.outputs, kept.wanted)
    values = score(np.ones(len(kept.images)))
    rounds = resampled(score, draws(*kept.outputs.shape))
    rows = [
        (each.title, *_ranged(interval(values[each.key], rounds[each.key]), each.shown))
        for each in recipe.task.scores
        if each.key in values
    ]
    hint = (
        f"On {count(len(kept.images), 'validation image')}, epoch {kept.epoch}, which was chosen by them: "
        "that flatters a little. The range holds 95 of 100 sets of images like these."
    )
    return Section("Scores", (hint, *looks), ("", "Value", "Range"), tuple(rows))


def _kept(run: Run) -> Predictions | None:
    """What it answered; None where that cannot be read, or is not of its names."""
    with suppress(UserError):
        kept, targets = predictions.load(run), run.targets
        if kept and targets and kept.outputs.shape[1] == len(targets.names):
            return kept
    return None


def _classes(found: Outcomes) -> Section:
    rows = [
        (shown(each.name), f"{each.images:,}", *(" ".join(_ranged(value, _percent)) for value in values))
        for each in found.by_class()
        for values in [(each.precision, each.recall, each.f1)]
    ]
    return Section("Each class", head=("Class", "Images", "Precision", "Recall", "F1"), rows=tuple(rows))


def _weaknesses(run: Run, found: Outcomes | None) -> Iterator[str]:
    if not any(look["look"] == 1 for look in run.tests()):
        yield "It was not measured on images that nothing was chosen by."
    if found is None:
        return
    if len(found.truth) < FEW:
        yield f"{count(len(found.truth), 'validation image')} can tell little: look at the ranges."
    table = found.confusion()
    totals = table.sum(1)
    with np.errstate(invalid="ignore"):
        shares = table / totals[:, None]
    recall = np.diag(shares)
    usual = float(np.nanmean(recall))
    for place in np.argsort(recall)[:MOST]:
        if recall[place] < usual - WEAK:
            images = count(int(totals[place]), "image")
            name = shown(found.names[place])
            yield f"{name} is recognised in {recall[place]:.0%} of its {images} ({usual:.0%} on the mean)."
    np.fill_diagonal(shares, 0.0)
    shares = np.nan_to_num(shares)
    for cell in np.argsort(-shares, axis=None)[:MOST]:
        truth, guess = divmod(int(cell), len(found.names))
        if shares[truth, guess] >= CONFUSED and table[truth, guess] > 1:
            named = [shown(found.names[each]) for each in (truth, guess)]
            yield f"{shares[truth, guess]:.0%} of {named[0]} are taken for {named[1]}."
    if (gap := found.calibration()).error > GAP:
        sure, right = float(found.sure.mean()), float(found.right.mean())
        more = "surer than right" if sure > right else "righter than sure"
        yield f"It is {more}: {sure:.0%} sure on the mean, and right in {right:.0%} (mean gap {gap.error:.1%})."
    yield "Pictures of things that are none of its classes get one of them all the same."


def _use(run: Run) -> Section:
    code = (
        f"python -m finetune_core predict {run.id} photo.jpg",
        f"python -m finetune_core serve {run.id}                 # for other programs",
        f"python -m finetune_core export {run.id} --format onnx  # or web, int8, torch, weights: without Thaw",
    )
    return Section("Use", code=code)


def _ranged(value: Interval, said: Callable[[float], str]) -> tuple[str, str]:
    if math.isnan(value.value):
        return "–", ""
    return said(value.value), f"({said(value.low)} to {said(value.high)})"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _plain(text: str) -> str:
    """Text of people that Markdown takes for nothing but text; whole, for a sentence may be long."""
    return MARKS.sub(r"\\\g<0>", tidy(text, LONG))


def _listed(line: str) -> str:
    return f"- {_plain(line[2:])}" if line.startswith("- ") else _plain(line)


def _row(cells: Sequence[str], plain: bool = True) -> str:
    return f"| {' | '.join(map(_plain, cells) if plain else cells)} |"


def _safe(text: str) -> str:
    return html.escape(tidy(text, LONG))


def _html(section: Section) -> str:
    made = [f"<h2>{_safe(section.title)}</h2>"]
    items = [line[2:] for line in section.lines if line.startswith("- ")]
    made += [f"<p>{_safe(line)}</p>" for line in section.lines if not line.startswith("- ")]
    if items:
        made += [f"<ul>{''.join(f'<li>{_safe(item)}</li>' for item in items)}</ul>"]
    if section.code:
        made += [f"<pre>{html.escape(chr(10).join(section.code))}</pre>"]
    if section.rows:
        head = "".join(f"<th>{_safe(each)}</th>" for each in section.head)
        rows = "".join(f"<tr>{''.join(f'<td>{_safe(each)}</td>' for each in row)}</tr>" for row in section.rows)
        made += [f"<table>{f'<tr>{head}</tr>' if head else ''}{rows}</table>"]
    for each in section.figures:
        picture = f'<img alt="{_safe(each.caption)}" src="data:image/png;base64,{b64encode(each.png).decode()}">'
        made += [f"<figure>{picture}<figcaption>{_safe(each.caption)}</figcaption></figure>"]
    return "\n".join(made)
