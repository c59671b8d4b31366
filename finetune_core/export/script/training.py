"""The part of a script about training: loss, optimizer, schedule, the step, the loop, the range test."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from finetune_core.export.script import images
from finetune_core.export.script.facts import Facts
from finetune_core.finder.sweep import DIVERGED, SMOOTHING, Sweep
from finetune_core.parts.codetext import bracketed, definitions, joined, own_layers
from finetune_core.parts.losses import Weighted
from finetune_core.parts.tasks import NUMBERS, TAGS
from finetune_core.recipe import Phase, Recipe, Training, plan
from finetune_core.recipe.names import thawed

OF_ITS_NAME = 'phase["factors"].get(group["weight"], 1.0)'
HALF = {"bf16": "torch.bfloat16", "fp16": "torch.float16"}


def loss(recipe: Recipe, facts: Facts) -> str:
    """What is made small, and how batches are mixed before."""
    call = recipe.training.loss.call(facts.pictures.targets)
    made = f"criterion = {call.code(room=96)}.to(device)"
    mix = mixing_line(recipe, len(facts.pictures.targets.names))
    embeds = recipe.training.loss.embeds
    layers = own_layers(call, names=() if embeds is None else ["pooled"])
    return joined(layers, f"{made}\n{mix}".strip(), _watching(facts, embeds))


def _watching(facts: Facts, layer: str | None) -> str:
    """What the loss is given beside the outputs: what a layer gives, or what goes into the head."""
    if layer is None:
        return ""
    place = f"model.get_submodule({layer or facts.blueprint.fitting.classifier!r})"
    if layer:
        hook = f"{place}.register_forward_hook(lambda layer, given, output: seen.append(pooled(output)))"
    else:
        hook = f"{place}.register_forward_pre_hook(lambda head, given: seen.append(pooled(given[0])))"
    return f"seen = []  # the embedding of the latest forward pass\n{hook}"


def _judged(training: Training, outputs: str, wanted: str) -> str:
    """The loss of some outputs, as code."""
    return f"criterion({outputs}, {wanted}{'' if training.loss.embeds is None else ', seen.pop()'})"


def mixing_line(recipe: Recipe, outputs: int) -> str:
    """How images and labels of a batch are mixed, if they are."""
    mix = recipe.training.mix.call(outputs)
    return f"mix = {mix.code(room=112)}" if mix else ""


def optimizer(recipe: Recipe, facts: Facts) -> str:
    """The optimizer over all layer groups, those that are frozen at first too."""
    training, names = recipe.training, list(facts.blueprint.groups)
    factors = plan.decay_factors(training, names)
    decays = {name: training.optimizer.weight_decay * factor for name, factor in factors.items()}
    even = len(set(decays.values())) == 1
    decay = repr(training.optimizer.weight_decay) if even else "DECAY[group]"
    call = training.optimizer.call()
    lines = [] if even else [bracketed("DECAY = {", [f"{n!r}: {d!r}" for n, d in decays.items()], "}")]
    lines += _single_groups(training, decay) if by_name(recipe) else _groups(training, decay)
    lines += [
        f"optimizer = {call.code('groups', room=108)}",
    ]
    if training.precision == "fp16":
        lines.append("scaler = torch.amp.GradScaler(device.type)  # small gradients would vanish in 16 bits")
    if training.ema:
        average = f"AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn({training.ema!r}))"
        lines.append(f"average = {average}  # what is measured and saved")
    return joined(own_layers(call), "\n".join(lines))


def _groups(training: Training, decay: str) -> list[str]:
    return [
        "groups = []",
        "for group in GROUPS:",
        "    mine = [weight for name, weight in model.named_parameters() if group_of(name) == group]",
        "    matrices, vectors = [w for w in mine if w.ndim > 1], [w for w in mine if w.ndim <= 1]",
        f'    groups.append({{"params": matrices, "name": group, "lr": 0.0, "weight_decay": {decay}}})',
        '    groups.append({"params": vectors, "name": group, "lr": 0.0, "weight_decay": '
        + (f"{decay}}})" if training.decay_all else "0.0})  # norm layers and biases"),
    ]


def _single_groups(training: Training, decay: str) -> list[str]:
    own = decay if training.decay_all else f"{decay} if weight.ndim > 1 else 0.0"
    return [
        "groups = []  # one for each parameter: some have rates of their own",
        "for name, weight in model.named_parameters():",
        "    group = group_of(name)",
        f"    decay = {own}",
        '    groups.append({"params": [weight], "name": group, "weight": name, "lr": 0.0, "weight_decay": decay})',
    ]


def by_name(recipe: Recipe) -> bool:
    """Whether any phase has rates for parameters by their names."""
    return any(phase.by_name for phase in recipe.phases)


def schedules(recipe: Recipe) -> str:
    """The functions by which rates move, each once."""
    names = _schedule_names(recipe)
    return definitions(*(phase.schedule.code(name) for phase, name in zip(recipe.phases, names, strict=True)))


def _schedule_names(recipe: Recipe) -> list[str]:
    """A function's name for each phase: that of the kind, numbered where the same kind has other knobs."""
    known: dict[str, list[str]] = {}
    names = []
    for phase in recipe.phases:
        settings = known.setdefault(phase.schedule.kind, [])
        shown = phase.schedule.model_dump_json()
        if shown not in settings:
            settings.append(shown)
        number = settings.index(shown) + 1
        names.append(f"{phase.schedule.kind}_rate{'' if number == 1 else f'_{number}'}")
    return names


