"""The jobs: train, find a rate, race some rates, measure a network. What needs torch is imported late."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import SerializeAsAny, field_validator, model_validator

from finetune_core.data import labelling
from finetune_core.errors import UserError
from finetune_core.finder import embedded, probes, strains, sweep, versus
from finetune_core.finder.suggest import suggest, together, winner
from finetune_core.network import catalogue, refit
from finetune_core.parts.backbones import Backbone
from finetune_core.parts.base import knob
from finetune_core.parts.jobs import Doing, Job, Rows, Stop, Wish, Work
from finetune_core.parts.numbers import Scale, written
from finetune_core.parts.tasks import Score
from finetune_core.parts.trackers import TensorBoard, Tracker
from finetune_core.recipe import Phase, Recipe, stack
from finetune_core.recipe.arms import MEASURES, SCORE, Arm
from finetune_core.recipe.arms import measure as measured
from finetune_core.recipe.changes import Change, kept
from finetune_core.recipe.names import HEAD, matching
from finetune_core.records import Alarm, Epoch, Event, Find, Lap, Record, Trial
from finetune_core.runs import alarms
from finetune_core.training import costs, timing
from finetune_core.wording import count

if TYPE_CHECKING:
    from finetune_core.training.loop import Trainer

SUGGESTIONS = {
    "steepest": "steepest fall",
    "lowest": "lowest loss",
    "minimum_tenth": "minimum / 10",
    "valley": "middle of the valley",
    "slide": "interval slide rule",
}


class Train(Job):
    """Train the network phase by phase, from the start or from where it was stopped."""

    kind: ClassVar[str] = "train"
    title: ClassVar[str] = "Training"
    resumable: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    trackers: tuple[SerializeAsAny[Tracker], ...] = knob(
        (TensorBoard(),), "Trackers", "Where else the numbers are written as they come, besides the run's own records."
    )

    def prepared(self, recipe: Recipe) -> Recipe:
        """A UserError where a tracker's library is not installed."""
        for tracker in self.trackers:
            tracker.check()
        return recipe

    def run(self, work: Work) -> Doing:
        """From where its folder was saved last, or from the start; saves when the trainer asks, and when stopped."""
        from finetune_core.runs.states import checkpoint
        from finetune_core.training import distributed
        from finetune_core.training.loop import Save, Trainer
        from finetune_core.training.session import prepare

        files = work.files
        session = prepare(work.recipe, work.report, files.begun)
        trainer = Trainer(session, kept(files.changes()))
        found = checkpoint.restore(files, trainer)
        files.save_begun(session.images)
        files.save_targets(session.targets)
        files.save_depth(session.depth)
        # A killed run may have got further than it saved, or saved nothing
        left_out = files.keep_records(trainer.done, trainer.at.saved())
        account = _Account(trainer, work)
        account.begin()
        work.track(self.trackers, trainer.done)
        if left_out:
            found.append(f"{count(left_out, 'record')} could not be read and will be missing.")
        told = {"weights": () if trainer.done else session.network.notes, "data": session.changes, "checkpoint": found}
        notes = [Event(name, trainer.done, note) for name, said in told.items() for note in said]
        # What the first process finds: others may read files that it has put in order by then, and all must yield alike
        made: Record | Save | None = None
        try:
            for made in chain(distributed.from_first(notes), trainer.run()):
                if isinstance(made, Save):
                    work.save(partial(checkpoint.save, files, trainer, made))
                    continue
                account.note(made)
                yield made
                yield from _between(work, trainer)
        except Stop:  # an epoch that just ended as the best one is kept as that
            checkpoint.save(files, trainer, Save(best=isinstance(made, Epoch) and made.best))
            raise
        account.end()

    def summary(self, rows: Rows, recipe: Recipe) -> dict[str, Any]:
        """Its epochs."""
        return {"epochs": [row for row in rows if row["kind"] == "epoch"]}


def _between(work: Work, trainer: Trainer) -> Doing:
    """What is asked for between two steps: a change, a pause, or that the state be saved."""
    from finetune_core.runs.states import checkpoint
    from finetune_core.training.loop import Save

    save = partial(checkpoint.save, work.files, trainer, Save(weights=False))
    if work.heard == Wish.SAVE:
        work.save(save)
    elif work.heard == Wish.CHANGE:
        yield from _changed(work, trainer)
    elif work.heard == Wish.PAUSE:
        yield Event("paused", trainer.done, "Paused on request")
        if work.pause(save) == Wish.STOP:
            raise Stop
        yield Event("resumed", trainer.done, "Going on")


