"""Checks before launch: what would go wrong, found in a second and without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from finetune_core import machine
from finetune_core.data import doctor
from finetune_core.data.cache import check_readable, known
from finetune_core.data.chosen import chosen
from finetune_core.data.overview import overview
from finetune_core.data.split import Split, readable
from finetune_core.errors import Mend, UserError
from finetune_core.findings import Finding, failed, unsettled
from finetune_core.network import catalogue
from finetune_core.parts import Loss
from finetune_core.parts.backbones import Weights
from finetune_core.parts.backbones.family import one_size
from finetune_core.parts.backbones.hub import Published
from finetune_core.parts.backbones.sockets import no_map
from finetune_core.parts.sampling import Balanced
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import targets_from
from finetune_core.recipe import Data, Model, Phase, Recipe, Training, plan
from finetune_core.recipe.names import HEAD, matching
from finetune_core.runs import space, tested
from finetune_core.wording import count

FEW = 50  # validation images, below which the result is mostly luck
LOOKED_AT = 200  # images whose headers are read


def glance(recipe: Recipe) -> dict[str, Finding]:
    """What needs a look in the "data", the "layers" (the network itself) and what is "thawed", each for itself.

    Seen cheaply: no image is opened and no weight loaded.
    """
    source, weights = recipe.data.source, recipe.model.backbone.weights
    found = {
        "data": (source.unsaid(), source.missing()),
        "layers": (weights.unsaid(), weights.missing() or _to_come(recipe)),
        "thawed": ("", _all_frozen(recipe)),
    }
    return {about: Finding("next" if unsaid else "warn", text) for about, (unsaid, text) in found.items() if text}


def _all_frozen(recipe: Recipe) -> str:
    frozen = [number for number, phase in enumerate(recipe.phases, start=1) if not phase.thaw]
    where = f" in phase {frozen[0]}" if frozen and len(recipe.phases) > 1 else ""
    return f"Every layer group is frozen{where}: nothing would be learned." if frozen else ""


def _to_come(recipe: Recipe) -> str:
    """What must be downloaded first, in a sentence; empty where nothing must, or where there is no such thing."""
    try:
        return _not_here(catalogue.published(recipe.model.backbone))
    except UserError:  # has a finding of its own
        return ""


def _not_here(files: Published | None) -> str:
    return "" if files is None or files.here() else f"Not on this machine yet: {files.name}."


def findings(recipe: Recipe, saves: bool = True) -> list[Finding]:
    """Look at data, weights and layer groups of a recipe, in the order in which a run would use them.

    Where it `saves` what it has learned, also at the disk.
    """
    disk = space.findings(recipe) if saves else ()
    data = [*_data(recipe), *_kept(recipe), *_grey(recipe), *answers(recipe), *_alike(recipe), *_batch(recipe)]
    data += [*_momentum(recipe), *_views(recipe), *_head(recipe)]
    return [*data, *_weights(recipe), *layers(recipe), *tested.rates(recipe), *_device(recipe, machine.facts()), *disk]


def _data(recipe: Recipe) -> Iterator[Finding]:
    data = recipe.data
    if data.source.drawn:
        yield Finding("ok", "Data", f"{data.source.title}: drawn on this machine.")
        return
    if coming := data.source.coming():
        yield Finding("warn", "Data", f"{data.source.called()} is not on this machine yet: {coming}")
        return
    try:
        samples, parts = chosen(data)
    except UserError as error:
        yield failed("Data", error)
        return
    yield Finding("ok", "Data", overview(samples, parts).line())
    for note in samples.notes:
        if note not in samples.remarks:
            yield Finding("warn", "Data", note)
    yield from _unreadable(samples, parts, data)
    yield from _examined(recipe, samples, parts)
    yield from _weighted(recipe, samples, parts)
    if len(parts.train) == 1:
        yield from _lone_image(recipe)
    if len(parts.valid) < FEW:
        text = f"With {len(parts.valid)} validation images each weighs {1 / len(parts.valid):.1%} of the result."
        yield Finding("warn", "Few validation images", text)


def _examined(recipe: Recipe, samples: Samples, parts: Split) -> Iterator[Finding]:
    """What the doctor would ask about, where the images have been looked at; the rest stands on Data."""
    if examined := doctor.known(samples, recipe.data.side, recipe.data.channels):
        found = doctor.findings(recipe, samples, parts, examined)
        yield from (replace(each, images=()) for each in found if each.level == "ask")


def _weighted(recipe: Recipe, samples: Samples, parts: Split) -> Iterator[Finding]:
    """Whether the loss can be made for these classes."""
    labels = [samples.labels[index] for index in parts.train]
    try:
        recipe.training.loss.call(targets_from(samples.task, samples.classes, labels))
    except UserError as error:
        yield unsettled("Loss", error, Mend("Weigh all classes alike", "training.loss.balance", "none"))


def answers(recipe: Recipe) -> Iterator[Finding]:
    """Look at whether loss and mixing fit what the data wants to know; nothing to say where they do."""
    try:
        recipe.training.loss.check(recipe.task.key)
    except UserError as error:
        usual = Loss.kinds()[recipe.task.loss]
        yield unsettled("Loss", error, Mend(f"Use {usual.title}", "training.loss", {"kind": usual.kind}))
    yield from mixing(recipe)
    try:
        recipe.training.sampling.check(recipe.task.key)
    except UserError as error:
        yield unsettled("Sampling", error, Mend("Each image once", "training.sampling", "once"))


def mixing(recipe: Recipe) -> Iterator[Finding]:
    """Look at whether mixed images can be learned from; nothing to say where they can."""
    try:
        recipe.training.mix.check(recipe.training.loss, recipe.task.key)
    except UserError as error:
        yield unsettled("Mixed images", error, Mend("Mix no images", "training.mix", "none"))


def _alike(recipe: Recipe) -> Iterator[Finding]:
    """What helps rare classes, done twice: seen as often as others, they need no more weight and begin as likely."""
    training, head = recipe.training, recipe.model.head
    if training.sampling.kind != Balanced.kind:
        return
    if getattr(training.loss, "balance", "none") != "none":
        mend = Mend("Weigh all classes alike", "training.loss.balance", "none")
        text = "Rare classes are seen more often and weigh more: together that is too much of a good thing."
        yield Finding("warn", "Sampling", text, mend=mend)
    if getattr(head, "bias", "") == "priors":
        mend = Mend("Begin with zero", "model.head.bias", "zero")
        text = "The last bias begins with the classes' shares among the images, but all classes are seen alike."
        yield Finding("warn", "Sampling", text, mend=mend)


def _kept(recipe: Recipe) -> Iterator[Finding]:
    """Whether images are kept larger for nothing."""
    data = recipe.data
    if data.side > data.measured_side and not any(part.active and part.frames for part in recipe.augment):
        text = f"Images are kept at {data.side} px, but nothing crops from them: {data.measured_side} px would do."
        yield Finding("warn", "Kept side", text, mend=Mend("Keep no more", "data.keep_side", 0))


def _batch(recipe: Recipe) -> Iterator[Finding]:
    """Whether there are images enough in a step."""
    if recipe.training.batch_size == 1:
        yield from _lone_image(recipe, Mend("Use 2", "training.batch_size", 2))


def _lone_image(recipe: Recipe, mend: Mend | None = None) -> Iterator[Finding]:
    """Look for batch norms that train where a step has one image, which are left with one value per channel."""
    title, size = "Batch norm", recipe.data.image_size
    for phase in sorted(recipe.phases, key=lambda each: bool(each.hold)):  # what is certain comes first
        try:
            alone = _alone(recipe.model, phase, size)
        except UserError:  # an unknown backbone or group, which `layers` tells
            return
        if not alone:
            continue
        what = f"Batch norm cannot learn from one image at a time ({', '.join(alone)})."
        why = f"At {size} px it has one value per channel there, and nothing to compare it with."
        hint = "Use at least two images per step, take larger images, or hold the norm layers."
        if phase.hold:  # which layers that holds is known once the network is built
            yield Finding("warn", title, f"{what} Unless its layers are held, training stops at the first step.")
        else:
            yield failed(title, UserError(what, why, hint), mend)
        return


def _alone(model: Model, phase: Phase, size: int) -> list[str]:
    """The layer groups whose batch norms are at work in a phase and see one value per channel of an image."""
    entry = catalogue.entry(model.backbone.kind, model.backbone.architecture)
    pieces, single = catalogue.layer_pieces(model), entry.single_at(size)
    groups = [group for group, names in pieces.items() if single.intersection(names)]
    groups += [HEAD] if model.head.batch_norm else []
    names = [*pieces, HEAD]
    norms: dict[str, str] = dict.fromkeys(names, phase.norm_statistics)
    norms |= dict.fromkeys(matching(names, phase.thaw), "update") | plan.norm_statistics(phase, names)
    return [group for group in groups if norms[group] != "hold"]


def _momentum(recipe: Recipe) -> Iterator[Finding]:
    """Whether schedules and optimizer go together."""
    for index, phase in enumerate(recipe.phases):
        try:
            recipe.training.optimizer.check_momentum(phase.schedule)
        except UserError as error:
            mend = Mend("Leave the momentum alone", f"phases.{index}.schedule.cycle_momentum", False)
            yield unsettled("Schedule", error, mend)


def _views(recipe: Recipe) -> Iterator[Finding]:
    """Views that are kept for nothing: they only make the images fewer."""
    for index, phase in enumerate(recipe.phases):
        try:
            names = catalogue.layer_names(recipe.model) if phase.views else ()
            if not names or names[0] not in matching(names, phase.thaw):
                continue
        except UserError:  # an unknown backbone or group, which `layers` tells
            return
        where = f" in phase {index + 1}" if len(recipe.phases) > 1 else ""
        why = "Kept views save work only where the first layers are frozen; here they just vary the images less."
        mend = Mend("Draw afresh in every epoch", f"phases.{index}.views", 0)
        yield Finding("warn", "Views", f"{names[0]} learns{where}. {why}", mend=mend)


def _head(recipe: Recipe) -> Iterator[Finding]:
    """Layers of a head that bring nothing (seed 002's 512 → 256 → 10)."""
    if recipe.model.head.linear:
        text = "Its linear layers have nothing between them: together they are one linear layer, slower to train."
        yield Finding("warn", "Head", text, mend=Mend("Put ReLU between", "model.head.activation", "relu"))


def _grey(recipe: Recipe) -> Iterator[Finding]:
    """Transforms that are on for nothing."""
    for place, part in enumerate(recipe.augment):
        if recipe.data.channels == 1 and part.active and part.needs_colour:
            mend = Mend("Switch it off", f"augment.{place}.active", False)
            yield Finding("warn", "Augmentation", f"{part.title} changes nothing: the images are grey.", mend=mend)


def _unreadable(samples: Samples, parts: Split, data: Data) -> Iterator[Finding]:
    """What decoding has shown, where it has been done; else a quick look at some headers."""
    decoded = known(samples, data.side, data.channels)
    bad = decoded.bad if decoded else check_readable(samples, LOOKED_AT)
    if not bad:
        return
    index, reason = bad[0]
    what = f"{samples.name(index)} cannot be read."
    if len(bad) > 1:
        what = f"{count(len(bad), 'image')} cannot be read, such as {samples.name(index)}."
    if data.unreadable == "skip":
        try:
            readable(samples, parts, [index for index, _ in bad])
        except UserError as error:
            yield failed("Unreadable images", error)
            return
        yield Finding("warn", "Unreadable images", f"{what} Such images are left out.")
    else:
        hint = "Mend or remove it, or leave such images out (data.unreadable: skip)."
        yield failed("Unreadable images", UserError(what, reason, hint))


def _weights(recipe: Recipe) -> Iterator[Finding]:
    backbone, weights = recipe.model.backbone, recipe.model.backbone.weights
    try:
        to_come = _not_here(catalogue.published(backbone))
        facts = weights.facts(backbone)
    except UserError as error:
        yield failed("Weights", error)
        return
    if to_come:
        yield Finding("warn", "Weights", f"{facts}. {to_come} A run downloads it when it starts.")
    else:
        yield Finding("ok" if weights.trained else "warn", "Weights", f"{facts}.")
    yield from _size(recipe)


def _size(recipe: Recipe) -> Iterator[Finding]:
    """Whether weights can be had for images of the recipe's size, where the network has but one."""
    backbone, wanted = recipe.model.backbone, recipe.data.image_size
    entry = catalogue.find(backbone.kind, backbone.architecture)
    if entry is None or not entry.one_size or entry.input_size == wanted:
        return
    weights, usual = backbone.weights, entry.input_size
    mend = Mend(f"Use {usual} px", "data.image_size", usual)
    if weights.set_wanted() is not None:
        yield unsettled("Image size", one_size(backbone, "its published weights", usual, wanted), mend)
    elif weights.trained and not weights.made_here:
        text = f"This network takes images of one size only, mostly {usual} px; the recipe has {wanted}."
        yield Finding("warn", "Image size", text, mend=mend)


def _device(recipe: Recipe, facts: machine.Machine) -> Iterator[Finding]:
    """Look at what the recipe's number format does on its device."""
    training = recipe.training
    speed = machine.speed(facts, training.device, training.precision, training.tf32)
    if speed.slow:
        yield Finding("warn", "Precision", speed.text, mend=Mend("Use fp32", "training.precision", "fp32"))
    yield from _processes(training, facts)
    yield from _norms_over_all(training, facts)


def _norms_over_all(training: Training, facts: machine.Machine) -> Iterator[Finding]:
    """Whether batch norms can see the batches of all processes."""
    if training.sync_norm and training.processes > 1 and machine.device_of(facts, training.device) != "cuda":
        why = "Torch's SyncBatchNorm works on NVIDIA GPUs alone."
        error = UserError("Norms cannot go over all processes here.", why, "Switch it off, or hold the norm layers.")
        yield failed("Processes", error, Mend("Switch it off", "training.sync_norm", False))


def _processes(training: Training, facts: machine.Machine) -> Iterator[Finding]:
    """Look at how many processes share each batch, and how many could."""
    path, device, wanted = "training.processes", machine.device_of(facts, training.device), training.processes
    room = {"cuda": len(facts.gpus), "mps": 1, "cpu": facts.cores}[device]
    busy = training.batch_size // 2
    if device == "cuda" and wanted == 1 < room:
        words = "both" if room == 2 else f"all {room}"
        yield Finding("ok", "GPUs", f"{room} GPUs are here, one is used.", mend=Mend(f"Use {words} GPUs", path, room))
    elif wanted == 1:
        return
    elif wanted > room and device == "cpu":
        text = f"{wanted} processes on {room} CPU cores get into each other's way."
        yield Finding("warn", "Processes", text, mend=Mend("Use one", path, 1))
    elif wanted > room:
        error = UserError(f"{wanted} processes need as many GPUs.", f"Here: {room}.", "Set training.processes lower.")
        yield failed("Processes", error, Mend(f"Use {room}", path, max(1, room)))
    elif wanted > max(1, busy):
        text = f"Batches of {training.batch_size} keep {busy} of {wanted} processes busy: each needs two images."
        yield Finding("warn", "Processes", text, mend=Mend(f"Use {max(1, busy)}", path, max(1, busy)))


def layers(recipe: Recipe) -> Iterator[Finding]:
    """Look at what each phase thaws."""
    backbone = recipe.model.backbone
    try:
        entry = catalogue.entry(backbone.kind, backbone.architecture)
    except UserError as error:
        yield failed("Backbone", error)
        return
    if not entry.features_for(recipe.model.head):
        yield unsettled("Head", no_map(entry.library, entry.architecture, "Its pooling cannot be taken out"))
    try:
        names = catalogue.layer_names(recipe.model)
        plan.decay_factors(recipe.training, names)
    except UserError as error:
        yield failed("Layer groups", error)
        return
    for index, phase in enumerate(recipe.phases):
        title = "Layers" if len(recipe.phases) == 1 else f"Layers in phase {index + 1}"
        try:
            peaks = plan.peak_rates(phase, names)
            plan.norm_statistics(phase, names)
        except UserError as error:
            yield failed(title, error)
            continue
        yield _thawed(title, f"phases.{index}.thaw", peaks, backbone.weights)
        if recipe.training.loss.embeds == "" and not any(rate for name, rate in peaks.items() if name != HEAD):
            what = "The loss compares features that stand still."
            why = "All that comes before the head is frozen, so no distance between features can change."
            still = UserError(what, why, "Thaw a layer before the head, or compare the class scores.")
            yield failed("Loss", still, Mend("Compare the class scores", "training.loss.compare", "outputs"))


def _thawed(title: str, path: str, peaks: dict[str, float], weights: Weights) -> Finding:
    names, thawed = list(peaks), [name for name, peak in peaks.items() if peak > 0]
    frozen = [name for name in names if name not in thawed]
    if not thawed:
        error = UserError("Nothing would train.", "Every layer group is frozen.", "Thaw at least the head.")
        return failed(title, error, Mend("Thaw the head", path, [HEAD]))
    if HEAD in frozen and not weights.with_head:
        text = "The head is frozen, but it is new and knows nothing: thaw it."
        return Finding("warn", title, text, mend=Mend("Thaw the head", path, [*thawed, HEAD]))
    if frozen and not weights.trained:
        text = "Random weights are frozen: those layers will never learn anything."
        return Finding("warn", title, text, mend=Mend("Thaw everything", path, ["*"]))
    if gap := _between(names, thawed):
        text = f"{', '.join(gap)} frozen between thawed groups: that mostly trains poorly."
        mend = Mend(f"Thaw {gap[0] if len(gap) == 1 else 'them too'}", path, names[names.index(thawed[0]) :])
        return Finding("warn", title, text, mend=mend)
    rest = "the rest stays frozen" if frozen else "nothing stays frozen"
    return Finding("ok", title, f"{', '.join(thawed)} will train; {rest}.")


def _between(names: Sequence[str], thawed: Sequence[str]) -> list[str]:
    """Frozen groups that come after a thawed one (seed 004: freezing alternate layers)."""
    return [name for name in names[names.index(thawed[0]) :] if name not in thawed]