def phases(recipe: Recipe, facts: Facts) -> str:
    """The phases as data; a setting that no phase uses is left out."""
    rows = []
    for index, (phase, name) in enumerate(zip(recipe.phases, _schedule_names(recipe), strict=True)):
        items = [f'"epochs": {phase.epochs}', *_thawed(recipe, facts, index, recipe.phases), f'"schedule": {name}']
        if _moves_momentum(recipe):
            own = f"lambda *position: {_momentum(recipe)!r}"
            items.append(f'"momentum": {f"{name}_momentum" if phase.schedule.moves_momentum else own}')
        if any(each.patience for each in recipe.phases):
            items.append(f'"patience": {phase.patience}')
        if any(each.views for each in recipe.phases):
            items.append(f'"views": {phase.views}')
            items.append(f'"turn": {plan.turn(thawed(phase.thaw, list(facts.blueprint.groups)))}')
        if any(each.optimizer_state == "reset" for each in recipe.phases):
            items.append(f'"reset": {phase.optimizer_state == "reset"}')
        rows.append(_dictionary(items))
    return "PHASES = [\n" + indent("".join(f"{row},\n" for row in rows), "    ") + "]"


def one_phase(recipe: Recipe, facts: Facts, index: int) -> str:
    """What one phase thaws, put into effect."""
    several = f"  # phase {index + 1} of {len(recipe.phases)}" if len(recipe.phases) > 1 else ""
    return f"phase = {_dictionary(_thawed(recipe, facts, index, [recipe.phases[index]]))}{several}\nenter(phase)"


def _thawed(recipe: Recipe, facts: Facts, index: int, shown: Sequence[Phase]) -> list[str]:
    """What one phase thaws, with the settings that any of the phases that are shown uses."""
    phase = recipe.phases[index]
    peaks = plan.peak_rates(phase, list(facts.blueprint.groups))
    rates = [f"{name!r}: {rate!r}" for name, rate in peaks.items() if rate > 0]
    items = [bracketed('"rates": {', rates, "}", room=108)]
    if any(each.hold for each in shown):
        items.append(bracketed('"held": (', [*map(repr, facts.blueprint.held[index])], ")", room=108))
    if by_name(recipe):
        factors = [f"{name!r}: {factor!r}" for name, factor in facts.blueprint.factors[index].items()]
        items.append(bracketed('"factors": {', factors, "}", room=108))
    if any(each.norms for each in shown):
        kinds = [f"{name!r}: {how!r}" for name, how in plan.norm_statistics(phase, list(peaks)).items()]
        items.append(bracketed('"norms_of": {', kinds, "}", room=108))
    if any(each.norm_statistics != "hold" or each.norms for each in shown):
        items.append(f'"norms": "{phase.norm_statistics}"')
    return items


def _moves_momentum(recipe: Recipe) -> bool:
    return any(phase.schedule.moves_momentum for phase in recipe.phases)