def _changed(work: Work, trainer: Trainer) -> Doing:
    """Have the trainer make changes, and keep them; what does not fit is told, and training goes on."""
    refused = []  # told at the end: with each record wishes are read anew, and by then all of these are dealt with
    for wish, asked in work.changes():
        try:
            made = trainer.change(Change.parsed(asked, "The change"))
        except UserError as error:
            work.files.keep_change({"wish": wish, "step": trainer.done, "refused": error.what})
            refused.append(Event("change_refused", trainer.done, f"Not changed. {error}"))
        else:
            work.files.keep_change({"wish": wish, **made.saved()})
    yield from refused


class _Account:
    """What the status of a training run says: how far it is, its scores so far, what there is to worry about.

    Alarms are written down here, by the first process alone: what one process waits for its images, others may not.
    """

    def __init__(self, trainer: Trainer, work: Work) -> None:
        self.trainer, self.work, self.warning = trainer, work, ""
        self.score = trainer.session.targets.about.score
        rows = work.files.records()[0]
        scores = {row.get("epoch"): row["valid_score"] for row in rows if row["kind"] == "epoch"}
        self.scores = [scores.get(epoch) for epoch in range(trainer.at.epoch)]  # None where a record was damaged
        self.watch = alarms.Watch(work.recipe)
        told = [(row.get("rule"), row["step"]) for row in rows if row["kind"] == "event"]
        self._raise(alarm for alarm in self.watch.hear(rows) if (alarm.rule, alarm.step) not in told)

    def begin(self) -> None:
        """The first word."""
        self.work.begin("Training", self.trainer.steps, step=self.trainer.done, **self._facts())

    def note(self, record: Record) -> None:
        """Take a record into account."""
        self._raise(self.watch.hear([json.loads(record.line())]))
        if isinstance(record, Epoch):
            self.scores.append(record.valid_score if math.isfinite(record.valid_score) else None)
        if isinstance(record, Event) and record.name == "truth_failed":
            self.warning = record.text
            self._say(message=f"Training. {self.warning}")
        self._say(now=isinstance(record, Epoch))

    def _raise(self, found: Iterable[Alarm]) -> None:
        for alarm in found:
            self.work.keep(alarm)

    def end(self) -> None:
        """The last word."""
        self._say(now=True)
        if self.warning:
            self.work.conclude(f"Finished. {self.warning}")

    def _say(self, now: bool = False, **facts: Any) -> None:
        self.work.advance(self.trainer.done, now or bool(facts), steps=self.trainer.steps, **self._facts(), **facts)

    def _facts(self) -> dict[str, Any]:
        return {
            "epoch": self.trainer.at.epoch,
            "epochs": self.trainer.epochs,
            "epoch_steps": self.trainer.session.train.steps,
            "valid_score": self.scores,
            "best_score": self.score.best(self.scores),
        }


class RateJob(Job):
    """A job that tries rates out in one phase of a recipe, on a copy of the network."""

    phase: int = knob(1, "Phase", "The phase to try rates in, from 1.", low=1, high=1000)
    group: str = knob("", "Group", "Move the rate of this layer group alone; the others keep theirs.")
    views: int = knob(
        3,
        "Views kept",
        "Look at so many views of each image and use them again and again, unless the phase says how many: what frozen "
        "layers give for them is worked out once. 0 draws afresh.",
        low=0,
        high=100,
    )

    @property
    def index(self) -> int:
        """The phase as code counts, from 0."""
        return self.phase - 1

    def prepared(self, recipe: Recipe) -> Recipe:
        """A UserError where there is no such phase."""
        if self.phase > len(recipe.phases):
            raise UserError(
                f"There is no phase {self.phase}.", f"The recipe has {len(recipe.phases)}.", "Count from 1."
            )
        return recipe.with_value(f"phases.{self.index}.views", self.views) if self._reuses(recipe) else recipe

    def _reuses(self, recipe: Recipe) -> bool:
        """Whether the phase leaves the views to the job, and its first layers are frozen."""
        phase = recipe.phases[self.index]
        try:
            names = catalogue.layer_names(recipe.model)
            return not phase.views and names[0] not in matching(names, phase.thaw)
        except UserError:  # an unknown backbone or group, which others tell
            return False