def _momentum(recipe: Recipe) -> float:
    """The optimizer's own momentum or first beta."""
    options = recipe.training.optimizer.options()
    return float(options["betas"][0] if "betas" in options else options["momentum"])


def _with_momentum(recipe: Recipe) -> list[str]:
    """Momentum that moves against the rate; a phase that leaves it alone has the optimizer's own."""
    own = recipe.training.optimizer.options()
    group = 'group["betas"] = (momentum, group["betas"][1])' if "betas" in own else 'group["momentum"] = momentum'
    return [
        '            momentum = phase["momentum"](step, steps, per_epoch, losses)',
        "            for group in optimizer.param_groups:",
        f"                {group}",
    ]


def _dictionary(items: list[str]) -> str:
    line = f"{{{', '.join(items)}}}"
    if len(line) < 112 and "\n" not in line:
        return line
    return "{\n" + "".join(indent(f"{item},\n", "    ") for item in items) + "}"


NORMALISED = '''\
def normalised(images):
    """Raw images as what the network was trained on."""
    x = images.to(device, torch.float32, memory_format=torch.channels_last, copy=True)
    return x.div_(255).sub_(MEAN).div_(STD)'''


def normalising(facts: Facts) -> str:
    """Pixels to what the network was trained on."""
    mean, std = facts.blueprint.mean, facts.blueprint.std
    return f"""\
MEAN = torch.tensor({list(mean)}, device=device).view(1, -1, 1, 1)
STD = torch.tensor({list(std)}, device=device).view(1, -1, 1, 1)


{NORMALISED}"""


def step(recipe: Recipe) -> str:
    """One optimizer step."""
    training = recipe.training
    lines = [
        "def learn(images, wanted):",
        '    """One optimizer step; returns the loss before it."""',
        "    optimizer.zero_grad()",
        *(["    images, wanted = mix(images.to(device, torch.float32), wanted)"] if training.mix.ways else []),
        *indent("\n".join(_gradients(training)), "    ").splitlines(),
    ]
    scaled = training.precision == "fp16"
    if scaled:
        lines.append("    scaler.unscale_(optimizer)")
    if training.l1:
        lines += [
            "    for weight in model.parameters():  # the gradient of l1 · Σ|w|, without norm layers and biases",
            "        if weight.grad is not None and weight.ndim > 1:",
            f"            weight.grad.add_(weight.detach().sign(), alpha={training.l1!r})",
        ]
    if training.clip_norm:
        lines.append(f"    nn.utils.clip_grad_norm_(model.parameters(), {training.clip_norm!r})")
    lines += ["    scaler.step(optimizer)", "    scaler.update()"] if scaled else ["    optimizer.step()"]
    lines.append("    return loss.item()")
    return "\n".join(lines)


def _gradients(training: Training) -> list[str]:
    """Forward and backward, in micro-batches where the recipe wants them."""
    scaled = training.precision == "fp16"
    if training.accumulate == 1:
        lines = _in_precision(training, [f"loss = {_judged(training, 'model(normalised(images))', 'wanted')}"])
        return [*lines, "scaler.scale(loss).backward()" if scaled else "loss.backward()"]
    part = _in_precision(
        training,
        [f"part = {_judged(training, 'model(normalised(some))', 'theirs')}", f"part = part * ({_share(training)})"],
    )
    return [
        f"parts = max(1, min({training.accumulate}, len(wanted) // 2))  # micro-batches: the same step in less memory",
        "loss = torch.zeros((), device=device)",
        "for some, theirs in zip(images.tensor_split(parts), wanted.tensor_split(parts)):",
        *(f"    {line}" for line in part),
        "    scaler.scale(part).backward()" if scaled else "    part.backward()",
        "    loss += part.detach()",
    ]


def _share(training: Training) -> str:
    """What a micro-batch counts in the mean over its batch."""
    loss = training.loss
    by_weight = isinstance(loss, Weighted) and loss.balance != "none" and loss.divide == "weights"
    if by_weight and not training.mix.ways:
        return "criterion.weight[theirs].sum() / criterion.weight[wanted].sum()"
    return "len(theirs) / len(wanted)"


def _in_precision(training: Training, lines: list[str]) -> list[str]:
    if training.precision not in HALF:
        return lines
    return [f"with torch.autocast(device.type, {HALF[training.precision]}):", *(f"    {line}" for line in lines)]


SCORES = {
    TAGS.key: '''\
def score(outputs, wanted):
    """Mean average precision: how well images are ranked by each tag that any of them has."""
    found = []
    for said, there in zip(outputs.sigmoid().T, wanted.T):
        if not there.any():
            continue
        said, order = said.sort(descending=True)
        last = torch.cat((said[1:] != said[:-1], torch.ones(1, dtype=bool, device=device)))  # of those that are alike
        hits, seen = there[order].cumsum(0)[last], torch.arange(1, len(said) + 1, device=device)[last]
        recall = hits / hits[-1]
        found.append((torch.diff(recall, prepend=recall.new_zeros(1)) * hits / seen).sum())
    return torch.stack(found).mean().item() if found else math.nan''',
    NUMBERS.key: '''\
def score(outputs, wanted):
    """Mean absolute error in the unit of the data, negative so that more is better."""
    return -((outputs - wanted).abs() * torch.tensor(np.float32(label_std), device=device)).mean().item()''',
}
COUNTED = ("total = right = 0.0", ["right += (outputs.argmax(1) == wanted).sum().item()"], "right / len(valid)")
COLLECTED = (
    "total, answers, truths = 0.0, [], []",
    ["answers.append(outputs.float())", "truths.append(wanted)"],
    "score(torch.cat(answers), torch.cat(truths))",
)


def evaluation(recipe: Recipe, facts: Facts) -> str:
    """How good a network is."""
    task = facts.pictures.targets.task
    start, each, result = COLLECTED if task in SCORES else COUNTED
    judged = _judged(recipe.training, "outputs", "wanted")
    forward = ["outputs = module(normalised(images))", f"total += {judged}.item() * len(wanted)"]
    inner = "\n".join(f"        {line}" for line in [*_in_precision(recipe.training, forward), *each])
    return joined(
        SCORES.get(task, ""),
        f'''\
@torch.inference_mode()
def evaluate(module):
    """Mean loss and {"score" if task in SCORES else "accuracy"} over the validation images."""
    module.eval()
    {start}
    for images, wanted in batches(cut(valid, 2 * BATCH), lambda index: middle(pixels[index])):
{inner}
    return total / len(valid), {result}''',
    )


def loop(recipe: Recipe) -> str:
    """All phases, epoch by epoch, printing losses; then the weights are saved."""
    kept = "average.module" if recipe.training.ema else "model"
    patient = any(phase.patience for phase in recipe.phases)
    resetting = any(phase.optimizer_state == "reset" for phase in recipe.phases)
    sharing = any(phase.views for phase in recipe.phases)
    view = "view" if sharing else "epoch"
    lines = [
        "torch.manual_seed(SEED)",
        "epoch, per_epoch = 0, len(cut(train, BATCH))",
        "for phase in PHASES:",
        '    step, steps, losses = 0, phase["epochs"] * per_epoch, []',
        *(["    best, stale = (-math.inf, -math.inf), 0"] if patient else []),
        *(['    if phase["reset"]:', "        optimizer.state.clear()"] if resetting else []),
        f'    for {"number" if sharing else "_"} in range(phase["epochs"]):',
        "        enter(phase)",
        f"        order, total = {images.order(recipe)}, 0.0",
        *(_shared_views(recipe) if sharing else []),
        f"        for images, wanted in batches(cut(order, BATCH), lambda index: drawn(index, {view})):",
        '            share = phase["schedule"](step, steps, per_epoch, losses)',
        "            for group in optimizer.param_groups:",
        '                group["lr"] = phase["rates"].get(group["name"], 0.0) * share',
        *([f'                group["lr"] *= {OF_ITS_NAME}'] if by_name(recipe) else []),
        *(_with_momentum(recipe) if _moves_momentum(recipe) else []),
        "            loss = learn(images, wanted)",
        *(["            average.update_parameters(model)"] if recipe.training.ema else []),
        '            print(json.dumps({"epoch": epoch, "loss": loss}), flush=True)',
        "            total += loss * len(wanted)",
        "            step += 1",
        f"        valid_loss, valid_score = evaluate({kept})",
        "        losses.append(valid_loss)",
        '        results = {"train_loss": total / len(train), "valid_loss": valid_loss, "valid_score": valid_score}',
        '        print(json.dumps({"epoch": epoch, **results}), flush=True)',
        "        epoch += 1",
        *(_patience(recipe) if patient else []),
        f'torch.save({kept}.state_dict(), "model.pt")',
    ]
    return "\n".join(lines)