class RangeTest(RateJob):
    """Let the learning rate grow over some steps and see at which the loss falls: the range test."""

    kind: ClassVar[str] = "find"
    title: ClassVar[str] = "Range test"
    command: ClassVar[str] = "lr-find"
    steps: int = knob(sweep.STEPS, "Steps", "Steps of the sweep.", low=2, high=1_000_000)
    tries: int = knob(1, "Tries", "Tries, each with its own seed.", low=1, high=1000)
    low: float = knob(sweep.LOW, "Low", "Lowest rate.", low=1e-12, high=1e4, log=True)
    high: float = knob(sweep.HIGH, "High", "Highest rate; downwards 0.1.", low=1e-12, high=1e4, log=True)
    down: bool = knob(False, "Down", "Go from the highest rate to the lowest.")

    @model_validator(mode="before")
    @classmethod
    def _start_of_the_way_down(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("down") and "high" not in values:
            return {**values, "high": sweep.DOWN_FROM}
        return values

    @model_validator(mode="after")
    def _rates_rise(self) -> Self:
        if self.low >= self.high:
            raise ValueError(
                f"rates from {written(self.low)} to {written(self.high)} make no test; the lowest must be the smaller"
            )
        return self

    @property
    def sweep(self) -> sweep.Sweep:
        """Which rates are tried."""
        return sweep.Sweep(self.low, self.high, self.steps, self.down, self.group)

    def run(self, work: Work) -> Doing:
        """Each try's curve, then what all of them suggest."""
        from finetune_core.finder import range_test
        from finetune_core.training import distributed
        from finetune_core.training.session import prepare

        rows: list[dict[str, Any]] = []
        recipe, traces = self.prepared(work.recipe), list[bool]()
        for trial in range(self.tries):
            session = prepare(range_test.seeded(recipe, trial), work.report)
            before = range_test.fingerprint(session)
            whose = f", try {trial + 1} of {self.tries}" if self.tries > 1 else ""
            work.begin(f"Trying rates{whose}", self.tries * self.steps, step=trial * self.steps)
            for record in range_test.range_test(session, self.index, self.sweep, trial):
                rows.append(asdict(record))
                work.advance(trial * self.steps + record.step + 1)
                yield record
            after = range_test.fingerprint(session)
            traces.append(before != after)
        proof = distributed.from_first(_proof(any(traces), before, after))  # random numbers are each process's own
        found = replace(suggest(*together(rows), batches=session.train.steps), proof=proof)
        work.conclude(found.note)
        yield found

    def summary(self, rows: Rows, recipe: Recipe) -> dict[str, Any]:
        """The suggestions, how sure they are, and the curve."""
        found = _last(rows)
        points = [{key: row[key] for key in ("step", "lr", "loss", "smooth", "trial")} for row in _of(rows, Find)]
        said = {key: found.get(key) for key in ("note", "confidence", "why", "between", "proof")}
        return {"suggestions": {key: found.get(key) for key in SUGGESTIONS}, **said, "curve": points}

    def lines(self, rows: Rows, recipe: Recipe) -> list[str]:
        """A suggestion a line, and how sure they are."""
        found = _last(rows)
        rates = {key: written(found[key], 3) if found.get(key) else "no suggestion" for key in SUGGESTIONS}
        sure = [f"{found['confidence'].capitalize()} confidence. {found['why']}"] if found["confidence"] else []
        return [
            *(f"{title:22}{rates[key]}" for key, title in SUGGESTIONS.items()),
            *sure,
            *filter(None, [found["note"], found.get("proof")]),
        ]


class Race(RateJob):
    """Let some learning rates train for a few steps each from the same start, and see where they arrive."""

    kind: ClassVar[str] = "race"
    title: ClassVar[str] = "Race of rates"
    rates: dict[str, float] = knob({}, "Rates", "The contenders.", low=1e-12, high=1e4, log=True)
    steps: int = knob(sweep.RACE_STEPS, "Steps", "Steps of each contender.", low=1, high=1_000_000)

    @field_validator("rates", mode="before")
    @classmethod
    def _named(cls, rates: Any) -> Any:
        """Rates without names go by their numbers."""
        if not isinstance(rates, (list, tuple)):
            return rates
        try:
            numbers = [Scale().read(rate) for rate in rates]
        except UserError as error:
            raise ValueError("each rate must be a number, such as 1e-3") from error
        named = {written(rate): rate for rate in numbers}
        if len(named) < len(rates):
            raise ValueError("two of the rates are the same")
        return named

    def run(self, work: Work) -> Doing:
        """One contender after the other, each from the same start."""
        from finetune_core.finder.race import race
        from finetune_core.training.session import prepare

        session, done = prepare(self.prepared(work.recipe), work.report), 0
        work.begin("Racing", len(self.rates) * self.steps)
        for record in race(session, self.rates, self.index, self.steps, self.group):
            done += isinstance(record, Lap)
            work.advance(done)
            yield record

    def prepared(self, recipe: Recipe) -> Recipe:
        """A UserError without contenders, too."""
        if not self.rates:
            raise UserError("Nobody would race.", "No rates were given.", "Give two or more, as --rates 1e-3 1e-2.")
        return super().prepared(recipe)

    def summary(self, rows: Rows, recipe: Recipe) -> dict[str, Any]:
        """The winner's rate, and every contender's place."""
        best = winner(rows)
        return {"winner": best and best["lr"], "places": [row for row in rows if row["kind"] == "place"]}

    def lines(self, rows: Rows, recipe: Recipe) -> list[str]:
        """A contender a line."""
        best = winner(rows)
        places = [row for row in rows if row["kind"] == "place"]
        return [_place(row, recipe.task.score) + ("   winner" if row is best else "") for row in places]


class Scout(Job):
    """Try what backbones see already: a linear head on the frozen features of each, on the same images and folds."""

    kind: ClassVar[str] = "scout"
    title: ClassVar[str] = "Scout"
    gentle: ClassVar[bool] = True
    backbones: tuple[str, ...] = knob(
        (),
        "Backbones",
        "Names such as resnet18 or torchvision/resnet18, or name=file with weights of your own; without any the "
        "recipe's own.",
    )
    images: int = knob(1000, "Images", "At most so many of the images, alike from every class.", low=10, high=1_000_000)

    def prepared(self, recipe: Recipe) -> Recipe:
        """The head alone, whatever the recipe thaws. A UserError where there is no such network."""
        self.contenders(recipe)
        return recipe.replace(phases=(Phase(thaw=(HEAD,)),), training=recipe.training.replace(decay={}, processes=1))

    def contenders(self, recipe: Recipe) -> list[Backbone]:
        """The backbones that are tried."""
        return [refit.named(each) for each in self.backbones] or [recipe.model.backbone]

    def run(self, work: Work) -> Doing:
        """One after the other; what came of each is remembered."""
        from finetune_core.finder.scout import scout

        contenders = self.contenders(work.recipe)
        work.begin("Trying backbones", len(contenders))
        for done, (backbone, record) in enumerate(
            zip(contenders, scout(work.recipe, contenders, self.images, work.report), strict=True), start=1
        ):
            work.advance(done)
            probes.keep(work.recipe, backbone, record)
            yield record

    def summary(self, rows: Rows, recipe: Recipe) -> dict[str, Any]:
        """Every backbone, the best one first."""
        return {"backbones": [{k: v for k, v in row.items() if k != "kind"} for row in probes.ranked(rows, recipe)]}

    def lines(self, rows: Rows, recipe: Recipe) -> list[str]:
        """A backbone a line, the best one first."""
        return [probes.line(row, recipe.task.score) for row in probes.ranked(rows, recipe)]


class Lab(Job):
    """Enough or too much? Try each transform on what the backbone sees already: what is no longer told after it."""

    kind: ClassVar[str] = "lab"
    title: ClassVar[str] = "Lab"
    gentle: ClassVar[bool] = True
    images: int = knob(300, "Images", "At most so many of the images, alike from every class.", low=20, high=100_000)

    def prepared(self, recipe: Recipe) -> Recipe:
        """The head alone, whatever the recipe thaws."""
        return recipe.replace(phases=(Phase(thaw=(HEAD,)),), training=recipe.training.replace(decay={}, processes=1))

    def run(self, work: Work) -> Doing:
        """One after the other, then all of them together."""
        from finetune_core.finder.lab import lab

        work.begin("Trying transforms", len(stack.working(work.recipe.augment)) + 1)
        for done, record in enumerate(lab(work.recipe, self.images, work.report), start=1):
            work.advance(done)
            yield record

    def summary(self, rows: Rows, recipe: Recipe) -> dict[str, Any]:
        """Every transform with its verdict."""
        found = [(row, strains.verdict(row, recipe)) for row in strains.rows(rows)]
        return {"transforms": [{**row, "word": said.word, "text": said.text} for row, said in found]}

    def lines(self, rows: Rows, recipe: Recipe) -> list[str]:
        """A transform a line."""
        return [strains.line(row, recipe) for row in strains.rows(rows)]


class Experiment(Job):
    """Try several arms, each the recipe with some values changed, with several seeds, and say which differ for sure."""

    kind: ClassVar[str] = "experiment"
    title: ClassVar[str] = "Experiment"
    rounds: ClassVar[bool] = True
    arms: tuple[Arm, ...] = knob((), "Arms", "What is tried, each with a name and its changes by dotted path.")
    measure: str = knob(SCORE, "Measure", f"What is measured: {', '.join(MEASURES)}.")
    seeds: int = knob(3, "Seeds", "How often each is tried: more show what is chance.", low=1, high=10)
    lesson: str = knob("", "Lesson", "Which lesson it belongs to, if any.")
    guess: str = knob("", "Guess", "What somebody expected before, or most of a class.")
    hands: dict[str, int] = knob({}, "Hands", "How many of a class expected what.")

    @property
    def names(self) -> tuple[str, ...]:
        """What the arms are called."""
        return tuple(arm.name for arm in self.arms)

    def prepared(self, recipe: Recipe) -> Recipe:
        """A UserError without two arms that fit the recipe, each with a name of its own."""
        if len(set(self.names)) < max(2, len(self.arms)):
            raise UserError("There is nothing to compare.", "It takes two arms or more, each with its own name.")
        for arm in self.arms:
            arm.of(recipe)
        measured(self.measure, recipe.task)
        return recipe

    def run(self, work: Work) -> Doing:
        """Seed by seed, each arm of one after the other."""
        from finetune_core.finder.trials import trials

        epochs = [1 if arm.gradients else arm.of(work.recipe).epochs * arm.members for arm in self.arms]
        work.begin("Trying", sum(epochs) * self.seeds)
        seen, before = 0, 0
        for record in trials(work.recipe, self.arms, self.seeds, work.report):
            seen += 1
            if isinstance(record, Trial):  # which may have ended early
                seen = before = before + epochs[record.arm]
            work.advance(seen)
            yield record

    def found(self, rows: Rows, recipe: Recipe) -> list[versus.Result]:
        """What came of each arm."""
        return versus.results(rows, self.names, self.measure)

    def summary(self, rows: Rows, recipe: Recipe) -> dict[str, Any]:
        """Each arm's values, mean and spread, and the sentence."""
        score, found = measured(self.measure, recipe.task), self.found(rows, recipe)
        arms = [{**asdict(each), "mean": each.mean, "spread": each.spread} for each in found]
        return {"measure": score.key, "arms": arms, "verdict": versus.verdict(found, score)}

    def lines(self, rows: Rows, recipe: Recipe) -> list[str]:
        """An arm a line, and which is better for sure."""
        score, found = measured(self.measure, recipe.task), self.found(rows, recipe)
        wide = max(len(each.name) for each in found)
        arms = (f"{each.name:{wide}}  {each.said(score)}" for each in versus.ranked(found, score))
        return [f"{score.title}:", *arms, versus.verdict(found, score)]


class Embed(Job):
    """See what a backbone sees in pictures without labels, so that labels of some propose those of the rest."""

    kind: ClassVar[str] = "embed"
    title: ClassVar[str] = "Look at pictures"
    gentle: ClassVar[bool] = True
    checked: ClassVar[bool] = False  # it is not about the recipe's data
    folder: str = knob("", "Folder", "Where the pictures lie on this machine.", path=())

    def run(self, work: Work) -> Doing:
        """All at once, and kept for this machine."""
        from finetune_core.finder.embed import embed

        bench = labelling.read(self.folder)
        work.begin("Looking at the pictures", 1)
        found = embed(work.recipe, bench.folder, bench.images, work.report)
        embedded.keep(embedded.place(work.recipe, bench.folder), found)
        work.advance(1, now=True)
        yield Event("embedded", 0, f"Looked at {count(len(found.names), 'picture')}.")

    def lines(self, rows: Rows, recipe: Recipe) -> list[str]:
        """How many."""
        return [row["text"] for row in _of(rows, Event)]


class Measure(Job):
    """Time the network on this machine: one image, training steps, and what thawing each layer group costs."""

    kind: ClassVar[str] = "measure"
    title: ClassVar[str] = "Measurement"
    checked: ClassVar[bool] = False  # it looks at neither images nor weights
    only_new: bool = knob(False, "Only what is new", "Leave out what was measured on this machine before.")
    backbones: tuple[str, ...] = knob(
        (), "Backbones", "Instead, time one image with each of these, named as `timm/resnet18`."
    )

    def prepared(self, recipe: Recipe) -> Recipe:
        """The network alone, everything thawed. A UserError where one of several is unknown."""
        for name in self.backbones:
            refit.named(name)
        return timing.to_measure(recipe, recipe.model.backbone)

    def run(self, work: Work) -> Doing:
        """Every repetition; what was measured is remembered for this machine."""
        return self._answers(work) if self.backbones else self._all(work)

    def _answers(self, work: Work) -> Doing:
        """One image with each of several networks, at its quickest: each has a moment only; none of them ends it."""
        from finetune_core.training import stopwatch

        work.begin("Timing backbones", len(self.backbones))
        for number, name in enumerate(self.backbones):
            recipe = timing.to_measure(work.recipe, refit.named(name))
            seconds: list[float] = []
            try:
                for found in stopwatch.answers(recipe):
                    seconds += (each.seconds for each in found)
                    yield from found
            except (
                UserError,
                RuntimeError,
                ValueError,
                AssertionError,
            ) as error:  # images of a size that it cannot take
                yield Event("not_timed", number, f"{name}: {error}")
            timing.keep(recipe, timing.Latency(1e3 * min(seconds) if seconds else None))
            work.advance(number + 1)

    def _all(self, work: Work) -> Doing:
        from finetune_core.training import stopwatch

        rows: list[dict[str, Any]] = []
        wanted = costs.missing(work.recipe) if self.only_new else (True, True)
        work.begin("Measuring", stopwatch.count(*wanted))
        for number, found in enumerate(stopwatch.timings(work.recipe, *wanted)):
            rows += ({"kind": record.kind, **asdict(record)} for record in found)
            work.advance(number + 1)
            yield from found
        costs.keep(work.recipe, costs.summary(rows))
        if measured := timing.summary(rows, work.recipe.training.batch_size):
            timing.keep(work.recipe, measured)

    def summary(self, rows: Rows, recipe: Recipe) -> dict[str, Any]:
        """The medians; of several networks what is known of each."""
        if self.backbones:
            return {"backbones": {name: found.answer_ms for name, found in self._known(recipe).items()}}
        found = timing.summary(rows, recipe.training.batch_size)
        return asdict(found) if found else {}

    def lines(self, rows: Rows, recipe: Recipe) -> list[str]:
        """The same in sentences."""
        if self.backbones:
            return [f"{name}: {found.sentence()}" for name, found in self._known(recipe).items()]
        found = timing.summary(rows, recipe.training.batch_size)
        return [found.sentence()] if found else []

    def _known(self, recipe: Recipe) -> dict[str, timing.Latency]:
        known = timing.known(recipe)
        networks = {name: refit.named(name) for name in self.backbones}
        kept = {name: timing.name(each.kind, each.architecture) for name, each in networks.items()}
        return {name: known[mine] for name, mine in kept.items() if mine in known}


def _proof(traced: bool, before: str, after: str) -> str:
    """What the digests before and after the last try show."""
    if traced:
        return f"The test has changed the network: {before[:12]} before, {after[:12]} after. Please report this."
    return f"Weights, statistics and random numbers are bit by bit as before the test (SHA-256 {after[:12]}…)."


def _of(rows: Rows, kind: type[Record]) -> Iterator[Mapping[str, Any]]:
    return (row for row in rows if row["kind"] == kind.kind)


def _last(rows: Rows) -> Mapping[str, Any]:
    """The suggestions, which end a search."""
    return next(row for row in reversed(rows) if row["kind"] == "suggestions")


def _place(place: Mapping[str, Any], score: Score) -> str:
    if place["valid_loss"] is None:
        return f"{written(place['lr'], 3):<12}diverged at step {place['step']}"
    losses = f"loss {place['train_loss']:.4f}   validation loss {place['valid_loss']:.4f}"
    return f"{written(place['lr'], 3):<12}{losses}   {score.inside} {score.shown(place['valid_score'])}"