def _shared_views(recipe: Recipe) -> list[str]:
    """Which view an epoch sees; where some share one, it is the same for an image that comes again."""
    return [
        "        view = epoch",
        '        if phase["views"]:  # epochs share them',
        '            view = number // phase["turn"] % phase["views"]',
        *(["            order = order % len(labels)"] if images.comes_again(recipe) else []),
    ]


def _patience(recipe: Recipe) -> list[str]:
    """A phase that ends early, and what comes after it goes on from its best epoch."""
    state, back = "model.state_dict()", ["model.load_state_dict(kept)"]
    if recipe.training.ema:
        state = "(model.state_dict(), average.state_dict())"
        back = ["model.load_state_dict(kept[0])", "average.load_state_dict(kept[1])"]
    return [
        "        standing = (max(-math.inf, valid_score), -valid_loss)  # no score at all is the worst one",
        "        if standing > best:",
        f"            best, stale, kept = standing, 0, copy.deepcopy({state})",
        "        else:",
        "            stale += 1",
        '        if phase["patience"] and stale >= phase["patience"]:',
        "            break",
        '    if phase["patience"] and stale:  # back to the phase\'s best epoch, without memory of gradients after it',
        *(f"        {line}" for line in back),
        "        optimizer.state.clear()",
    ]


def range_test(recipe: Recipe, facts: Facts, index: int, sweep: Sweep) -> str:
    """The learning-rate range test on a phase: all rates move together, or one group's alone."""
    phase, names = recipe.phases[index], list(facts.blueprint.groups)
    peaks = plan.peak_rates(phase if sweep.group else phase.replace(learning_rate=1.0), names)
    rates = {name: repr(rate) if sweep.group else f"{rate!r} * lr" for name, rate in peaks.items() if rate > 0}
    if sweep.group:
        rates[sweep.group] = "lr"
    shown = "".join(f"        {name!r}: {rate},\n" for name, rate in rates.items())
    share = f"number / {sweep.steps - 1}"
    stop = "" if sweep.down else STOP
    order, view = images.order(recipe), "epoch"
    if phase.views:
        turn = plan.turn(thawed(phase.thaw, names))
        view = f"epoch // {turn} % {phase.views}" if turn > 1 else f"epoch % {phase.views}"
        order += " % len(labels)" if images.comes_again(recipe) else ""
    return f'''\
def endless():
    """The training batches of one epoch after the other."""
    epoch = 0
    while True:
        order = {order}
        yield from batches(cut(order, BATCH), lambda index: drawn(index, {view}))
        epoch += 1


torch.manual_seed(SEED)
smooth, weight, best = 0.0, 0.0, math.inf
for number, (images, wanted) in zip(range({sweep.steps}), endless()):
    lr = {sweep.low!r} * ({sweep.high!r} / {sweep.low!r}) ** ({f"1 - {share}" if sweep.down else share})
    rates = {{
{shown}    }}
    for group in optimizer.param_groups:
        group["lr"] = rates.get(group["name"], 0.0){f" * {OF_ITS_NAME}" if by_name(recipe) else ""}
    loss = learn(images, wanted)
    print(json.dumps({{"lr": lr, "loss": loss}}), flush=True)
{stop}# The rate is right where the loss fell steepest over log10(lr). The weights are spoilt: build the model anew.'''


STOP = f"""\
    smooth, weight = {SMOOTHING} * smooth + (1 - {SMOOTHING}) * loss, {SMOOTHING} * weight + 1 - {SMOOTHING}
    best = min(best, smooth / weight)
    if smooth / weight > {DIVERGED} * best:  # it diverges, and higher rates tell nothing
        break
"""
